// SPDX-License-Identifier: Apache-2.0
// One name for every tensor: the code says the Hugging Face name, the file may spell it GGUF's way.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "model/config.h"

namespace qwin {

// "model.layers.3.self_attn.q_proj.weight" -> "blk.3.attn_q.weight". Empty when GGUF has no such tensor in Qwen models.
std::string gguf_tensor_name(const std::string& hf_name);

// The name `hf_name` has in these files.
std::string stored_tensor_name(const ModelFiles& files, const std::string& hf_name);

// nullptr when the files have no such tensor.
const TensorInfo* find_tensor(const ModelFiles& files, const std::string& hf_name);

// The tensor in exactly `shape`, outermost first. Throws missing_tensor or bad_shape, naming it as the file does.
const TensorInfo& require_tensor(const ModelFiles& files, const std::string& hf_name, std::span<const uint64_t> shape);

}  // namespace qwin
