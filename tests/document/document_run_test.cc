// SPDX-License-Identifier: Apache-2.0
// Documents over an engine whose tokens are bytes and whose answers are scripted.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "qwin/document.h"
#include "server/fake_engine.h"

namespace qwin {
namespace {

using server::FakeEngine;

constexpr char kText[] = "The first sentence is here. The second one follows. Then the third. And a fourth ends it.";

DocumentOptions small_segments() {
  DocumentOptions options{.instruction = "Say it.", .raw = true, .segment_tokens = 32, .overlap = 0};
  options.request.sampling.max_tokens = 50;
  return options;
}

std::string prompt_of(const FakeEngine& engine, size_t i) {
  const auto requests = engine.requests();
  return engine.detokenize(requests.at(i).prompt);
}

class JournalFile {
 public:
  JournalFile() {
    path_ = (std::filesystem::temp_directory_path() / ("qwin-journal-" + std::to_string(getpid()))).string();
    std::filesystem::remove(path_);
  }
  ~JournalFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }
  bool exists() const { return std::filesystem::exists(path_); }

 private:
  std::string path_;
};

TEST(SplitDocumentTest, CoversTheTextAndKeepsTheLimit) {
  const FakeEngine engine({});
  const std::string text(kText);
  const auto segments = split_document(engine, text, 32, 0);
  ASSERT_EQ(segments.size(), 4u);
  size_t position = 0;
  for (const DocumentSegment& segment : segments) {
    EXPECT_EQ(segment.begin, position);
    EXPECT_EQ(segment.num_tokens, static_cast<int64_t>(segment.end - segment.begin));
    EXPECT_LE(segment.num_tokens, 32);
    position = segment.end;
  }
  EXPECT_EQ(position, text.size());
}

TEST(SplitDocumentTest, RepeatsWholeSentencesOnly) {
  const FakeEngine engine({});
  const std::string text = "Aaaaaaaa. Bbbbbbbb. Cccccccc. Dddddddd. Eeeeeeee.";  // ten bytes each
  const auto segments = split_document(engine, text, 32, 12);
  ASSERT_GE(segments.size(), 2u);
  for (size_t i = 1; i < segments.size(); ++i) {
    EXPECT_EQ(segments[i].begin, segments[i - 1].end - 10) << "one sentence of at most 12 tokens is repeated";
    EXPECT_GT(segments[i].end, segments[i - 1].end);
  }
}

TEST(SplitDocumentTest, CutsLongSentencesBetweenCharacters) {
  const FakeEngine engine({});
  std::string text;
  for (int i = 0; i < 40; ++i) text += "汉";
  const auto segments = split_document(engine, text, 16, 4);
  ASSERT_GT(segments.size(), 5u);
  for (const DocumentSegment& segment : segments) {
    EXPECT_EQ(segment.begin % 3, 0u);
    EXPECT_LE(segment.num_tokens, 16);
  }
  EXPECT_EQ(segments.back().end, text.size());
}

TEST(SplitDocumentTest, RefusesSizesOutOfRange) {
  const FakeEngine engine({});
  EXPECT_THROW(split_document(engine, "a", 8, 0), Error);
  EXPECT_THROW(split_document(engine, "a", 64, 64), Error);
  EXPECT_THROW(split_document(engine, "a", 64, -1), Error);
  EXPECT_TRUE(split_document(engine, " \n ", 64, 0).empty());
}

TEST(DocumentRunTest, AsksEverySegmentAndThenTheAnswers) {
  FakeEngine engine({});
  std::vector<std::pair<size_t, size_t>> progress;
  std::map<size_t, std::string> partial;
  std::string streamed;
  const DocumentResult result = process_document(
      engine, kText, small_segments(),
      {.on_progress = [&](size_t done, size_t total) { progress.emplace_back(done, total); },
       .on_partial_answer = [&](size_t segment, const std::string& answer) { partial[segment] = answer; },
       .on_text = [&](std::string_view text) { streamed += text; }});
  EXPECT_EQ(result.text, "Hello, wörld");
  EXPECT_EQ(streamed, result.text);
  EXPECT_EQ(result.partial_answers, std::vector<std::string>(4, "Hello, wörld"));
  EXPECT_EQ(partial.size(), 4u);
  EXPECT_EQ(engine.requests().size(), 5u);
  EXPECT_EQ(prompt_of(engine, 0), "The first sentence is here.\n\n---\n\nSay it.");
  EXPECT_TRUE(prompt_of(engine, 4).ends_with("gave to this: Say it.\nWrite the best answer.")) << prompt_of(engine, 4);
  EXPECT_EQ(progress.back().first, progress.back().second);
}

TEST(DocumentRunTest, OfOneSegmentIsOneRequest) {
  FakeEngine engine({});
  DocumentOptions options = small_segments();
  options.segment_tokens = 512;
  const DocumentResult result = process_document(engine, kText, options);
  EXPECT_EQ(engine.requests().size(), 1u);
  EXPECT_EQ(result.text, result.partial_answers.at(0));
  EXPECT_TRUE(prompt_of(engine, 0).ends_with("\n\nSay it.")) << "there are no other parts that may say it";
}

TEST(DocumentRunTest, ReadsInOnePassWithHybridAttention) {
  FakeEngine engine({});
  DocumentOptions options = small_segments();
  options.method = DocumentMethod::one_pass;
  process_document(engine, kText, options);
  ASSERT_EQ(engine.requests().size(), 1u);
  EXPECT_EQ(engine.requests()[0].attention_type, AttentionType::hybrid);
  EXPECT_EQ(prompt_of(engine, 0), std::string(kText) + "\n\n---\n\nSay it.");
  options.request.attention_type = AttentionType::full;
  process_document(engine, kText, options);
  EXPECT_EQ(engine.requests()[1].attention_type, AttentionType::full);
}

TEST(DocumentRunTest, AsksInTheLanguageOfTheDocument) {
  FakeEngine engine({});
  DocumentOptions options = small_segments();
  options.raw = false;
  options.instruction = "";
  options.segment_tokens = 512;
  process_document(engine, "甲方应当在每月五日之前支付租金。", options);
  EXPECT_NE(engine.last_chat().find("列出上文的要点"), std::string::npos);
  process_document(engine, kText, options);
  EXPECT_NE(engine.last_chat().find("List the main points of the text above"), std::string::npos);
}

TEST(DocumentRunTest, PutsLongInstructionsBeforeTheTextSoThatTheyAreReadOnce) {
  FakeEngine engine({});
  DocumentOptions options = small_segments();
  options.instruction = "Say it. " + std::string(200, 'x');
  process_document(engine, kText, options);
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(prompt_of(engine, i).starts_with(options.instruction));
  EXPECT_TRUE(prompt_of(engine, 1).ends_with("---\n\nThe second one follows.")) << prompt_of(engine, 1);
}

TEST(DocumentRunTest, AnAnswerThatReachedItsLimitIsCutBehindASentence) {
  FakeEngine engine({.pieces = {"It is so. ", "And then", " more"}});
  DocumentOptions options = small_segments();
  options.request.sampling.max_tokens = 2;
  const DocumentResult result = process_document(engine, kText, options);
  EXPECT_EQ(result.partial_answers, std::vector<std::string>(4, "It is so. "));
  EXPECT_EQ(result.text, "It is so. And then") << "the last one is told as it comes";
}

TEST(DocumentRunTest, TheInstructionForTheAnswersStandsBehindThem) {
  FakeEngine engine({.pieces = {"Two."}});
  DocumentOptions options = small_segments();
  options.reduce_instruction = "Count them.";
  options.partial_answers = {"None. ", "One.", std::nullopt, "\nThree."};
  std::string told;
  const auto result =
      process_document(engine, kText, options, {.on_text = [&](std::string_view text) { told += text; }});
  EXPECT_TRUE(prompt_of(engine, 0).ends_with("---\n\nSay it."));
  EXPECT_EQ(prompt_of(engine, 1), "None.\n\nOne.\n\nTwo.\n\nThree.\n\n---\n\nCount them.");
  EXPECT_EQ(told, "Two.");
}

TEST(DocumentRunTest, TellsAnAnswerThatWasKnownBefore) {
  FakeEngine engine({});
  DocumentOptions options = small_segments();
  options.segment_tokens = 512;
  options.partial_answers = {"known"};
  std::string told;
  process_document(engine, kText, options, {.on_text = [&](std::string_view text) { told += text; }});
  EXPECT_EQ(told, "known");
  EXPECT_TRUE(engine.requests().empty());
}

TEST(DocumentRunTest, LetsTheFirstPromptGoAheadOfTheOthers) {
  FakeEngine engine({.endless = true, .max_running = 8});
  engine.close_gate();
  DocumentRun run(engine, kText, small_segments());
  EXPECT_FALSE(run.advance());
  EXPECT_FALSE(run.advance());
  EXPECT_EQ(engine.requests().size(), 1u);
  EXPECT_FALSE(run.has_begun());
  engine.open_gate();
  ASSERT_TRUE(run.wait(10));
  run.advance();
  EXPECT_TRUE(run.has_begun());
}

TEST(DocumentRunTest, CancelsWhatIsLeft) {
  FakeEngine engine({.endless = true});
  {
    DocumentOptions options = small_segments();
    options.request.sampling.max_tokens = 1 << 20;
    DocumentRun run(engine, kText, options);
    run.advance();
    ASSERT_TRUE(run.wait(10));
    run.advance();
    EXPECT_GE(engine.num_open(), 1);
  }
  EXPECT_EQ(engine.num_open(), 0);
  EXPECT_THROW(process_document(engine, kText, small_segments(), {}, [] { return false; }), Error);
  EXPECT_EQ(engine.num_open(), 0);
}

TEST(DocumentRunTest, WaitsForAPlaceWhileItHasRequestsOfItsOwn) {
  FakeEngine engine({.max_running = 1, .max_waiting = 0});
  EXPECT_EQ(process_document(engine, kText, small_segments()).partial_answers.size(), 4u);
}

TEST(DocumentRunTest, PassesOnWhatARequestFailsWith) {
  FakeEngine engine({.pieces = {"a", "NaN"}, .fail_with_numerical_after = "NaN"});
  try {
    process_document(engine, kText, small_segments());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::numerical);
  }
  EXPECT_EQ(engine.num_open(), 0);
}

