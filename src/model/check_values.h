// SPDX-License-Identifier: Apache-2.0
// Looks at every stored float of a model: `qwin check` refuses weights that could only compute NaN.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

#include "io/model_files.h"

namespace qwin {

// Bytes looked at so far, of how many.
using CheckProgress = std::function<void(uint64_t done, uint64_t total)>;

// Throws Error(non_finite) naming the first tensor with a NaN or an infinity among its values or block scales. Reads
// the files front to back in pieces of a few MiB, and not through their mapping: a file cut meanwhile is an Error(io).
void check_values(const ModelFiles& files, const CheckProgress& progress);

// The index of the block (for plain types the element) with the first value that is not finite. Requires: whole blocks.
std::optional<uint64_t> find_non_finite(DType dtype, const std::byte* data, size_t bytes);

}  // namespace qwin
