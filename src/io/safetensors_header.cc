// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors_header.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "core/printable.h"
#include "io/safetensors.h"
#include "io/tensor_table.h"
#include "qwin/error.h"

namespace qwin {
namespace {

// Follows `{"NAME": {"dtype": "F32", "shape": [..], "data_offsets": [..]}, .., "__metadata__": {"key": "text"}}` and
// refuses everything else, so nothing can nest.
class HeaderReader {
 public:
  explicit HeaderReader(const std::string& label) : label_(label) {}

  bool null() { return unexpected(); }
  bool boolean(bool) { return unexpected(); }
  bool number_integer(int64_t) { return fail(ErrorCode::bad_shape, "a negative number"); }
  bool number_float(double, const std::string&) {
    return fail(ErrorCode::bad_shape, "a number that is no 64-bit count");
  }
  bool binary(std::vector<uint8_t>&) { return unexpected(); }

  bool start_object(size_t) {
    if (place_ == Place::start) return go(Place::names);
    if (place_ != Place::names) return unexpected();
    if (in_metadata_) return go(Place::metadata);
    if (entries_.size() >= kMaxTensors) return fail(ErrorCode::too_large, "too many tensors");
    entries_.emplace_back().name = name_;
    seen_ = 0;
    return go(Place::fields);
  }
  bool end_object() {
    if (place_ == Place::names) return go(Place::finished);
    if (place_ == Place::fields && seen_ != (kDType | kShape | kOffsets)) {
      return fail(ErrorCode::bad_config, "dtype, shape or data_offsets is missing");
    }
    return go(Place::names);
  }
  bool key(std::string& key) {
    switch (place_) {
      case Place::names: return start_entry(key);
      case Place::fields: return start_field(key);
      default: return true;
    }
  }
  bool string(std::string& value) {
    if (place_ == Place::metadata) return true;
    if (place_ != Place::fields || field_ != kDType) return unexpected();
    SafetensorsEntry& entry = entries_.back();
    if (value == "F32") {
      entry.dtype = DType::f32;
    } else if (value == "F16") {
      entry.dtype = DType::f16;
    } else if (value == "BF16") {
      entry.dtype = DType::bf16;
    } else {
      return fail(ErrorCode::bad_type, "has dtype " + printable(value) + "; F32, F16 and BF16 can be read");
    }
    return value_done();
  }
  bool start_array(size_t) {
    if (place_ != Place::fields || (field_ != kShape && field_ != kOffsets)) return unexpected();
    numbers_.clear();
    return go(Place::numbers);
  }
  bool number_unsigned(uint64_t value) {
    if (place_ != Place::numbers) return unexpected();
    const size_t most = field_ == kShape ? kMaxSafetensorsDims : 2;
    if (numbers_.size() >= most) return fail(ErrorCode::bad_shape, "too many numbers in shape or data_offsets");
    numbers_.push_back(value);
    return true;
  }
  bool end_array() {
    SafetensorsEntry& entry = entries_.back();
    if (field_ == kShape) {
      entry.shape = numbers_;
    } else {
      if (numbers_.size() != 2) return fail(ErrorCode::bad_config, "data_offsets are not two numbers");
      entry.begin = numbers_[0];
      entry.end = numbers_[1];
    }
    go(Place::fields);
    return value_done();
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    throw Error(ErrorCode::bad_config,
                label_ + ": the header is no valid JSON in UTF-8 at byte " + std::to_string(position));
  }

  std::vector<SafetensorsEntry> take() { return std::move(entries_); }

 private:
  enum class Place { start, names, fields, numbers, metadata, finished };
  enum Field : unsigned { kNone = 0, kDType = 1, kShape = 2, kOffsets = 4 };

  bool go(Place place) {
    place_ = place;
    return true;
  }
  bool value_done() {
    seen_ |= field_;
    field_ = kNone;
    return true;
  }
  bool start_entry(std::string& key) {
    if (key.size() > kMaxNameBytes) return fail(ErrorCode::too_large, "tensor name " + printable(key) + " is too long");
    in_metadata_ = key == "__metadata__";
    name_ = std::move(key);
    return true;
  }
  bool start_field(const std::string& key) {
    field_ = key == "dtype" ? kDType : key == "shape" ? kShape : key == "data_offsets" ? kOffsets : kNone;
    if (field_ == kNone) return fail(ErrorCode::bad_config, "unknown field " + printable(key));
    if (seen_ & field_) return fail(ErrorCode::bad_config, printable(key) + " is there twice");
    return true;
  }
  bool unexpected() { return fail(ErrorCode::bad_config, "a value of the wrong kind"); }
  bool fail(ErrorCode code, const std::string& problem) const {
    const std::string where = name_.empty() ? "the header" : "tensor " + printable(name_);
    throw Error(code, label_ + ": " + where + ": " + problem);
  }

  const std::string& label_;
  std::vector<SafetensorsEntry> entries_;
  Place place_ = Place::start;
  std::string name_;
  bool in_metadata_ = false;
  unsigned field_ = kNone;
  unsigned seen_ = 0;
  std::vector<uint64_t> numbers_;
};

}  // namespace

std::vector<SafetensorsEntry> parse_safetensors_header(std::string_view header, const std::string& label) {
  if (header.empty() || header.front() != '{') {
    throw Error(ErrorCode::bad_magic, label + ": no safetensors file: its header does not begin with '{'");
  }
  HeaderReader reader(label);
  nlohmann::json::sax_parse(header.begin(), header.end(), &reader);
  return reader.take();
}

}  // namespace qwin
