// SPDX-License-Identifier: Apache-2.0
// POST /v1/documents.
#include "server/server_fixture.h"

namespace qwin::server {
namespace {

using DocumentsTest = ServerTest;

Json document_with(const Json& more = Json::object()) {
  Json body{{"text", "The first sentence is here. The second one follows. Then the third. And a fourth ends it."},
            {"segment_tokens", 32},
            {"overlap", 0}};
  body.update(more);
  return body;
}

TEST_F(DocumentsTest, AnswersOverTheSegmentsTogether) {
  start();
  const Reply reply = post("/v1/documents", document_with({{"instruction", "Say it."}}).dump());
  ASSERT_EQ(reply.status, 200) << reply.body;
  const Json body = reply.json();
  EXPECT_EQ(body["object"], "document");
  EXPECT_EQ(body["model"], "fake");
  EXPECT_EQ(body["text"], "Hello, wörld");
  EXPECT_EQ(body["method"], "segments");
  EXPECT_EQ(body["partial_answers"], Json(std::vector<std::string>(4, "Hello, wörld")));
  EXPECT_EQ(body["segments"][1]["begin"], body["segments"][0]["end"]);
  EXPECT_EQ(body["usage"]["completion_tokens"], 15);  // three tokens an answer
  EXPECT_EQ(body["usage"]["prompt_tokens_details"]["cached_tokens"], 5);
  EXPECT_EQ(engine_->requests().size(), 5u);
  EXPECT_EQ(engine_->requests()[0].sampling.max_tokens, 256);
}

TEST_F(DocumentsTest, StreamsPartsThenTheAnswerThenTheCounts) {
  start();
  const Reply reply = post("/v1/documents", document_with({{"stream", true}}).dump());
  EXPECT_TRUE(reply.header("Content-Type").starts_with("text/event-stream"));
  std::vector<std::string> events = reply.events();
  ASSERT_GE(events.size(), 3u);
  EXPECT_EQ(events.back(), "[DONE]");
  events.pop_back();
  const Json whole = Json::parse(events.back());
  events.pop_back();
  std::string text;
  size_t parts = 0;
  for (const std::string& event : events) {
    const Json json = Json::parse(event);
    text += json.value("text", "");
    parts += json.contains("partial_answer");
    EXPECT_TRUE(!json.contains("text") || parts == 4u) << "the answer comes last";
  }
  EXPECT_EQ(parts, 4u);
  EXPECT_EQ(text, whole["text"]);
}

TEST_F(DocumentsTest, GoesOnFromKnownAnswersAndReadsInOnePass) {
  start();
  const Json known = Json::array({"a", nullptr, "b", "c"});
  EXPECT_EQ(post("/v1/documents", document_with({{"partial_answers", known}}).dump()).status, 200);
  EXPECT_EQ(engine_->requests().size(), 2u);
  const Json body = post("/v1/documents", document_with({{"method", "one_pass"}}).dump()).json();
  EXPECT_EQ(body["method"], "one_pass");
  EXPECT_EQ(engine_->requests().size(), 3u);
  EXPECT_EQ(engine_->requests()[2].attention_type, AttentionType::hybrid);
}

TEST_F(DocumentsTest, RefusesByName) {
  start();
  const std::pair<Json, std::string> cases[] = {
      {{{"text", nullptr}}, "text"},
      {{{"text", ""}}, "empty"},
      {{{"segment_tokens", 8}}, "segment_tokens"},
      {{{"overlap", 32}}, "overlap"},
      {{{"method", "both"}}, "method"},
      {{{"partial_answers", "x"}}, "partial_answers"},
      {{{"partial_answers", Json::array({1})}}, "partial_answers"},
      {{{"partial_answers", Json(std::vector<std::string>(9, "x"))}}, "partial_answers"},
      {{{"n", 2}}, "n"},
      {{{"max_tokens", 0}}, "max_tokens"},
  };
  for (const auto& [more, word] : cases) {
    const Reply reply = post("/v1/documents", document_with(more).dump());
    EXPECT_EQ(reply.status, 400) << more;
    EXPECT_NE(reply.body.find(word), std::string::npos) << reply.body;
  }
  EXPECT_EQ(engine_->num_open(), 0);
}

TEST_F(DocumentsTest, EndsWithItsClient) {
  start({.endless = true});
  {
    HttpClient client(port());
    client.send(post_request("/v1/documents", document_with({{"max_tokens", 1000000}}).dump(), ""));
    EXPECT_TRUE(eventually([&] { return engine_->num_open() > 0; }));
  }
  EXPECT_TRUE(eventually([&] { return engine_->num_open() == 0; }));
}

TEST_F(DocumentsTest, TellsFailuresInTheMiddle) {
  start({.pieces = {"a", "NaN"}, .fail_with_numerical_after = "NaN"});
  const Reply whole = post("/v1/documents", document_with().dump());
  EXPECT_EQ(whole.status, 500);
  EXPECT_EQ(whole.json()["error"]["code"], "numerical_error");
  EXPECT_EQ(engine_->num_open(), 0);
}

}  // namespace
}  // namespace qwin::server
