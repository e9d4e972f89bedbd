// SPDX-License-Identifier: Apache-2.0
// `qwin tokenize` and `qwin detokenize`: all of stdin to token ids, and token ids to text.
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>

#include "chat/chat_template.h"
#include "cli/cli.h"
#include "core/printable.h"
#include "hub/model_store.h"
#include "io/json.h"
#include "io/model_files.h"
#include "qwin/error.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/unicode.h"

namespace qwin {
namespace {

struct TokenizeOptions {
  std::string model;
  bool special = false;
  bool chat = false;
  bool json = false;
};

std::string read_stdin() {
  std::string text{std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
  if (!unicode::is_valid_utf8(text)) throw Error(ErrorCode::invalid_argument, "the input is not UTF-8");
  return text;
}

void write_stdout(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

std::string format_ids(const std::vector<int32_t>& ids, const char* separator) {
  std::string text;
  for (const int32_t id : ids) {
    if (!text.empty()) text += separator;
    text += std::to_string(id);
  }
  return text;
}

// A list of messages, or {"messages": [...], "tools": [...]}.
ChatInput parse_chat(const std::string& text) {
  Json document = parse_json(text, "the input", ErrorCode::invalid_argument);
  ChatInput chat;
  if (document.is_array()) {
    chat.messages = std::move(document);
    return chat;
  }
  if (!document.is_object() || !document.contains("messages")) {
    throw Error(ErrorCode::invalid_argument,
                "with --chat the input should be a list of messages, or {\"messages\", \"tools\"}");
  }
  for (auto& [key, value] : document.items()) {
    if (key == "messages") {
      chat.messages = std::move(value);
    } else if (key == "tools") {
      chat.tools = std::move(value);
    } else {
      throw Error(ErrorCode::invalid_argument,
                  "the input has the key " + printable(key) + "; known are messages and tools");
    }
  }
  return chat;
}

std::vector<int32_t> encode_chat(const ModelFiles& files, const Tokenizer& tokenizer, const ChatInput& chat) {
  const std::vector<RenderedSegment> rendered = ChatTemplate::load(files).render(chat);
  std::vector<TextSegment> segments;
  segments.reserve(rendered.size());
  for (const RenderedSegment& segment : rendered) segments.push_back({segment.text, segment.from_template});
  return tokenizer.encode(segments);
}

void tokenize(const TokenizeOptions& options) {
  const std::string text = read_stdin();
  const ModelFiles files = open_model_files(resolve_model(options.model));
  const auto tokenizer = Tokenizer::load(files);
  const std::vector<int32_t> ids =
      options.chat ? encode_chat(files, *tokenizer, parse_chat(text)) : tokenizer->encode(text, options.special);
  write_stdout(options.json ? "{\"token_ids\":[" + format_ids(ids, ",") + "]}\n" : format_ids(ids, " ") + "\n");
}

std::vector<int32_t> parse_token_ids(const std::string& text) {
  const auto fail = [] {
    throw Error(ErrorCode::invalid_argument, "the input should be {\"token_ids\": [...]} with ids from 0 to 2^31 - 1");
  };
  const Json document = parse_json(text, "the input", ErrorCode::invalid_argument);
  if (!document.is_object() || !document.contains("token_ids") || !document["token_ids"].is_array()) fail();
  std::vector<int32_t> ids;
  for (const Json& id : document["token_ids"]) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) fail();
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

void detokenize(const TokenizeOptions& options) {
  const std::vector<int32_t> ids = parse_token_ids(read_stdin());
  const std::string text = Tokenizer::load(open_model_files(resolve_model(options.model)))->decode(ids);
  write_stdout(options.json ? Json{{"text", text}}.dump() + "\n" : text);
}

}  // namespace

void register_tokenize(CLI::App& app) {
  const auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "Print the token ids of the text on stdin");
  command->add_option("MODEL", options->model, "a model file, folder or name")->required();
  CLI::Option* special = add_switch(*command, "--special", options->special,
                                    "Recognise special and added tokens such as <|im_end|> in the text");
  add_switch(*command, "--chat", options->chat,
             "Read a JSON list of messages, or {\"messages\", \"tools\"}, and apply the chat template")
      ->excludes(special);
  add_switch(*command, "--json", options->json, "Print {\"token_ids\": [...]}");
  command->callback([options] { tokenize(*options); });
}

void register_detokenize(CLI::App& app) {
  const auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("detokenize", "Print the text of {\"token_ids\": [...]} on stdin");
  command->add_option("MODEL", options->model, "a model file, folder or name")->required();
  add_switch(*command, "--json", options->json, "Print {\"text\": ...}");
  command->callback([options] { detokenize(*options); });
}

}  // namespace qwin
