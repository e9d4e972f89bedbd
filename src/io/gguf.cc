// SPDX-License-Identifier: Apache-2.0
// The order of the checks is fixed: counts, strings, dimensions, sizes, then ranges against the size of the file.
// Nothing is allocated for a count before the file has been found long enough to hold that many.
#include "io/gguf.h"

#include <algorithm>
#include <optional>

#include "core/checked.h"
#include "core/printable.h"
#include "io/gguf_file_writer.h"
#include "io/gguf_split.h"
#include "qwin/error.h"

namespace qwin {
namespace {

constexpr uint32_t kMagic = 0x46554747;                  // "GGUF"
constexpr uint64_t kMinKeyBytes = 8 + 1 + 4 + 1;         // key length, a character, type, a byte of value
constexpr uint64_t kMinTensorBytes = 8 + 4 + 8 + 4 + 8;  // name length, rank, one extent, type, offset
constexpr uint64_t kDefaultAlignment = 32;

struct Header {
  uint32_t version;
  uint64_t num_tensors;
  uint64_t num_keys;
};

// A tensor as the header tells of it, before its range is known to be inside the file.
struct PendingTensor {
  TensorInfo info;
  uint64_t offset;  // from the start of the data section
  uint64_t bytes;
};

// qwin's own types have ids that ggml will not come to, "QW" and the bits; a file that holds one says which version of
// the format it has.
constexpr uint32_t kOwnTypes = 0x51570000;

// ggml's type ids and qwin's, in the order of DType; those of types ggml has dropped, and of types no kernel here
// decodes, have no place.
constexpr uint32_t kTypeIds[kNumDTypes] = {
    0,
    1,
    30,
    2,
    3,
    6,
    7,
    8,
    10,
    11,
    12,
    13,
    14,
    20,
    23,
    kOwnTypes + 4,
    kOwnTypes + 6,
    kOwnTypes + 8,
    kOwnTypes + 3,
    kOwnTypes + 5,
};

std::optional<DType> dtype_of_id(uint32_t id) {
  const auto* found = std::find(std::begin(kTypeIds), std::end(kTypeIds), id);
  if (found == std::end(kTypeIds)) return std::nullopt;
  return static_cast<DType>(found - std::begin(kTypeIds));
}

void check_count(uint64_t count, uint64_t limit, uint64_t min_bytes, uint64_t remaining, const char* what) {
  if (count > limit) {
    throw Error(ErrorCode::too_large,
                std::to_string(count) + " " + what + ", more than the " + std::to_string(limit) + " a model may have");
  }
  if (count > remaining / min_bytes) {
    throw Error(ErrorCode::out_of_file, "the file is too short for its " + std::to_string(count) + " " + what);
  }
}

Header read_header(SpanReader& reader) {
  if (reader.remaining() < 4 || reader.read<uint32_t>("magic") != kMagic) {
    throw Error(ErrorCode::bad_magic, "the file does not begin with 'GGUF'");
  }
  Header header;
  header.version = reader.read<uint32_t>("version");
  if (header.version == 0x02000000 || header.version == 0x03000000) {
    throw Error(ErrorCode::bad_version, "the file is big-endian; convert it on a little-endian machine");
  }
  if (header.version != 2 && header.version != 3) {
    throw Error(ErrorCode::bad_version, "GGUF version " + std::to_string(header.version) + "; 2 and 3 can be read");
  }
  header.num_tensors = reader.read<uint64_t>("tensor count");
  header.num_keys = reader.read<uint64_t>("metadata count");
  check_count(header.num_tensors, kMaxTensors, kMinTensorBytes, reader.remaining(), "tensors");
  check_count(header.num_keys, kMaxGgufKeys, kMinKeyBytes, reader.remaining(), "metadata keys");
  return header;
}

std::string_view read_string(SpanReader& reader, const char* what) {
  const uint64_t length = reader.read<uint64_t>(what);
  const std::string_view text = reader.read_span(length, what).text();
  if (reader.position() > kMaxGgufMetadataBytes) {
    throw Error(ErrorCode::too_large, "more than " + std::to_string(kMaxGgufMetadataBytes >> 20) + " MiB of metadata");
  }
  return text;
}

std::string_view read_name(SpanReader& reader, const char* what) {
  const std::string_view name = read_string(reader, what);
  if (name.empty()) throw Error(ErrorCode::bad_config, std::string(what) + " is empty");
  if (name.size() > kMaxNameBytes) {
    throw Error(ErrorCode::too_large, std::string(what) + " " + printable(name) + " has " +
                                          std::to_string(name.size()) + " bytes, more than " +
                                          std::to_string(kMaxNameBytes));
  }
  return name;
}

// 0 for strings and arrays.
uint64_t scalar_bytes(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean: return 1;
    case GgufType::u16:
    case GgufType::i16: return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32: return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64: return 8;
    case GgufType::string:
    case GgufType::array: return 0;
  }
  return 0;
}

GgufType read_type(SpanReader& reader, std::string_view key) {
  const uint32_t id = reader.read<uint32_t>("metadata type");
  if (id > static_cast<uint32_t>(GgufType::f64)) {
    throw Error(ErrorCode::bad_type, "metadata key " + printable(key) + " has the unknown type " + std::to_string(id));
  }
  return static_cast<GgufType>(id);
}

void read_array(SpanReader& reader, std::string_view key, uint64_t& strings_left, GgufValue& value) {
  value.element_type = read_type(reader, key);
  value.count = reader.read<uint64_t>("array length");
  if (value.element_type == GgufType::array) {
    throw Error(ErrorCode::bad_type, "metadata key " + printable(key) + " is an array of arrays");
  }
  const bool is_strings = value.element_type == GgufType::string;
  const uint64_t element_bytes = is_strings ? 8 : scalar_bytes(value.element_type);
  if (value.count > reader.remaining() / element_bytes) {
    throw Error(ErrorCode::out_of_file, "metadata key " + printable(key) + ": the file is too short for an array of " +
                                            std::to_string(value.count));
  }
  if (!is_strings) {
    value.elements = reader.read_span(value.count * element_bytes, "array");
    return;
  }
  if (value.count > strings_left) {
    throw Error(ErrorCode::too_large, "metadata key " + printable(key) + ": more than " +
                                          std::to_string(kMaxGgufStrings) + " strings in arrays");
  }
  strings_left -= value.count;
  value.strings.reserve(value.count);
  for (uint64_t i = 0; i < value.count; ++i) value.strings.push_back(read_string(reader, "string of an array"));
}

GgufValue read_value(SpanReader& reader, std::string_view key, uint64_t& strings_left) {
  GgufValue value;
  value.type = read_type(reader, key);
  switch (value.type) {
    case GgufType::u8: value.u = reader.read<uint8_t>("metadata value"); break;
    case GgufType::u16: value.u = reader.read<uint16_t>("metadata value"); break;
    case GgufType::u32: value.u = reader.read<uint32_t>("metadata value"); break;
    case GgufType::u64: value.u = reader.read<uint64_t>("metadata value"); break;
    case GgufType::i8: value.i = reader.read<int8_t>("metadata value"); break;
    case GgufType::i16: value.i = reader.read<int16_t>("metadata value"); break;
    case GgufType::i32: value.i = reader.read<int32_t>("metadata value"); break;
    case GgufType::i64: value.i = reader.read<int64_t>("metadata value"); break;
    case GgufType::f32: value.f = reader.read<float>("metadata value"); break;
    case GgufType::f64: value.f = reader.read<double>("metadata value"); break;
    case GgufType::boolean:
      value.u = reader.read<uint8_t>("metadata value");
      if (value.u > 1) throw Error(ErrorCode::bad_config, "metadata key " + printable(key) + " is no boolean");
      break;
    case GgufType::string: value.s = read_string(reader, "metadata string"); break;
    case GgufType::array: read_array(reader, key, strings_left, value); break;
  }
  return value;
}

uint64_t read_alignment(const GgufMetadata& metadata) {
  const uint64_t alignment = metadata.get_uint("general.alignment", kDefaultAlignment);
  if (alignment < 8 || alignment > kMaxGgufAlignment || (alignment & (alignment - 1)) != 0) {
    throw Error(ErrorCode::bad_config, "general.alignment is " + std::to_string(alignment) +
                                           "; it must be a power of two from 8 to " +
                                           std::to_string(kMaxGgufAlignment));
  }
  return alignment;
}

PendingTensor read_tensor(SpanReader& reader) {
  PendingTensor tensor;
  tensor.info.name = read_name(reader, "tensor name");
  const uint32_t rank = reader.read<uint32_t>("tensor rank");
  if (rank == 0 || rank > kMaxGgufDims) {
    throw Error(ErrorCode::bad_shape, "tensor " + printable(tensor.info.name) + " has " + std::to_string(rank) +
                                          " dimensions; 1 to " + std::to_string(kMaxGgufDims) + " can be read");
  }
  tensor.info.shape.resize(rank);
  for (uint32_t i = 0; i < rank; ++i) tensor.info.shape[rank - 1 - i] = reader.read<uint64_t>("tensor dimension");
  const uint32_t type = reader.read<uint32_t>("tensor type");
  const std::optional<DType> dtype = dtype_of_id(type);
  if (!dtype) {
    throw Error(ErrorCode::bad_type, "tensor " + printable(tensor.info.name) + " has type " + std::to_string(type) +
                                         ", which cannot be read");
  }
  tensor.info.dtype = *dtype;
  tensor.offset = reader.read<uint64_t>("tensor offset");
  tensor.bytes = tensor_bytes(tensor.info.name, *dtype, tensor.info.shape);
  return tensor;
}

void check_format_version(const GgufMetadata& metadata, const std::vector<PendingTensor>& tensors) {
  const bool own = std::any_of(tensors.begin(), tensors.end(), [](auto& t) { return t.info.dtype >= DType::q4; });
  const uint64_t version = metadata.get_uint(kOwnFormatKey, 0);
  if (own && (version < kOwnFormatVersion || version > kResidualFormatVersion)) {
    throw Error(ErrorCode::bad_version, "the file's own tensor types have version " + std::to_string(version) + "; " +
                                            std::to_string(kOwnFormatVersion) + " and " +
                                            std::to_string(kResidualFormatVersion) + " can be read");
  }
}

// The sum of all sizes must not wrap, even where each alone fits.
void check_sizes(const std::vector<PendingTensor>& tensors, uint64_t alignment) {
  uint64_t total = 0;
  for (const PendingTensor& tensor : tensors) {
    total = checked_add(total, checked_align_up(tensor.bytes, alignment, "tensor size"), "size of all tensors");
  }
}

void check_overlap(const std::vector<PendingTensor>& tensors) {
  std::vector<const PendingTensor*> by_offset;
  by_offset.reserve(tensors.size());
  for (const PendingTensor& tensor : tensors) by_offset.push_back(&tensor);
  std::sort(by_offset.begin(), by_offset.end(), [](auto* a, auto* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < by_offset.size(); ++i) {
    const PendingTensor& previous = *by_offset[i - 1];
    if (by_offset[i]->offset - previous.offset < previous.bytes) {
      throw Error(ErrorCode::out_of_file, "tensors " + printable(previous.info.name) + " and " +
                                              printable(by_offset[i]->info.name) + " overlap");
    }
  }
}

void place_tensors(FileSpan file, uint64_t header_end, uint64_t alignment, std::vector<PendingTensor>& tensors,
                   TensorTable& table) {
  const uint64_t data_begin = std::min(checked_align_up(header_end, alignment, "data section"), file.size());
  const FileSpan data = file.sub(data_begin, file.size() - data_begin, "data section");
  for (PendingTensor& tensor : tensors) {
    const std::string label = "tensor " + printable(tensor.info.name);
    if (tensor.offset % alignment != 0) {
      throw Error(ErrorCode::out_of_file, label + " is not aligned: its offset is " + std::to_string(tensor.offset));
    }
    tensor.info.data = data.sub(tensor.offset, tensor.bytes, label.c_str());
  }
  check_overlap(tensors);
  for (PendingTensor& tensor : tensors) table.add(std::move(tensor.info));
}

}  // namespace

uint32_t gguf_type_id(DType dtype) { return kTypeIds[static_cast<int>(dtype)]; }

void read_gguf_part(FileSpan file, GgufLimits& left, GgufFile& out) {
  SpanReader reader(file);
  const Header header = read_header(reader);
  out.version = header.version;
  if (header.num_keys > left.keys) throw Error(ErrorCode::too_large, "too many metadata keys in all files together");
  left.keys -= header.num_keys;
  for (uint64_t i = 0; i < header.num_keys; ++i) {
    const std::string_view key = read_name(reader, "metadata key");
    out.metadata.add(key, read_value(reader, key, left.strings));
  }
  const uint64_t alignment = read_alignment(out.metadata);
  std::vector<PendingTensor> tensors;
  tensors.reserve(header.num_tensors);
  for (uint64_t i = 0; i < header.num_tensors; ++i) tensors.push_back(read_tensor(reader));
  check_format_version(out.metadata, tensors);
  check_sizes(tensors, alignment);
  place_tensors(file, reader.position(), alignment, tensors, out.tensors);
}

GgufFile read_gguf(FileSpan file) {
  GgufLimits left;
  GgufFile out;
  read_gguf_part(file, left, out);
  return out;
}

}  // namespace qwin
