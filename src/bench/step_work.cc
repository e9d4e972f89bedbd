// SPDX-License-Identifier: Apache-2.0
#include "bench/step_work.h"

#include <algorithm>

#include "model/checkpoint_names.h"
#include "model/weights.h"

namespace qwin {

ModelWork model_work(const ModelConfig& config, const ModelFiles& files, WeightForm form, uint64_t kv_token_bytes) {
  const uint64_t hidden = config.hidden_size, q = uint64_t{config.num_heads} * config.head_dim,
                 kv = uint64_t{config.num_kv_heads} * config.head_dim;
  const TensorInfo* head = find_tensor(files, "lm_head.weight");
  const uint64_t dims[] = {config.vocab_size, hidden};
  if (head == nullptr) head = &require_tensor(files, "model.embed_tokens.weight", dims);

  ModelWork work;
  work.block_macs = config.num_layers * (hidden * (2 * q + 2 * kv) + 3 * hidden * config.intermediate_size);
  work.head_macs = hidden * config.vocab_size;
  work.kv_bytes = kv_token_bytes;
  if (form == WeightForm::float32) {  // reads the file's own blocks
    work.head_bytes = head->data.size();
    for (const TensorInfo& tensor : files.tensors.tensors()) {
      if (tensor.shape.size() == 2 && tensor.shape[0] != config.vocab_size) work.block_bytes += tensor.data.size();
    }
    return work;
  }
  const StoredMatrix stored{head->data.data(), head->dtype, static_cast<size_t>(config.vocab_size), hidden};
  work.head_bytes = packed_weight_bytes(stored, packed_type(form, stored, true));
  work.block_bytes = weight_memory_bytes(config, files, form) - work.head_bytes;
  return work;
}

int64_t visible_keys(int64_t position, int64_t window, int64_t num_sinks) {
  return window == 0 ? position + 1 : std::min(position + 1, window + num_sinks);
}

Work step_work(const ModelWork& model, int64_t tokens, int64_t rows, int64_t keys) {
  const auto count = [](uint64_t per, int64_t times) { return static_cast<double>(per) * static_cast<double>(times); };
  return {
      .macs = count(model.block_macs, tokens) + count(model.head_macs, rows),
      .bytes = count(model.block_bytes, 1) + count(model.head_bytes, rows > 0 ? 1 : 0) + count(model.kv_bytes, keys),
  };
}

}  // namespace qwin
