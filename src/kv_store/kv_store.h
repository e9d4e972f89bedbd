// SPDX-License-Identifier: Apache-2.0
// The bytes of the KV pages: page p holds, for every layer and KV head, 64 tokens of K and V, and behind them, for
// every layer and KV head, the bounds of the keys (kernels/attention_args.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/buffer.h"
#include "kv_store/disk_memory.h"
#include "ops/attention.h"

namespace qwin {

struct KvShape {
  int num_layers = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  KvType type = KvType::f16;
  std::vector<WideKeyChannels> wide;  // [num_layers], or empty: there are none

  int num_wide(int layer) const { return wide.empty() ? 0 : wide[static_cast<size_t>(layer)].count; }
  int wide_in_bounds(int layer) const { return wide.empty() ? 0 : wide[static_cast<size_t>(layer)].in_bounds; }
  size_t head_bytes(int layer) const {
    return kv_page_layout(type, static_cast<size_t>(head_dim), static_cast<size_t>(num_wide(layer))).bytes;
  }
  // Bytes of a page before this layer's K and V; layer num_layers: before all bounds.
  size_t layer_offset(int layer) const {
    size_t bytes = 0;
    for (int i = 0; i < layer; ++i) bytes += head_bytes(i) * static_cast<size_t>(num_kv_heads);
    return bytes;
  }
  size_t bounds_offset(int layer) const {
    size_t bytes = layer_offset(num_layers);
    for (int i = 0; i < layer; ++i) bytes += key_bounds_layout(head_dim, wide_in_bounds(i)).bytes * num_kv_heads;
    return bytes;
  }
  size_t page_bytes() const { return bounds_offset(num_layers); }
  size_t token_bytes() const { return page_bytes() / kPageSize; }
};

// Where the pages lie that are too many for RAM.
struct KvDisk {
  std::string directory;            // empty: there are none
  uint64_t max_resident_bytes = 0;  // in RAM, about
};

class KvStore {
 public:
  // The memory is asked for at once but taken page by page, as tokens come. Throws Error(io) for a disk at fault.
  KvStore(const KvShape& shape, int32_t num_pages, const KvDisk& disk = {}) : shape_(shape) {
    const size_t bytes = shape.page_bytes() * static_cast<size_t>(num_pages);
    if (disk.directory.empty()) {
      memory_ = Buffer(bytes);
    } else {
      disk_ = std::make_unique<DiskMemory>(disk.directory, bytes, disk.max_resident_bytes);
    }
    data_ = disk_ ? disk_->data() : memory_.data();
  }

  // Valid as long as the store.
  KvView layer(int index) const {
    return {.base = data_ + shape_.layer_offset(index),
            .page_stride = shape_.page_bytes(),
            .head_stride = shape_.head_bytes(index),
            .bounds = shape_.bounds_offset(index) - shape_.layer_offset(index),
            .type = shape_.type,
            .num_kv_heads = shape_.num_kv_heads,
            .head_dim = shape_.head_dim,
            .num_wide = shape_.num_wide(index),
            .wide_in_bounds = shape_.wide_in_bounds(index),
            .wide_channels = shape_.wide.empty() ? nullptr : shape_.wide[static_cast<size_t>(index)].channels.data(),
            .fetcher = disk_.get()};
  }
  // All layers of one page.
  std::span<std::byte> page(int32_t id) const {
    return {data_ + static_cast<size_t>(id) * shape_.page_bytes(), shape_.page_bytes()};
  }
  // Between steps: keeps to KvDisk::max_resident_bytes.
  void trim() {
    if (disk_) disk_->trim();
  }

 private:
  KvShape shape_;
  Buffer memory_;
  std::unique_ptr<DiskMemory> disk_;
  std::byte* data_ = nullptr;
};

}  // namespace qwin
