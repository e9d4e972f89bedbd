// SPDX-License-Identifier: Apache-2.0
// What a model may be away from its original at most.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "eval/divergence_sums.h"

namespace qwin {

class Gate {
 public:
  // Conditions with commas between them: "kld<=0.03,p999<=1,top1>=0.92" for the mean KL, the 99.9 % KL (nats) and the
  // share of equal most probable tokens. Throws Error(invalid_argument).
  explicit Gate(std::string_view conditions);

  // Throws Error(gate_missed), which tells every measured figure, when one condition is not met.
  void check(const Divergence& measured) const;

 private:
  struct Condition {
    std::string text;
    double Divergence::* figure;
    bool is_upper;
    double limit;
  };

  static Condition parse(std::string_view text);

  std::vector<Condition> conditions_;
};

}  // namespace qwin
