// SPDX-License-Identifier: Apache-2.0
// The library's own document builder searches an object for every key it adds, which is quadratic; this one appends.
#include "core/json.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/printable.h"

namespace qwin {
namespace {

class DocumentBuilder {
 public:
  explicit DocumentBuilder(size_t max_depth) : max_depth_(max_depth) {}

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(Json::number_integer_t value) { return put(value); }
  bool number_unsigned(Json::number_unsigned_t value) { return put(value); }
  bool number_float(Json::number_float_t value, const std::string&) { return put(value); }
  bool string(std::string& value) { return put(std::move(value)); }
  bool binary(Json::binary_t&) { return false; }
  bool key(std::string& name) {
    keys_.push_back(std::move(name));
    return true;
  }
  bool start_object(size_t) { return start(Json::object()); }
  bool start_array(size_t) { return start(Json::array()); }
  bool end_object() {
    refuse_duplicates(open_.back()->get_ref<const Json::object_t&>());
    return end_array();
  }
  bool end_array() {
    open_.pop_back();
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    throw JsonFault(JsonFault::Kind::syntax, "no valid JSON in UTF-8 at byte " + std::to_string(position));
  }

  Json take() { return std::move(root_); }

 private:
  // Adds the value to the innermost open container. A container cannot grow while a child of it is open, so the
  // pointers in open_ stay valid.
  bool put(Json value) {
    place(std::move(value));
    return true;
  }
  bool start(Json container) {
    if (open_.size() >= max_depth_) {
      throw JsonFault(JsonFault::Kind::too_deep, "nested deeper than " + std::to_string(max_depth_));
    }
    open_.push_back(place(std::move(container)));
    return true;
  }
  Json* place(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      auto& array = open_.back()->get_ref<Json::array_t&>();
      array.push_back(std::move(value));
      return &array.back();
    }
    Json::object_t::Container& object = open_.back()->get_ref<Json::object_t&>();
    object.emplace_back(std::move(keys_.back()), std::move(value));
    keys_.pop_back();
    return &object.back().second;
  }
  void refuse_duplicates(const Json::object_t& object) const {
    std::vector<std::string_view> names;
    names.reserve(object.size());
    for (const auto& entry : object) names.push_back(entry.first);
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice == names.end()) return;
    throw JsonFault(JsonFault::Kind::duplicate_key, "key " + printable(*twice) + " is there twice",
                    std::string(*twice));
  }

  const size_t max_depth_;
  Json root_;
  std::vector<Json*> open_;
  std::vector<std::string> keys_;
};

}  // namespace

Json read_json(std::string_view text, size_t max_depth) {
  DocumentBuilder builder(max_depth);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

}  // namespace qwin
