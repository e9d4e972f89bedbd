// SPDX-License-Identifier: Apache-2.0
#include "chat/messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat/chat_testing.h"

namespace qwin {
namespace {

using testing::HasSubstr;

std::string verdict(const char* messages) {
  return error_of([&] { validate_messages(Json::parse(messages)); });
}

TEST(MessagesTest, AcceptsWhatClientsSend) {
  for (
      const char* good :
      {R"([{"role": "user", "content": "hi"}])", R"([{"role": "user", "content": ""}])",
       R"([{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "a"}]}])",
       R"([{"role": "assistant", "content": null, "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}])",
       R"([{"role": "assistant", "tool_calls": [{"name": "f", "arguments": {"a": 1}}]}])",
       R"([{"role": "tool", "content": "42", "tool_call_id": "1"}, {"role": "developer", "content": "d"}])",
       R"([{"role": "assistant", "content": "x", "tool_calls": null, "reasoning_content": null, "name": "bob"}])"}) {
    EXPECT_EQ(verdict(good), "") << good;
  }
}

TEST(MessagesTest, RefusesWrongFormsNamingThePlace) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({})", "messages must be a list"},
      {R"([])", "messages is empty"},
      {R"(["x"])", "messages[0] must be an object"},
      {R"([{"content": "x"}])", "messages[0].role"},
      {R"([{"role": "user", "content": "x"}, {"role": "king", "content": "x"}])",
       "messages[1].role: unknown role 'king'"},
      {R"([{"role": 5, "content": "x"}])", "messages[0].role must be a string"},
      {R"([{"role": "user"}])", "messages[0].content is missing or null"},
      {R"([{"role": "user", "content": null}])", "messages[0].content is missing or null"},
      {R"([{"role": "assistant", "content": null}])", "only an assistant with tool_calls"},
      {R"([{"role": "assistant", "content": null, "tool_calls": []}])", "only an assistant with tool_calls"},
      {R"([{"role": "tool", "content": null}])", "content is missing or null"},
      {R"([{"role": "user", "content": 5}])", "must be a string or a list"},
      {R"([{"role": "user", "content": []}])", "is an empty list"},
      {R"([{"role": "user", "content": ["x"]}])", "content[0] must be an object"},
      {R"([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])",
       "reads text only, not 'image_url'"},
      {R"([{"role": "user", "content": [{"type": "text"}]}])", "content[0].text must be a string"},
      {R"([{"role": "assistant", "tool_calls": {}, "content": "x"}])", "tool_calls must be a list"},
      {R"([{"role": "assistant", "tool_calls": [{}], "content": "x"}])", "tool_calls[0] needs a function"},
      {R"([{"role": "assistant", "tool_calls": [{"name": "f", "arguments": 5}]}])", "arguments must be"},
      {R"([{"role": "assistant", "content": "x", "reasoning_content": 5}])", "reasoning_content must be a string"},
  };
  for (const auto& [messages, what] : cases) {
    EXPECT_THAT(verdict(messages), HasSubstr(what)) << messages;
    EXPECT_THAT(verdict(messages), HasSubstr("invalid_argument: ")) << messages;
  }
  // What a client sent is quoted in ASCII: a cut character in an error would break the JSON that carries it.
  const Json odd_role = Json::array({Json{{"role", std::string(61, 'a') + "\u00e9\n"}, {"content", "x"}}});
  EXPECT_THAT(error_of([&] { validate_messages(odd_role); }), HasSubstr("\\xc3\\xa9"));
  EXPECT_THAT(error_of([] { validate_tools(Json::parse("[5]")); }), HasSubstr("tools[0] must be an object"));
  EXPECT_THAT(error_of([] { validate_tools(Json::parse("{}")); }), HasSubstr("tools must be a list"));
}

}  // namespace
}  // namespace qwin
