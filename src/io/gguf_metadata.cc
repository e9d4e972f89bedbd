// SPDX-License-Identifier: Apache-2.0
#include "core/printable.h"
#include "io/gguf.h"
#include "qwin/error.h"

namespace qwin {
namespace {

[[noreturn]] void throw_wrong_type(std::string_view key, const char* expected) {
  throw Error(ErrorCode::bad_config, "metadata key " + printable(key) + " should be " + expected);
}

}  // namespace

void GgufMetadata::add(std::string_view key, GgufValue value) {
  if (!index_.emplace(key, entries_.size()).second) {
    throw Error(ErrorCode::bad_config, "metadata key " + printable(key) + " is there twice");
  }
  entries_.emplace_back(key, std::move(value));
}

const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : &entries_[found->second].second;
}

uint64_t GgufMetadata::get_uint(std::string_view key, uint64_t fallback) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return fallback;
  switch (value->type) {
    case GgufType::u8:
    case GgufType::u16:
    case GgufType::u32:
    case GgufType::u64: return value->u;
    case GgufType::i8:
    case GgufType::i16:
    case GgufType::i32:
    case GgufType::i64:
      if (value->i >= 0) return static_cast<uint64_t>(value->i);
      [[fallthrough]];
    default: throw_wrong_type(key, "an integer that is not negative");
  }
}

double GgufMetadata::get_float(std::string_view key, double fallback) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return fallback;
  if (value->type != GgufType::f32 && value->type != GgufType::f64) throw_wrong_type(key, "a float");
  return value->f;
}

bool GgufMetadata::get_bool(std::string_view key, bool fallback) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return fallback;
  if (value->type != GgufType::boolean) throw_wrong_type(key, "a boolean");
  return value->u != 0;
}

std::string_view GgufMetadata::get_string(std::string_view key, std::string_view fallback) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return fallback;
  if (value->type != GgufType::string) throw_wrong_type(key, "a string");
  return value->s;
}

}  // namespace qwin
