// SPDX-License-Identifier: Apache-2.0
#include "chat/chat_template.h"

#include <utility>

#include "chat/chat_values.h"
#include "chat/jinja/interpreter.h"
#include "chat/messages.h"
#include "chat/template_needs.h"
#include "core/printable.h"

namespace qwin {

struct ChatTemplate::Compiled {
  explicit Compiled(std::string_view text)
      : source(text), ast(jinja::parse_template(text)), needs(find_template_needs(ast)) {}

  std::string source;
  jinja::Ast ast;
  TemplateNeeds needs;
};

namespace {

using jinja::Origin;
using jinja::Text;
using jinja::Value;

// An added token of tokenizer_config.json: a string, or an object with its content.
std::string token_text(const Json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end()) return "";
  if (found->is_string()) return found->get<std::string>();
  const auto content = found->is_object() ? found->find("content") : found->end();
  return found->is_object() && content != found->end() && content->is_string() ? content->get<std::string>() : "";
}

std::string gguf_token(const GgufMetadata& metadata, std::string_view id_key) {
  const GgufValue* tokens = metadata.find("tokenizer.ggml.tokens");
  if (!tokens || !metadata.find(id_key)) return "";
  const uint64_t id = metadata.get_uint(id_key, 0);
  return id < tokens->strings.size() ? std::string(tokens->strings[id]) : "";
}

// Extra variables may not stand in for what the template relies on.
void define_extra(jinja::Interpreter& interpreter, const Json& extra, jinja::Budget& budget) {
  if (extra.is_null()) return;
  if (!extra.is_object()) throw Error(ErrorCode::invalid_argument, "the template's extra variables must be an object");
  for (auto it = extra.begin(); it != extra.end(); ++it) {
    bool reserved = jinja::find_function(it.key()) >= 0;
    for (const char* name : {"messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token"}) {
      reserved |= it.key() == name;
    }
    if (reserved) {
      throw Error(ErrorCode::invalid_argument,
                  "the template variable " + printable(it.key()) + " cannot be set from outside");
    }
    interpreter.define(it.key(), jinja::from_json(it.value(), budget));
  }
}

std::vector<RenderedSegment> segments_of(const Text& text) {
  std::vector<RenderedSegment> segments;
  text.for_each_piece(0, text.size(), [&](std::string_view bytes, Origin origin) {
    segments.push_back({std::string(bytes), origin == Origin::author});
  });
  return segments;
}

}  // namespace

ChatTemplate::ChatTemplate(std::string_view source, std::string bos_token, std::string eos_token)
    : compiled_(std::make_unique<Compiled>(source)),
      bos_token_(std::move(bos_token)),
      eos_token_(std::move(eos_token)) {}

ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

const std::string& ChatTemplate::source() const { return compiled_->source; }

std::vector<RenderedSegment> ChatTemplate::render(const ChatInput& input) const {
  validate_messages(input.messages);
  validate_tools(input.tools);
  const Compiled& compiled = with_tools_ && !input.tools.is_null() ? *with_tools_ : *compiled_;

  jinja::Budget budget;
  ParsedArguments parsed;
  jinja::Interpreter interpreter(compiled.ast, budget);
  interpreter.define("messages", messages_value(input.messages, compiled.needs, parsed, budget));
  interpreter.define("tools", jinja::from_json(input.tools, budget));
  interpreter.define("documents", Value::none());
  interpreter.define("add_generation_prompt", Value::boolean(input.add_generation_prompt));
  if (!bos_token_.empty())
    interpreter.define("bos_token", Value::text(Text::make(&budget, bos_token_, Origin::author)));
  if (!eos_token_.empty())
    interpreter.define("eos_token", Value::text(Text::make(&budget, eos_token_, Origin::author)));
  define_extra(interpreter, input.extra, budget);
  return segments_of(*interpreter.run());
}

ChatTemplate ChatTemplate::load(const ModelFiles& files) {
  static constexpr const char* kNone =
      "the model has no chat template (it may be a base model): use --raw to give it plain text";
  if (files.format == ModelFiles::Format::gguf) {
    const std::string_view source = files.gguf.get_string("tokenizer.chat_template", "");
    if (source.empty()) throw Error(ErrorCode::bad_template, kNone);
    return {source, gguf_token(files.gguf, "tokenizer.ggml.bos_token_id"),
            gguf_token(files.gguf, "tokenizer.ggml.eos_token_id")};
  }
  const Json& config = files.tokenizer_config;
  const std::string bos = config.is_object() ? token_text(config, "bos_token") : "";
  const std::string eos = config.is_object() ? token_text(config, "eos_token") : "";
  if (files.chat_template) return {*files.chat_template, bos, eos};
  const auto found = config.is_object() ? config.find("chat_template") : config.end();
  if (found == config.end() || found->is_null()) throw Error(ErrorCode::bad_template, kNone);
  if (found->is_string()) return {found->get_ref<const std::string&>(), bos, eos};
  return load_named(*found, bos, eos);
}

// A list of {"name", "template"}: "default" is needed, "tool_use" serves inputs with tools.
ChatTemplate ChatTemplate::load_named(const Json& list, const std::string& bos, const std::string& eos) {
  const std::string* by_default = nullptr;
  const std::string* tool_use = nullptr;
  for (size_t i = 0; list.is_array() && i < list.size(); ++i) {
    const Json& entry = list[i];
    if (!entry.is_object() || !entry.contains("name") || !entry.contains("template")) continue;
    if (!entry["template"].is_string()) continue;
    if (entry["name"] == "default") by_default = &entry["template"].get_ref<const std::string&>();
    if (entry["name"] == "tool_use") tool_use = &entry["template"].get_ref<const std::string&>();
  }
  if (!by_default) {
    throw Error(
        ErrorCode::bad_template,
        "tokenizer_config.json: chat_template is neither a string nor a list with a template named \"default\"");
  }
  ChatTemplate loaded(*by_default, bos, eos);
  if (tool_use) loaded.with_tools_ = std::make_unique<Compiled>(*tool_use);
  return loaded;
}

}  // namespace qwin
