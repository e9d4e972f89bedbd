// SPDX-License-Identifier: Apache-2.0
// Where a channel of the key in a slot lies in a page's K (KvPageLayout), for those who store keys or read single ones.
#pragma once

#include "kernels/attention_args.h"

namespace qwin {

// Of head_dim channels: in numbers (f32, f16).
constexpr size_t key_number(size_t channels, size_t channel, size_t slot) {
  return (slot / kPartSize * channels + channel) * kPartSize + slot % kPartSize;
}

// Of head_dim channels and the wide ones' high digits behind them: in codes of a byte (q8).
constexpr size_t key_code(size_t channels, size_t channel, size_t slot) {
  return (slot / kPartSize * channels + channel / 4 * 4) * kPartSize + slot % kPartSize * 4 + channel % 4;
}

}  // namespace qwin
