// SPDX-License-Identifier: Apache-2.0
// How far a model's distributions are from reference ones: KL divergence and top-1 agreement against a golden file.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "eval/divergence_sums.h"
#include "qwin/engine.h"

namespace qwin {

struct GoldenDivergence {
  Divergence texts;
  Divergence long_text;  // positions 0 when the file has none or it was not asked for
};

// Called with positions done and in all.
using EvalProgress = std::function<void(int64_t done, int64_t total)>;

// The file: names; for each text i: ids_i [n], top_ids_i and top_logits_i [n, k], lse_i [n]; optionally long_ids,
// long_positions, long_top_ids, long_top_logits, long_lse. KL is p log(p / q) over the k stored ids plus one bucket for
// all others. Throws Error as read_npz() and the engine do.
GoldenDivergence measure_divergence(Engine& engine, const std::string& npz_path, bool with_long_text,
                                    const EvalProgress& progress);

}  // namespace qwin
