// SPDX-License-Identifier: Apache-2.0
// tokenizer.json, and behind the first zero byte tokenizer_config.json; behind the next one a text. The vocabulary of a
// small right tokenizer takes the place of "vocab": 0, so that inputs need not spell 256 bytes to get anywhere.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "qwin/error.h"
#include "tokenizer/detokenizer.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/unicode.h"

namespace {

qwin::Json byte_vocabulary() {
  qwin::Json vocab = qwin::Json::object();
  std::string spelled, bytes;
  for (uint32_t c = 33; c < 324; ++c) {
    spelled.clear();
    qwin::unicode::append_utf8(spelled, c);
    if (qwin::decode_byte_level(spelled, bytes)) vocab[spelled] = vocab.size();
  }
  for (const char* merged : {"ab", "abc", "aa", "Ġa", "ĠĠ"}) vocab[merged] = vocab.size();
  return vocab;
}

// The part before the next zero byte; `text` goes on behind it.
std::string_view take_part(std::string_view& text) {
  const std::string_view part = text.substr(0, text.find('\0'));
  text.remove_prefix(part.size() < text.size() ? part.size() + 1 : part.size());
  return part;
}

void check_round_trip(const std::shared_ptr<const qwin::Tokenizer>& tokenizer, std::string_view text,
                      bool parse_special) {
  const auto ids = tokenizer->encode(text, parse_special);
  std::string bytes, pieces;
  qwin::Detokenizer detokenizer(tokenizer);
  for (const int32_t id : ids) {
    if (id < 0 || static_cast<uint32_t>(id) >= tokenizer->num_ids()) std::abort();
    bytes += tokenizer->token_bytes(id);
    pieces += detokenizer.push(id);
  }
  pieces += detokenizer.flush();
  if (bytes.empty() != text.empty() || pieces != tokenizer->decode(ids, true)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  try {
    qwin::ModelFiles files;
    files.format = qwin::ModelFiles::Format::safetensors;
    qwin::Json document = qwin::parse_json(take_part(rest), "tokenizer.json", qwin::ErrorCode::bad_tokenizer);
    if (document.is_object() && document.contains("model") && document["model"].is_object() &&
        document["model"].contains("vocab") && document["model"]["vocab"] == 0) {
      static const qwin::Json vocab = byte_vocabulary();
      document["model"]["vocab"] = vocab;
    }
    files.tokenizer_json = document.dump();
    if (const auto config = take_part(rest); !config.empty()) {
      files.tokenizer_config = qwin::parse_json(config, "tokenizer_config.json", qwin::ErrorCode::bad_tokenizer);
    }
    const auto tokenizer = qwin::Tokenizer::load(files);
    check_round_trip(tokenizer, rest, false);
    check_round_trip(tokenizer, rest, true);
  } catch (const qwin::Error&) {
  }
  return 0;
}
