// SPDX-License-Identifier: Apache-2.0
// What K and V depend on besides tokens and plan, as one text: pages on disk are found only by the same.
#pragma once

#include <string>

#include "kv_store/kv_store.h"
#include "model/config.h"

namespace qwin {

// Reads every byte of the weights. `arithmetic`: the rung's name for the float32 path, which gives other bits.
std::string cache_identity(const ModelConfig& config, const ModelFiles& files, const KvShape& shape,
                           const std::string& arithmetic);

}  // namespace qwin
