// SPDX-License-Identifier: Apache-2.0
// How long a step takes, learnt from the steps so far: seconds = a + b tokens + c keys read. Least squares with
// forgetting, so that it follows a machine that others use too. It decides how prompts are cut, never what is computed.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

namespace qwin {

struct StepLoad {
  int64_t tokens = 0;
  double keys = 0;  // sum over the tokens of the keys each attends to

  void add(int64_t first_position, int64_t count, int64_t most_keys = std::numeric_limits<int64_t>::max()) {
    tokens += count;
    const double seen = static_cast<double>(first_position) + 0.5 * static_cast<double>(count + 1);
    keys += static_cast<double>(count) * std::min(seen, static_cast<double>(most_keys));
  }
};

class CostModel {
 public:
  // Knows nothing at first: 0; the caller grows its steps slowly.
  double seconds(const StepLoad& load) const;
  // What most steps stay below.
  double careful_seconds(const StepLoad& load) const;
  void observe(const StepLoad& load, double taken);
  // Twice the tokens of the largest step so far: beyond that, the fit would be a guess.
  int64_t max_trusted_tokens() const { return 2 * most_tokens_; }

 private:
  using Vector = std::array<double, 3>;
  static Vector features(const StepLoad& load);

  Vector weights_{};      // of the features, none below 0
  double deviation_ = 0;  // mean distance of the last steps from what was expected, seconds
  // The normal equations of the steps so far, older ones counting less: sums of features x features, features x
  // seconds.
  std::array<Vector, 3> products_{};
  Vector targets_{};
  int64_t most_tokens_ = 32;
};

}  // namespace qwin
