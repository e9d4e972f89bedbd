// SPDX-License-Identifier: Apache-2.0
// What every type of every matrix would cost and lose, measured on the model itself.
#pragma once

#include <string_view>

#include "compress/plan.h"
#include "compress/quantize_model.h"

namespace qwin {

// One matrix at a time stands quantized in the model, which reads some hundred tokens of `text` in float32. The mean KL
// is measured for Q4; it grows with the square of small errors, so that other types lose in proportion to the squares
// of theirs. The choices are the smallest types. Progress counts weights that met a token. Throws Error as Sensitivity
// and quantize_model() do.
Plan measure_plan(const ModelFiles& source, size_t group_size, Calibration* calibration, std::string_view text,
                  ThreadTeam& team, const QuantizeProgress& progress);

// Offers the head and the embedding, where they are Q3 or Q4, with residuals, too. Likely tokens have most of the loss,
// and rows with a residual lose nothing worth mention: so it falls by the share of use that these rows are expected to
// have. Choices stay, but for residuals that were there before.
void offer_residuals(Plan& plan, const ModelFiles& source, const VocabularyUse& use);

// Throws Error(invalid_argument) when the plan decides other tensors than this model has.
void check_plan(const Plan& plan, const ModelFiles& source);

}  // namespace qwin
