// SPDX-License-Identifier: Apache-2.0
// `qwin logits`: the raw logits of every position of a prompt, for tests and tools.
#include <cstdio>
#include <iostream>
#include <string>

#include "cli/engine_options.h"
#include "io/json.h"
#include "sampling/logprobs.h"

namespace qwin {
namespace {

struct Line {
  std::vector<int32_t> token_ids;
  size_t top = 0;
};

Line parse_line(const std::string& text, uint32_t vocab_size) {
  const auto fail = [](const std::string& why) {
    throw Error(ErrorCode::invalid_argument, "each line should be {\"token_ids\": [...], \"top\": K}: " + why);
  };
  const Json document = parse_json(text, "the line", ErrorCode::invalid_argument);
  if (!document.is_object() || !document.contains("token_ids") || !document["token_ids"].is_array())
    fail("token_ids is missing");
  if (!document.contains("top") || !document["top"].is_number_unsigned()) fail("top should be a whole number");
  Line line;
  for (const Json& id : document["token_ids"]) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= vocab_size)
      fail("token_ids should be 0 … " + std::to_string(vocab_size - 1));
    line.token_ids.push_back(id.get<int32_t>());
  }
  if (line.token_ids.empty()) fail("token_ids is empty");
  const uint64_t top = document["top"].get<uint64_t>();
  if (top == 0 || top > vocab_size) fail("top should be 1 … " + std::to_string(vocab_size));
  line.top = static_cast<size_t>(top);
  return line;
}

void print_line(Engine& engine, const Line& line) {
  std::string ids = "{\"top_ids\":[", logits_text = "],\"top_logits\":[", lse = "],\"lse\":[";
  Candidates scratch;
  std::vector<int32_t> best;
  char number[32];
  engine.prompt_logits(line.token_ids, [&](int64_t position, std::span<const float> logits) {
    if (!all_finite(logits)) {
      throw Error(ErrorCode::numerical, "a logit at position " + std::to_string(position) + " is not finite");
    }
    top_ids(logits, line.top, &scratch, &best);
    const char* comma = position == 0 ? "" : ",";
    ids += comma, logits_text += comma;
    for (size_t i = 0; i < best.size(); ++i) {
      ids += (i == 0 ? "[" : ",") + std::to_string(best[i]);
      std::snprintf(number, sizeof(number), "%s%.9g", i == 0 ? "[" : ",",
                    static_cast<double>(logits[static_cast<size_t>(best[i])]));
      logits_text += number;
    }
    ids += "]", logits_text += "]";
    std::snprintf(number, sizeof(number), "%s%.12g", comma, log_sum_exp(logits));
    lse += number;
  });
  std::printf("%s%s%s]}\n", ids.c_str(), logits_text.c_str(), lse.c_str());
  std::fflush(stdout);
}

void run_logits(const ModelOptions& options) {
  const auto engine = load_engine(options);
  for (std::string text; std::getline(std::cin, text);) {
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    print_line(*engine, parse_line(text, engine->info().vocab_size));
  }
}

}  // namespace

void register_logits(CLI::App& app) {
  const auto options = std::make_shared<ModelOptions>();
  CLI::App* command = app.add_subcommand("logits", "Print the top logits of every position of prompts on stdin");
  add_model_options(*command, *options);
  command->callback([options] { run_logits(*options); });
}

}  // namespace qwin
