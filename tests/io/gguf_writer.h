// SPDX-License-Identifier: Apache-2.0
// Writes GGUF bytes for tests, wrong ones as readily as right ones: every count, length and offset can be overridden.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/dtype.h"
#include "io/gguf.h"

namespace qwin::testing {

template <typename T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

inline void append_string(std::string& out, std::string_view text) {
  append<uint64_t>(out, text.size());
  out += text;
}

// ggml's id of a type, or qwin's.
inline uint32_t ggml_type_id(DType dtype) {
  static constexpr uint32_t kIds[kNumDTypes] = {
      0, 1, 30, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 23, 0x51570004, 0x51570006, 0x51570008, 0x51570003, 0x51570005};
  return kIds[static_cast<int>(dtype)];
}

class GgufWriter {
 public:
  struct Tensor {
    std::string name;
    std::vector<uint64_t> extents;  // innermost first, as the file has them
    uint32_t type = 0;
    uint64_t offset = 0;
    std::string data;
  };

  std::string magic = "GGUF";
  uint32_t version = 3;
  std::optional<uint64_t> num_tensors, num_keys;  // claimed instead of the true ones
  uint64_t alignment = 32;
  std::vector<Tensor> tensors;

  void add_raw(std::string_view key, GgufType type, std::string_view value_bytes) {
    append_string(keys_, key);
    append(keys_, static_cast<uint32_t>(type));
    keys_ += value_bytes;
    ++key_count_;
  }
  template <typename T>
  void add(std::string_view key, GgufType type, T value) {
    std::string bytes;
    append(bytes, value);
    add_raw(key, type, bytes);
  }
  void add_u32(std::string_view key, uint32_t value) { add(key, GgufType::u32, value); }
  void add_f32(std::string_view key, float value) { add(key, GgufType::f32, value); }
  void add_bool(std::string_view key, bool value) { add<uint8_t>(key, GgufType::boolean, value); }
  void add_string(std::string_view key, std::string_view value) {
    std::string bytes;
    append_string(bytes, value);
    add_raw(key, GgufType::string, bytes);
  }
  void add_strings(std::string_view key, const std::vector<std::string>& values) {
    std::string bytes;
    append(bytes, static_cast<uint32_t>(GgufType::string));
    append<uint64_t>(bytes, values.size());
    for (const std::string& value : values) append_string(bytes, value);
    add_raw(key, GgufType::array, bytes);
  }
  template <typename T>
  void add_numbers(std::string_view key, GgufType type, const std::vector<T>& values) {
    std::string bytes;
    append(bytes, static_cast<uint32_t>(type));
    append<uint64_t>(bytes, values.size());
    for (T value : values) append(bytes, value);
    add_raw(key, GgufType::array, bytes);
  }
  // Places the tensor behind the last one. `shape` is outermost first. Without `data` its bytes are zeros.
  Tensor& add_tensor(std::string name, DType dtype, std::vector<uint64_t> shape, std::string data = {}) {
    uint64_t bytes = dtype_info(dtype).block_bytes;
    for (uint64_t extent : shape) bytes *= extent;
    data.resize(bytes / dtype_info(dtype).block_elements, '\0');
    uint64_t offset = 0;
    if (!tensors.empty()) offset = align(tensors.back().offset + tensors.back().data.size());
    tensors.push_back({std::move(name), {shape.rbegin(), shape.rend()}, ggml_type_id(dtype), offset, std::move(data)});
    return tensors.back();
  }

  // Everything up to the data section, without its padding.
  std::string header() const {
    std::string out = magic;
    append(out, version);
    append<uint64_t>(out, num_tensors.value_or(tensors.size()));
    append<uint64_t>(out, num_keys.value_or(key_count_));
    out += keys_;
    for (const Tensor& tensor : tensors) {
      append_string(out, tensor.name);
      append(out, static_cast<uint32_t>(tensor.extents.size()));
      for (uint64_t extent : tensor.extents) append(out, extent);
      append(out, tensor.type);
      append(out, tensor.offset);
    }
    return out;
  }
  // The data is written where add_tensor placed it, whatever the offsets say now.
  std::string bytes() const {
    std::string out = header();
    for (const Tensor& tensor : tensors) {
      out.resize(align(out.size()), '\0');
      out += tensor.data;
    }
    return out;
  }
  void write(const std::string& path) const { std::ofstream(path, std::ios::binary) << bytes(); }

 private:
  uint64_t align(uint64_t value) const { return (value + alignment - 1) / alignment * alignment; }

  std::string keys_;
  uint64_t key_count_ = 0;
};

// Metadata of every type.
inline void add_every_type(GgufWriter& writer) {
  writer.add<uint8_t>("a.u8", GgufType::u8, 200);
  writer.add<int8_t>("a.i8", GgufType::i8, -100);
  writer.add<uint16_t>("a.u16", GgufType::u16, 60000);
  writer.add<int16_t>("a.i16", GgufType::i16, -30000);
  writer.add_u32("a.u32", 4000000000u);
  writer.add<int32_t>("a.i32", GgufType::i32, -2000000000);
  writer.add<uint64_t>("a.u64", GgufType::u64, UINT64_MAX);
  writer.add<int64_t>("a.i64", GgufType::i64, INT64_MIN);
  writer.add_f32("a.f32", 1.5f);
  writer.add("a.f64", GgufType::f64, 2.25);
  writer.add_bool("a.bool", true);
  writer.add_strings("a.strings", {"one", "", "three"});
  writer.add_numbers<int32_t>("a.numbers", GgufType::i32, {1, -2, 3});
}

}  // namespace qwin::testing
