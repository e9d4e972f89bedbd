// SPDX-License-Identifier: Apache-2.0
#include "model/check_values.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/check.h"
#include "core/printable.h"
#include "quant/block_formats.h"
#include "qwin/error.h"

namespace qwin {
namespace {

constexpr size_t kPieceBytes = 4u << 20;

// Where a block keeps its f16 scales; the second offset repeats the first when there is only one.
struct ScaleOffsets {
  size_t first, second;
};

ScaleOffsets scale_offsets(DType dtype) {
  switch (dtype) {
    case DType::q4_1: return {offsetof(BlockQ4_1, d), offsetof(BlockQ4_1, m)};
    case DType::q5_1: return {offsetof(BlockQ5_1, d), offsetof(BlockQ5_1, m)};
    case DType::q2_k: return {offsetof(BlockQ2_K, d), offsetof(BlockQ2_K, dmin)};
    case DType::q3_k: return {offsetof(BlockQ3_K, d), offsetof(BlockQ3_K, d)};
    case DType::q4_k: return {offsetof(BlockQ4_K, d), offsetof(BlockQ4_K, dmin)};
    case DType::q5_k: return {offsetof(BlockQ5_K, d), offsetof(BlockQ5_K, dmin)};
    case DType::q6_k: return {offsetof(BlockQ6_K, d), offsetof(BlockQ6_K, d)};
    default: return {0, 0};  // all others, plain types included, begin with the value
  }
}

template <typename Word>
bool has_full_exponent(const std::byte* at, Word exponent) {
  Word word;
  std::memcpy(&word, at, sizeof(word));
  return (word & exponent) == exponent;
}

// Without an early exit, so that the compiler can take many values at a time; the place is looked for only when there
// is one.
template <typename Word>
bool any_full_exponent(const std::byte* data, size_t count, size_t stride, ScaleOffsets offsets, Word exponent) {
  bool found = false;
  if (stride == sizeof(Word)) {
    for (size_t i = 0; i < count; ++i) found |= has_full_exponent<Word>(data + i * sizeof(Word), exponent);
    return found;
  }
  for (size_t i = 0; i < count; ++i) {
    const std::byte* block = data + i * stride;
    found |= has_full_exponent<Word>(block + offsets.first, exponent);
    found |= has_full_exponent<Word>(block + offsets.second, exponent);
  }
  return found;
}

template <typename Word>
std::optional<uint64_t> find_full_exponent(DType dtype, const std::byte* data, size_t bytes, Word exponent) {
  const size_t stride = dtype_info(dtype).block_bytes;
  const size_t count = bytes / stride;
  const ScaleOffsets offsets = scale_offsets(dtype);
  if (!any_full_exponent<Word>(data, count, stride, offsets, exponent)) return std::nullopt;
  size_t i = 0;
  while (!has_full_exponent<Word>(data + i * stride + offsets.first, exponent) &&
         !has_full_exponent<Word>(data + i * stride + offsets.second, exponent)) {
    ++i;
  }
  return i;
}

// The file a tensor's bytes lie in, and where.
struct Place {
  const MappedFile* file;
  uint64_t offset;
};

Place place_of(const ModelFiles& files, const TensorInfo& tensor) {
  for (const auto& file : files.files) {
    const FileSpan span = file->span();
    if (tensor.data.data() >= span.data() && tensor.data.data() < span.data() + span.size()) {
      return {file.get(), static_cast<uint64_t>(tensor.data.data() - span.data())};
    }
  }
  QWIN_CHECK(!"a tensor lies in one of the model's files");
  return {};
}

class ValueScan {
 public:
  ValueScan(const ModelFiles& files, const CheckProgress& progress) : files_(files), progress_(progress) {
    for (const TensorInfo& tensor : files.tensors.tensors()) total_ += tensor.data.size();
  }

  void check(const TensorInfo& tensor) {
    const DTypeInfo& type = dtype_info(tensor.dtype);
    const Place place = place_of(files_, tensor);
    const uint64_t step = kPieceBytes / type.block_bytes * type.block_bytes;
    for (uint64_t at = 0; at < tensor.data.size(); at += step) {
      const size_t bytes = std::min(step, tensor.data.size() - at);
      place.file->read(place.offset + at, piece_.data(), bytes);
      if (const auto block = find_non_finite(tensor.dtype, piece_.data(), bytes)) {
        throw Error(ErrorCode::non_finite, "tensor " + printable(tensor.name) + " (" + std::string(type.name) +
                                               ") holds a NaN or an infinity in block " +
                                               std::to_string(at / type.block_bytes + *block));
      }
      done_ += bytes;
      if (progress_) progress_(done_, total_);
    }
  }

 private:
  const ModelFiles& files_;
  const CheckProgress& progress_;
  std::vector<std::byte> piece_ = std::vector<std::byte>(kPieceBytes);
  uint64_t done_ = 0;
  uint64_t total_ = 0;
};

}  // namespace

std::optional<uint64_t> find_non_finite(DType dtype, const std::byte* data, size_t bytes) {
  switch (dtype) {
    case DType::f32: return find_full_exponent<uint32_t>(dtype, data, bytes, 0x7f800000u);
    case DType::bf16: return find_full_exponent<uint16_t>(dtype, data, bytes, 0x7f80u);
    case DType::q3:
    case DType::q4:
    case DType::q5:
    case DType::q6: return find_full_exponent<uint32_t>(dtype, data, bytes, 0xf8000000u);
    default: return find_full_exponent<uint16_t>(dtype, data, bytes, 0x7c00u);
  }
}

void check_values(const ModelFiles& files, const CheckProgress& progress) {
  std::vector<const TensorInfo*> in_file_order;
  for (const TensorInfo& tensor : files.tensors.tensors()) in_file_order.push_back(&tensor);
  std::sort(in_file_order.begin(), in_file_order.end(),
            [](auto* a, auto* b) { return a->data.data() < b->data.data(); });
  for (const auto& file : files.files) file->advise_sequential();
  ValueScan scan(files, progress);
  for (const TensorInfo* tensor : in_file_order) scan.check(*tensor);
}

}  // namespace qwin
