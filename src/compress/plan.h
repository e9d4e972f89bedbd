// SPDX-License-Identifier: Apache-2.0
// Which type each matrix of a model gets: what every choice costs and loses, and the choices that lose least within a
// size.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/json.h"

namespace qwin {

struct PlanOption {
  DType type = DType::q4;
  uint64_t bytes = 0;
  double loss = 0;           // mean KL, nats, of the model with this matrix alone in that type
  size_t residual_rows = 0;  // rows that get what quantizing lost as a second matrix

  bool operator==(const PlanOption&) const = default;
};

struct PlanItem {
  std::string tensor;  // its name in the source
  std::vector<PlanOption> options;
  size_t chosen = 0;

  const PlanOption& choice() const { return options[chosen]; }
};

struct Plan {
  size_t group_size = 32;  // the losses were measured with
  std::vector<PlanItem> items;

  uint64_t bytes() const;
  double loss() const;  // sum of the choices' losses: what the whole model should lose, were they independent
  std::map<std::string, DType> types() const;
  std::map<std::string, size_t> residual_rows() const;  // where there are any
};

// Chooses the options whose losses have the smallest sum within `budget` bytes: a knapsack, solved exactly, or for very
// large models as if every choice took up to a 2^-18th of the budget more. Q3 is for sizes that the other types do not
// reach: squares of errors as large as its tell too little of what is lost. Throws Error(invalid_argument), which tells
// the smallest size there is, when nothing fits.
void choose_within(Plan& plan, uint64_t budget);

// As a file keeps it. plan_of() throws Error(invalid_argument) for what is no plan.
Json plan_document(const Plan& plan);
Plan plan_of(const Json& document);

}  // namespace qwin
