// SPDX-License-Identifier: Apache-2.0
// The bytes of the KV pages: page p holds, for every layer and KV head, 64 tokens of K and V (kernels/cpu_kernels.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/buffer.h"
#include "ops/attention.h"

namespace qwin {

struct KvShape {
  int num_layers = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  KvType type = KvType::f16;

  size_t element_bytes() const { return type == KvType::f32 ? 4 : 2; }
  size_t head_bytes() const { return 2 * static_cast<size_t>(kPageSize) * head_dim * element_bytes(); }
  size_t layer_bytes() const { return head_bytes() * num_kv_heads; }
  size_t page_bytes() const { return layer_bytes() * num_layers; }
  size_t token_bytes() const { return page_bytes() / kPageSize; }
};

class KvStore {
 public:
  // The memory is asked for at once but taken page by page, as tokens come.
  KvStore(const KvShape& shape, int32_t num_pages) : shape_(shape), memory_(shape.page_bytes() * num_pages) {}

  KvView layer(int index) const {
    return {memory_.data() + index * shape_.layer_bytes(),
            shape_.page_bytes(),
            shape_.head_bytes(),
            shape_.type,
            shape_.num_kv_heads,
            shape_.head_dim};
  }
  // All layers of one page.
  std::span<std::byte> page(int32_t id) const {
    return {memory_.data() + static_cast<size_t>(id) * shape_.page_bytes(), shape_.page_bytes()};
  }
  const KvShape& shape() const { return shape_; }

 private:
  KvShape shape_;
  Buffer memory_;
};

}  // namespace qwin
