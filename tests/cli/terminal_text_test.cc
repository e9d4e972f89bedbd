// SPDX-License-Identifier: Apache-2.0
// What is typed and what is shown, without a terminal: messages of several lines, answers, settings, commands.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/chat_commands.h"
#include "cli/chat_settings.h"
#include "cli/terminal_message.h"
#include "cli/terminal_output.h"
#include "qwin/error.h"

namespace qwin {
namespace {

using ::testing::HasSubstr;

std::string message(const std::vector<std::string>& lines) {
  MessageAssembler assembler;
  for (size_t i = 0; i < lines.size(); ++i) EXPECT_EQ(assembler.feed(lines[i]), i + 1 == lines.size()) << i;
  EXPECT_FALSE(assembler.is_empty());
  const std::string text = assembler.take();
  EXPECT_TRUE(assembler.is_empty());
  return text;
}

TEST(MessageAssemblerTest, ALineIsAMessage) {
  EXPECT_EQ(message({"one"}), "one");
  EXPECT_EQ(message({""}), "");
  EXPECT_EQ(message({"pasted\nlines\n"}), "pasted\nlines\n");
}

TEST(MessageAssemblerTest, QuotesHoldSeveralLines) {
  EXPECT_EQ(message({"\"\"\"", "one", "", "two", "\"\"\""}), "one\n\ntwo");
  EXPECT_EQ(message({"\"\"\"", "", "one\"\"\"  "}), "\none");
  EXPECT_EQ(message({"\"\"\"one\"\"\""}), "one");
  EXPECT_EQ(message({"\"\"\"one\ntwo", "\"\"\""}), "one\ntwo");
  EXPECT_EQ(message({"\"\"\"", "a \"\"\" inside", "back\\", "\"\"\""}), "a \"\"\" inside\nback\\");
  EXPECT_EQ(message({"say \"\"\"this"}), "say \"\"\"this");
}

TEST(MessageAssemblerTest, ABackslashGoesOn) { EXPECT_EQ(message({"one\\", "two\\", "\"\"\""}), "one\ntwo\n\"\"\""); }

TEST(TerminalTextTest, ControlCharactersNeverReachTheTerminal) {
  EXPECT_EQ(terminal_text("a\033]0;title\007b\r\n\tc\x7f\b"), "a]0;titleb\n\tc");
  EXPECT_EQ(terminal_text("x\xC2\x9B"
                          "31my\xC2\x80z"),
            "x31myz");
  EXPECT_EQ(terminal_text("grün\xC2\xA0 中文 \xF0\x9F\x99\x82"), "grün\xC2\xA0 中文 \xF0\x9F\x99\x82");
}

std::string view(AnswerView::Style style, bool inside, const std::string& text) {
  AnswerView answer(style, inside);
  std::string shown;
  for (const char c : text) shown += answer.feed(std::string(1, c));
  return shown + answer.finish();
}

TEST(AnswerViewTest, AFileGetsTheTextAsItIs) {
  EXPECT_EQ(view({.terminal = false, .colours = false}, false, "<think>\nx\n</think>\n\na\033b\n"),
            "<think>\nx\n</think>\n\na\033b\n\n");
}

TEST(AnswerViewTest, ThoughtsAreDimmedWithoutTheirTags) {
  const AnswerView::Style style{.terminal = true, .colours = true};
  EXPECT_EQ(view(style, false, "<think>\nx\n</think>\n\nanswer"), "\033[2mx\033[0m\n\nanswer\n");
  EXPECT_EQ(view(style, true, "x\n</think>\n\nanswer\n"), "\033[2mx\033[0m\n\nanswer\n");
  EXPECT_EQ(view(style, true, "x\033"), "\033[2mx\033[0m\n");
  EXPECT_EQ(view(style, false, "plain <think>"), "plain <think>\n");
}

TEST(AnswerViewTest, WithoutColoursThoughtsKeepTheirTags) {
  EXPECT_EQ(view({.terminal = true, .colours = false}, false, "<think>\nx\n</think>\n\na\033"),
            "<think>\nx\n</think>\n\na\n");
}

TEST(ChatSettingsTest, ChangesAndRestores) {
  SamplingParams params;
  SamplingParams defaults;
  defaults.temperature = 0.7f;
  change_setting(params, defaults, "top-k", "40");
  EXPECT_EQ(params.top_k, 40);
  change_setting(params, defaults, "temperature", "0.25");
  EXPECT_EQ(params.temperature, 0.25f);
  change_setting(params, defaults, "temperature", "default");
  EXPECT_EQ(params.temperature, 0.7f);
  change_setting(params, defaults, "seed", "18446744073709551615");
  EXPECT_EQ(params.seed, UINT64_MAX);
  change_setting(params, defaults, "seed", "default");
  EXPECT_FALSE(params.seed.has_value());
  EXPECT_THAT(settings_text(params), HasSubstr("top_k               40\n"));
}

TEST(ChatSettingsTest, RefusesAndKeepsWhatWas) {
  SamplingParams params;
  for (const auto& [name, value] : {std::pair{"top_p", "2"},
                                    {"top_p", "nan"},
                                    {"top_p", "0.5x"},
                                    {"top_k", "1.5"},
                                    {"seed", "-1"},
                                    {"heat", "1"},
                                    {"max_tokens", "0"},
                                    {"temperature", ""}}) {
    EXPECT_THROW(change_setting(params, params, name, value), Error) << name << " " << value;
  }
  EXPECT_EQ(settings_text(params), settings_text(SamplingParams{}));
}

TEST(ChatCommandsTest, OnlyASlashAndALetterInOneLineIsACommand) {
  EXPECT_TRUE(is_chat_command("/help"));
  EXPECT_TRUE(is_chat_command("/?"));
  for (const char* text : {"/", "//x", " /help", "/ help", "/a\nb", "help", ""}) EXPECT_FALSE(is_chat_command(text));
}

}  // namespace
}  // namespace qwin
