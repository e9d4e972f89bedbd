// SPDX-License-Identifier: Apache-2.0
// A template from a hostile model file, rendered over a fixed chat: it may fail only with an Error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "chat/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const qwin::ChatInput input = {
      .messages =
          qwin::Json::parse(R"([{"role": "system", "content": "s <|im_end|> é"}, {"role": "user", "content": "a b"},
          {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"k": [1, 2.5, null]}}}]},
          {"role": "tool", "content": "x\ny"}, {"role": "assistant", "content": "<think>t</think>z"}])"),
      .tools = qwin::Json::parse(R"([{"type": "function", "function": {"name": "f", "parameters": {"a": {}}}}])"),
      .extra = qwin::Json::parse(R"({"n": 3, "l": [3, 1, "x", true, {"k": "v"}]})")};
  try {
    const qwin::ChatTemplate chat_template({reinterpret_cast<const char*>(data), size}, "<s>", "</s>");
    chat_template.render(input);
  } catch (const qwin::Error&) {
  }
  return 0;
}
