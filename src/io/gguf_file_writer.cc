// SPDX-License-Identifier: Apache-2.0
#include "io/gguf_file_writer.h"

#include "core/check.h"

namespace qwin {
namespace {

constexpr uint64_t kAlignment = 32;

template <typename T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void append_string(std::string& out, std::string_view text) {
  append<uint64_t>(out, text.size());
  out += text;
}

uint64_t aligned(uint64_t value) { return (value + kAlignment - 1) / kAlignment * kAlignment; }

void append_array(std::string& out, const GgufValue& value) {
  append(out, static_cast<uint32_t>(value.element_type));
  append<uint64_t>(out, value.count);
  if (value.element_type != GgufType::string) {
    out += value.elements.text();
    return;
  }
  for (const std::string_view text : value.strings) append_string(out, text);
}

void append_value(std::string& out, const GgufValue& value) {
  switch (value.type) {
    case GgufType::u8:
    case GgufType::boolean: return append(out, static_cast<uint8_t>(value.u));
    case GgufType::u16: return append(out, static_cast<uint16_t>(value.u));
    case GgufType::u32: return append(out, static_cast<uint32_t>(value.u));
    case GgufType::u64: return append(out, value.u);
    case GgufType::i8: return append(out, static_cast<int8_t>(value.i));
    case GgufType::i16: return append(out, static_cast<int16_t>(value.i));
    case GgufType::i32: return append(out, static_cast<int32_t>(value.i));
    case GgufType::i64: return append(out, value.i);
    case GgufType::f32: return append(out, static_cast<float>(value.f));
    case GgufType::f64: return append(out, value.f);
    case GgufType::string: return append_string(out, value.s);
    case GgufType::array: return append_array(out, value);
  }
}

}  // namespace

void GgufFileWriter::add(std::string_view key, const GgufValue& value) {
  append_string(keys_, key);
  append(keys_, static_cast<uint32_t>(value.type));
  append_value(keys_, value);
  ++num_keys_;
}

void GgufFileWriter::add_uint(std::string_view key, uint32_t value) {
  GgufValue number;
  number.type = GgufType::u32;
  number.u = value;
  add(key, number);
}

void GgufFileWriter::add_uints(std::string_view key, const std::vector<int32_t>& values) {
  GgufValue array;
  array.type = GgufType::array;
  array.element_type = GgufType::u32;
  array.count = values.size();
  array.elements = FileSpan::of_memory(values.data(), values.size() * sizeof(int32_t));
  add(key, array);
}

void GgufFileWriter::add_string(std::string_view key, std::string_view text) {
  GgufValue value;
  value.type = GgufType::string;
  value.s = text;
  add(key, value);
}

void GgufFileWriter::add_tensor(std::string_view name, DType dtype, const std::vector<uint64_t>& shape) {
  const uint64_t bytes = tensor_bytes(std::string(name), dtype, shape);
  append_string(tensors_, name);
  append(tensors_, static_cast<uint32_t>(shape.size()));
  for (auto extent = shape.rbegin(); extent != shape.rend(); ++extent) append(tensors_, *extent);
  append(tensors_, gguf_type_id(dtype));
  append(tensors_, next_offset_);
  next_offset_ = aligned(next_offset_ + bytes);
  tensor_bytes_.push_back(bytes);
}

std::string GgufFileWriter::header() const {
  std::string header = "GGUF";
  append<uint32_t>(header, 3);
  append<uint64_t>(header, tensor_bytes_.size());
  append<uint64_t>(header, num_keys_);
  header += keys_;
  header += tensors_;
  header.resize(aligned(header.size()), 0);
  return header;
}

uint64_t GgufFileWriter::announced_bytes() const { return header().size() + next_offset_; }

void GgufFileWriter::pad() {
  static constexpr char kZeros[kAlignment] = {};
  file_.write(kZeros, aligned(file_.size()) - file_.size());
}

void GgufFileWriter::write_tensor(const std::byte* data, uint64_t bytes) {
  if (next_tensor_ == 0) {
    const std::string header = this->header();
    file_.write(header.data(), header.size());
  }
  QWIN_CHECK(next_tensor_ < tensor_bytes_.size() && bytes == tensor_bytes_[next_tensor_]);
  file_.write(data, bytes);
  pad();
  ++next_tensor_;
}

void GgufFileWriter::finish() {
  QWIN_CHECK(next_tensor_ == tensor_bytes_.size());
  file_.commit();
}

}  // namespace qwin
