// SPDX-License-Identifier: Apache-2.0
// The bytes of the KV pages: page p holds, for every layer and KV head, 64 tokens of K and V
// (kernels/attention_args.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/buffer.h"
#include "ops/attention.h"

namespace qwin {

struct KvShape {
  int num_layers = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  KvType type = KvType::f16;
  std::vector<WideKeyChannels> wide;  // [num_layers] for q8, empty otherwise

  int num_wide(int layer) const { return wide.empty() ? 0 : wide[static_cast<size_t>(layer)].count; }
  size_t head_bytes(int layer) const {
    return kv_page_layout(type, static_cast<size_t>(head_dim), static_cast<size_t>(num_wide(layer))).bytes;
  }
  // Bytes of a page before this layer; layer num_layers: of the whole page.
  size_t layer_offset(int layer) const {
    size_t bytes = 0;
    for (int i = 0; i < layer; ++i) bytes += head_bytes(i) * static_cast<size_t>(num_kv_heads);
    return bytes;
  }
  size_t page_bytes() const { return layer_offset(num_layers); }
  size_t token_bytes() const { return page_bytes() / kPageSize; }
};

class KvStore {
 public:
  // The memory is asked for at once but taken page by page, as tokens come.
  KvStore(const KvShape& shape, int32_t num_pages) : shape_(shape), memory_(shape.page_bytes() * num_pages) {}

  // Valid as long as the store.
  KvView layer(int index) const {
    return {.base = memory_.data() + shape_.layer_offset(index),
            .page_stride = shape_.page_bytes(),
            .head_stride = shape_.head_bytes(index),
            .type = shape_.type,
            .num_kv_heads = shape_.num_kv_heads,
            .head_dim = shape_.head_dim,
            .num_wide = shape_.num_wide(index),
            .wide_channels = shape_.wide.empty() ? nullptr : shape_.wide[static_cast<size_t>(index)].channels.data()};
  }
  // All layers of one page.
  std::span<std::byte> page(int32_t id) const {
    return {memory_.data() + static_cast<size_t>(id) * shape_.page_bytes(), shape_.page_bytes()};
  }

 private:
  KvShape shape_;
  Buffer memory_;
};

}  // namespace qwin
