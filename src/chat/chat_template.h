// SPDX-License-Identifier: Apache-2.0
// A model's chat template: turns messages into the text the model was trained on, byte for byte as transformers does,
// and tells which bytes are the template's own. Only those may become special tokens.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"
#include "io/model_files.h"

namespace qwin {

// A stretch of the prompt. Neighbours belong to one text: a tokenizer must merge across their border, and may match an
// added token only inside from_template.
struct RenderedSegment {
  std::string text;
  bool from_template = false;
};

struct ChatInput {
  Json messages;
  Json tools = nullptr;  // null if none
  bool add_generation_prompt = true;
  Json extra = nullptr;  // object of further template variables (enable_thinking …), null if none
};

// Immutable once built: one object may serve many threads.
class ChatTemplate {
 public:
  // An empty bos or eos token is undefined for the template. Throws Error(bad_template) naming the construct and line.
  ChatTemplate(std::string_view source, std::string bos_token, std::string eos_token);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // From GGUF's tokenizer.chat_template, or a directory's chat_template.jinja, or tokenizer_config.json (one template,
  // or named ones: "default", and "tool_use" for inputs with tools). Throws Error(bad_template) when there is none.
  static ChatTemplate load(const ModelFiles& files);

  // Throws Error(invalid_argument) when messages or tools have a wrong form, when the template raises (its words, at
  // most 256 bytes), and when the rendering would take more than 500 ms or 64 MiB.
  std::vector<RenderedSegment> render(const ChatInput& input) const;

  // The default template's source.
  const std::string& source() const;

 private:
  struct Compiled;

  static ChatTemplate load_named(const Json& list, const std::string& bos, const std::string& eos);

  std::unique_ptr<const Compiled> compiled_;
  std::unique_ptr<const Compiled> with_tools_;  // null: the default serves
  std::string bos_token_;
  std::string eos_token_;
};

}  // namespace qwin
