// SPDX-License-Identifier: Apache-2.0
#include "cli/chat_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qwin {
namespace {

using ::testing::ElementsAre;

// One token a byte of the messages' JSON; answers with what the test says, and keeps what it was asked.
class FakeEngine : public Engine {
 public:
  EngineInfo facts;
  std::string answer = "answer";
  bool fail = false;
  FinishReason finish_reason = FinishReason::stop;
  std::string prompt_end;  // stands for the template's end
  std::vector<SamplingParams> asked;

  const EngineInfo& info() const override { return facts; }
  SamplingParams default_sampling() const override { return {}; }
  std::vector<int32_t> tokenize(std::string_view text, bool) const override { return {text.begin(), text.end()}; }
  std::string detokenize(std::span<const int32_t> ids) const override { return {ids.begin(), ids.end()}; }
  std::vector<int32_t> tokenize_chat(std::string_view messages) const override {
    return tokenize(std::string(messages) + prompt_end, false);
  }
  std::vector<int32_t> tokenize_prompt(std::string_view text) const override { return tokenize(text, false); }
  EngineStats stats() const override { return {}; }
  RequestId submit(Request request, RequestEvents events) override {
    asked.push_back(request.sampling);
    if (fail) throw Error(ErrorCode::context_length_exceeded, "too long");
    GenerationResult result;
    result.text = answer;
    result.prompt_tokens = static_cast<int64_t>(request.prompt.size());
    result.finish_reason = finish_reason;
    events.on_end(std::move(result), nullptr);
    return 1;
  }
  void cancel(RequestId) override {}
  void hold(RequestId, bool) override {}
  void prompt_logits(std::span<const int32_t>, const OnLogits&) override {}
  void hidden_states(std::span<const int32_t>, const OnHiddenStates&) override {}
};

class ChatSessionTest : public ::testing::Test {
 protected:
  void SetUp() override { engine_.facts.context_length = 100000; }

  void ask(ChatSession& session, const std::string& text) {
    session.add_user(text);
    session.answer(session.prompt(), {});
  }
  static std::vector<std::string> contents(const ChatSession& session) {
    std::vector<std::string> texts;
    for (const ChatMessage& message : session.messages()) texts.push_back(message.content);
    return texts;
  }

  FakeEngine engine_;
  RunOptions options_;
};

TEST_F(ChatSessionTest, TurnsAreKeptAndTakenBack) {
  ChatSession session(engine_, options_);
  ask(session, "a");
  ask(session, "b");
  EXPECT_THAT(contents(session), ElementsAre("a", "answer", "b", "answer"));
  EXPECT_TRUE(session.undo());
  EXPECT_THAT(contents(session), ElementsAre("a", "answer"));
  EXPECT_TRUE(session.undo());
  EXPECT_FALSE(session.undo());
}

TEST_F(ChatSessionTest, RetriesTakeTheNextSeedsOfTheirQuestionOnly) {
  options_.seed = 5;
  ChatSession session(engine_, options_);
  EXPECT_FALSE(session.retry());
  ask(session, "a");
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(session.retry());
    session.answer(session.prompt(), {});
  }
  ask(session, "b");
  ASSERT_EQ(engine_.asked.size(), 4u);
  EXPECT_EQ(engine_.asked[0].seed, 5u);
  EXPECT_EQ(engine_.asked[1].seed, 6u);
  EXPECT_EQ(engine_.asked[2].seed, 7u);
  EXPECT_EQ(engine_.asked[3].seed, 5u);
}

TEST_F(ChatSessionTest, OldestTurnsLeaveUntilHalfIsFree) {
  options_.system = "s";
  ChatSession session(engine_, options_);
  for (int i = 0; i < 10; ++i) ask(session, std::string(100, static_cast<char>('a' + i)));
  session.add_user("next");
  const auto whole = static_cast<int64_t>(session.prompt().token_ids.size());
  engine_.facts.context_length = whole * 8 / 7 + 1;
  EXPECT_EQ(session.prompt().turns_left_out, 0u) << "an eighth is left";
  engine_.facts.context_length = whole * 8 / 7 - 10;
  const ChatPrompt prompt = session.prompt();
  EXPECT_GT(prompt.turns_left_out, 2u);
  EXPECT_LE(static_cast<int64_t>(prompt.token_ids.size()), engine_.facts.context_length / 2);
  EXPECT_EQ(session.num_turns(), 11 - prompt.turns_left_out);
  EXPECT_EQ(session.messages().front().role, "user");
  EXPECT_EQ(session.to_json()[0]["content"], "s");
  EXPECT_EQ(session.messages().back().content, "next");
}