TEST(DocumentRunTest, DoesNotAskAgainWhatIsKnown) {
  FakeEngine engine({});
  DocumentOptions options = small_segments();
  options.partial_answers = {"known", std::nullopt, "this too"};
  const DocumentResult result = process_document(engine, kText, options);
  EXPECT_EQ(result.partial_answers, (std::vector<std::string>{"known", "Hello, wörld", "this too", "Hello, wörld"}));
  EXPECT_TRUE(prompt_of(engine, 2).starts_with("known\n\n")) << prompt_of(engine, 2);
  options.partial_answers.assign(5, "x");
  EXPECT_THROW(process_document(engine, kText, options), Error);
}

TEST(DocumentRunTest, GoesOnWhereAJournalEnds) {
  const JournalFile journal;
  DocumentOptions options = small_segments();
  options.journal = journal.path();
  {
    FakeEngine engine({});
    int answered = 0;
    const DocumentEvents events{.on_partial_answer = [&](size_t, const std::string&) { ++answered; }};
    EXPECT_THROW(process_document(engine, kText, options, events, [&] { return answered < 2; }), Error);
    ASSERT_TRUE(journal.exists());
    std::ofstream(journal.path(), std::ios::app) << "{\"segment\": 3, \"te";  // a crash in the middle of a line
  }
  {
    FakeEngine other({});
    DocumentOptions changed = options;
    changed.instruction = "Say something else.";
    EXPECT_THROW(process_document(other, kText, changed), Error);
    EXPECT_TRUE(journal.exists());
  }
  FakeEngine engine({.pieces = {"again"}});
  const DocumentResult result = process_document(engine, kText, options);
  const auto kept = std::ranges::count(result.partial_answers, "Hello, wörld");
  EXPECT_GE(kept, 2);
  EXPECT_EQ(std::ranges::count(result.partial_answers, "again"), 4 - kept);
  EXPECT_FALSE(journal.exists());
}

TEST(DocumentRunTest, RefusesEmptyDocumentsAndWhatIsNoUtf8) {
  FakeEngine engine({});
  EXPECT_THROW(process_document(engine, " \n", small_segments()), Error);
  EXPECT_THROW(process_document(engine, "a\xff", small_segments()), Error);
  DocumentOptions options = small_segments();
  options.instruction = "\xff";
  EXPECT_THROW(process_document(engine, kText, options), Error);
}

}  // namespace
}  // namespace qwin
