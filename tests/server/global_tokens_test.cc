// SPDX-License-Identifier: Apache-2.0
// The fields that name what every later token is to see.
#include "server/server_fixture.h"

namespace qwin::server {
namespace {

using GlobalTokensApiTest = ServerTest;

TEST_F(GlobalTokensApiTest, AreReadAndRefusedByName) {
  start();
  const Json global{{"attention_type", "hybrid"},
                    {"global_heads", 3},
                    {"global_texts", {"Hi"}},
                    {"global_messages", {"system", "question"}},
                    {"global_spans", {{0, 4}, {7, 9}}}};
  EXPECT_EQ(post("/v1/chat/completions", chat_with(global).dump()).status, 200);
  const Request request = engine_->requests().back();
  EXPECT_EQ(request.global_heads, 3);
  EXPECT_EQ(request.global.texts, std::vector<std::string>{"Hi"});
  EXPECT_TRUE(request.global.system && request.global.question);
  EXPECT_EQ(request.global.spans, (std::vector<TokenSpan>{{0, 4}, {7, 9}}));
  const Json all_wrong{{"global_texts", "x"},
                       {"global_messages", {"answer"}},
                       {"global_spans", Json::array({{1, 2, 3}})},
                       {"global_heads", -1}};
  for (const auto& [field, wrong] : all_wrong.items()) {
    const Reply reply = post("/v1/chat/completions", chat_with({{field, wrong}}).dump());
    EXPECT_EQ(reply.status, 400) << field;
    EXPECT_EQ(reply.json()["error"]["param"], field);
  }
}

}  // namespace
}  // namespace qwin::server