TEST_F(ChatSessionTest, ShortAnswersNeedLessRoomAndAWindowNone) {
  options_.max_tokens = 1;
  ChatSession session(engine_, options_);
  ask(session, "a");
  session.add_user("b");
  const auto whole = static_cast<int64_t>(session.prompt().token_ids.size());
  engine_.facts.context_length = whole + 1;
  EXPECT_EQ(session.prompt().turns_left_out, 0u);
  engine_.facts.context_length = whole;
  engine_.facts.attention = {.type = AttentionType::sliding_window, .window = 16};
  EXPECT_EQ(session.prompt().turns_left_out, 0u);
  engine_.facts.attention = {};
  EXPECT_EQ(session.prompt().turns_left_out, 1u);
  engine_.facts.context_length = 1;
  EXPECT_EQ(session.prompt().turns_left_out, 0u) << "the last turn stays";
}

TEST_F(ChatSessionTest, AMessageWithoutAnswerIsTakenBack) {
  ChatSession session(engine_, options_);
  ask(session, "a");
  engine_.fail = true;
  EXPECT_THROW(ask(session, "b"), Error);
  EXPECT_THAT(contents(session), ElementsAre("a", "answer"));
  engine_.fail = false;
  engine_.finish_reason = FinishReason::cancelled;
  engine_.answer = "part";
  ask(session, "c");
  engine_.answer = "";
  ask(session, "d");
  EXPECT_THAT(contents(session), ElementsAre("a", "answer", "c", "part"));
}

TEST_F(ChatSessionTest, ThoughtsStandBetweenTagsForTheTemplateToLeaveOut) {
  ChatSession session(engine_, options_);
  engine_.answer = "<think>\ncut";
  ask(session, "a");
  engine_.prompt_end = "<think>\n";
  engine_.answer = "x\n</think>\n\ny";
  ask(session, "b");
  EXPECT_THAT(contents(session), ElementsAre("a", "<think>\ncut\n</think>\n\n", "b", "<think>\nx\n</think>\n\ny"));
  EXPECT_TRUE(session.prompt().inside_reasoning);
}

TEST_F(ChatSessionTest, RawIsTheTextItself) {
  options_.raw = true;
  ChatSession session(engine_, options_);
  ask(session, "one ");
  session.add_user(" two");
  EXPECT_EQ(engine_.detokenize(session.prompt().token_ids), "one answer two");
}

TEST_F(ChatSessionTest, AnEnginesLongPromptCanBeStopped) {
  const auto engine =
      Engine::load(QWIN_TESTDATA "/tiny/qwen2_tied", {.num_threads = 1, .window = 64, .num_sink_tokens = 16});
  options_.max_tokens = 2;
  std::vector<int32_t> after_a_stop;
  {
    ChatSession session(*engine, options_);
    session.add_user(std::string(5000, 'x'));
    const ChatPrompt prompt = session.prompt();
    int calls = 0;
    const GenerationResult stopped = session.answer(prompt, [&](std::string_view text) {
      EXPECT_TRUE(text.empty());
      return ++calls < 3;
    });
    EXPECT_EQ(calls, 3);
    EXPECT_EQ(stopped.finish_reason, FinishReason::cancelled);
    EXPECT_TRUE(stopped.token_ids.empty());
    EXPECT_EQ(session.num_turns(), 0u);
    // What was read counts when the same is asked again.
    session.add_user(std::string(5000, 'x'));
    const GenerationResult again = session.answer(session.prompt(), {});
    EXPECT_GT(again.cached_tokens, 0);
    EXPECT_LT(again.cached_tokens, again.prompt_tokens - 1);
    after_a_stop = again.token_ids;
  }
  ChatSession fresh(*engine, options_);
  fresh.add_user(std::string(5000, 'x'));
  EXPECT_EQ(fresh.answer(fresh.prompt(), {}).token_ids, after_a_stop);
}

TEST_F(ChatSessionTest, JsonComesBack) {
  options_.system = "s";
  ChatSession session(engine_, options_);
  ask(session, "a");
  const Json json = session.to_json();
  options_.system = "t";
  ChatSession other(engine_, options_);
  other.from_json(json);
  EXPECT_EQ(other.to_json(), json);
  for (const char* bad : {"{}", "[1]", "[{}]", R"([{"role":"user"}])", R"([{"role":"tool","content":""}])",
                          R"([{"role":"user","content":"a"},{"role":"system","content":"b"}])"}) {
    EXPECT_THROW(other.from_json(Json::parse(bad)), Error) << bad;
    EXPECT_EQ(other.to_json(), json) << "nothing changed";
  }
}

}  // namespace
}  // namespace qwin
