// SPDX-License-Identifier: Apache-2.0
// JSON documents of others, read in linear time and to a bounded depth. Keys keep their order, which templates and
// schemas depend on.
#pragma once

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

namespace qwin {

using Json = nlohmann::ordered_json;

// What is wrong with a text that should be JSON; what() says it in words.
struct JsonFault : std::runtime_error {
  enum class Kind { syntax, too_deep, duplicate_key };
  JsonFault(Kind kind_in, const std::string& words, std::string key_in = {})
      : std::runtime_error(words), kind(kind_in), key(std::move(key_in)) {}
  Kind kind;
  std::string key;  // that is there twice
};

// Throws JsonFault when `text` is no JSON in UTF-8, is nested deeper than `max_depth` (documents are walked
// recursively) or has a key twice. Look-ups in an object are linear: walk large ones with items().
Json read_json(std::string_view text, size_t max_depth);

}  // namespace qwin
