// SPDX-License-Identifier: Apache-2.0
#include "cli/divergence_report.h"

#include <cstdio>

namespace qwin {

Json divergence_json(const Divergence& d) {
  return {{"positions", d.positions}, {"mean_kl", d.mean_kl},   {"kl_p999", d.kl_p999},
          {"top1", d.top1},           {"first_kl", d.first_kl}, {"nmse", d.nmse}};
}

void print_divergence(const char* label, const Divergence& d) {
  std::printf("%s: %lld positions, mean KL %.6f, 99.9 %% KL %.5f, top-1 %.2f %%, first position's KL %.5f, NMSE %.3g\n",
              label, static_cast<long long>(d.positions), d.mean_kl, d.kl_p999, 100 * d.top1, d.first_kl, d.nmse);
}

}  // namespace qwin
