// SPDX-License-Identifier: Apache-2.0
// `qwin run`: one answer, streamed; without a prompt, the text piped in, or a chat on a terminal.
#include "cli/run.h"

#include <unistd.h>

#include <charconv>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <iterator>

#include "chat/reasoning.h"
#include "cli/terminal_output.h"
#include "io/json.h"
#include "server/openai_format.h"
#include "tokenizer/unicode.h"

namespace qwin {

SamplingParams sampling_params(SamplingParams params, const RunOptions& options) {
  params.temperature = options.temperature.value_or(params.temperature);
  params.top_p = options.top_p.value_or(params.top_p);
  params.top_k = options.top_k.value_or(params.top_k);
  params.min_p = options.min_p.value_or(params.min_p);
  params.repetition_penalty = options.repetition_penalty.value_or(params.repetition_penalty);
  params.presence_penalty = options.presence_penalty.value_or(params.presence_penalty);
  params.frequency_penalty = options.frequency_penalty.value_or(params.frequency_penalty);
  params.max_tokens = options.max_tokens.value_or(params.max_tokens);
  params.logprobs = options.logprobs.value_or(params.logprobs);
  params.seed = options.seed;
  params.stop = options.stop;
  params.ignore_eos = options.ignore_eos;
  params.validate();
  return params;
}

std::string timings_text(const GenerationResult& result) {
  char text[160];
  std::snprintf(text, sizeof(text), "%zu tokens, first after %.0f ms, prompt %lld at %.0f/s, answer %.1f tokens/s",
                result.token_ids.size(), result.timings.ttft_ms,
                static_cast<long long>(result.prompt_tokens - result.cached_tokens),
                result.timings.prefill_tokens_per_second, result.timings.decode_tokens_per_second);
  return text;
}

bool prompt_opens_reasoning(const Engine& engine, std::span<const int32_t> prompt) {
  constexpr size_t kTailTokens = 16;  // enough to hold an open <think> and line breaks
  return ReasoningSplitter::prompt_opens(engine.detokenize(prompt.last(std::min(kTailTokens, prompt.size()))));
}

namespace {

std::vector<int32_t> prompt_ids(const Engine& engine, const RunOptions& options, const std::string& prompt) {
  if (options.raw) return engine.tokenize_prompt(prompt);
  Json messages = Json::array();
  if (!options.system.empty()) messages.push_back({{"role", "system"}, {"content", options.system}});
  messages.push_back({{"role", "user"}, {"content", prompt}});
  return engine.tokenize_chat(messages.dump());
}

Json logprob_json(const TokenProbability& p) { return {{"token_id", p.token_id}, {"logprob", p.logprob}}; }

Json result_json(const GenerationResult& result, bool with_logprobs) {
  Json json{{"text", result.text},
            {"token_ids", result.token_ids},
            {"prompt_tokens", result.prompt_tokens},
            {"finish_reason", finish_reason_name(result.finish_reason)}};
  if (with_logprobs) {
    Json& list = json["logprobs"] = Json::array();
    for (const TokenLogprobInfo& info : result.logprobs) {
      Json entry = logprob_json(info.chosen);
      entry["top"] = Json::array();
      for (const TokenProbability& p : info.top) entry["top"].push_back(logprob_json(p));
      list.push_back(std::move(entry));
    }
  }
  json["timings"] = {{"ttft_ms", result.timings.ttft_ms},
                     {"prefill_tokens_per_second", result.timings.prefill_tokens_per_second},
                     {"decode_tokens_per_second", result.timings.decode_tokens_per_second}};
  json["attention"] = server::attention_json(result.attention);
  return json;
}

GlobalTokens global_tokens(const RunOptions& options) {
  GlobalTokens global{.texts = options.global_texts};
  for (const std::string& name : options.global_messages) add_global_message(global, name);
  return global;
}

void answer_once(Engine& engine, const RunOptions& options, const std::string& prompt) {
  const SamplingParams params = sampling_params(engine.default_sampling(), options);
  const std::vector<int32_t> ids = prompt_ids(engine, options, prompt);
  AnswerView view(AnswerView::stdout_style(), !options.raw && prompt_opens_reasoning(engine, ids));
  const auto print = [](const std::string& shown) {
    std::fwrite(shown.data(), 1, shown.size(), stdout);
    std::fflush(stdout);
  };
  const OnText stream = [&](std::string_view text) {
    print(view.feed(text));
    return true;
  };
  const bool json = options.model.json;
  const GenerationResult result =
      engine.generate({.prompt = ids, .sampling = params, .global = global_tokens(options)}, json ? OnText{} : stream);
  print(json ? result_json(result, params.logprobs >= 0).dump() + "\n" : view.finish());
  if (result.context_full)
    print_remark("(the context of " + std::to_string(engine.info().context_length) + " tokens is full)");
  if (!json) print_remark(timings_text(result));
}

// What can be found wrong without the model is found before it is loaded.
void check_options(const RunOptions& options) {
  sampling_params(SamplingParams{}, options);
  global_tokens(options);
  if (!unicode::is_valid_utf8(options.system)) throw Error(ErrorCode::invalid_argument, "--system is not UTF-8");
  for (const std::string& text : options.stop) {
    if (!unicode::is_valid_utf8(text)) throw Error(ErrorCode::invalid_argument, "--stop is not UTF-8");
  }
}

void run(const RunOptions& options) {
  check_options(options);
  const bool piped = isatty(STDIN_FILENO) == 0;
  std::string prompt = options.prompt.value_or("");
  if (!options.prompt && piped)
    prompt.assign(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  if (!options.prompt && piped && prompt.empty()) {
    throw Error(ErrorCode::invalid_argument,
                "no prompt: give one as an argument, pipe one in, or run on a terminal to chat");
  }
  if (!unicode::is_valid_utf8(prompt)) throw Error(ErrorCode::invalid_argument, "the prompt is not UTF-8");
  const auto engine = load_engine(options.model, options.engine);
  if (options.prompt || piped) {
    answer_once(*engine, options, prompt);
  } else {
    chat_in_terminal(*engine, options);
  }
}

// The parser would wrap a minus sign and saturate a number that is too large.
std::string check_seed(const std::string& text) {
  uint64_t seed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  const bool good = error == std::errc() && end == text.data() + text.size();
  return good ? "" : "a seed is a whole number from 0 to 2^64 - 1";
}

}  // namespace

void add_sampling_flags(CLI::App& command, RunOptions& options) {
  const auto add = [&](const std::string& name, auto& value, const std::string& help) {
    return command.add_option(name, value, help)->envname(environment_twin(name));
  };
  add("--system", options.system, "the system message");
  add("--max-tokens", options.max_tokens, "the longest answer");
  add("--temperature", options.temperature, "0 takes the most probable token each time");
  add("--top-k", options.top_k, "sample from the k most probable tokens; 0: all");
  add("--top-p", options.top_p, "sample from the most probable tokens that reach this share together");
  add("--min-p", options.min_p, "drop tokens below this share of the most probable one");
  add("--repetition-penalty", options.repetition_penalty, "above 1 discourages tokens already seen");
  add("--presence-penalty", options.presence_penalty, "taken once from tokens already written");
  add("--frequency-penalty", options.frequency_penalty, "taken from tokens for each time they were written");
  add("--seed", options.seed, "the same seed gives the same answer")->check(check_seed);
  add("--stop", options.stop, "end before this text; may be given several times")->take_all()->allow_extra_args(false);
  add_switch(command, "--ignore-eos", options.ignore_eos, "go on after an end-of-text token");
}

void register_run(CLI::App& app) {
  const auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "Answer a prompt, or chat when there is none");
  add_model_options(*command, options->model);
  add_kv_memory_flags(*command, options->engine);
  command->add_option("PROMPT", options->prompt,
                      "what to answer; without it stdin is read, and on a terminal a chat begins");
  add_switch(*command, "--raw", options->raw, "continue the prompt as plain text, without the chat template");
  add_sampling_flags(*command, *options);
  command
      ->add_option("--global-text", options->global_texts,
                   "hybrid: a text of the prompt that all later tokens see; may be given several times")
      ->envname(environment_twin("--global-text"))
      ->take_all()
      ->allow_extra_args(false);
  command
      ->add_option("--global-messages", options->global_messages,
                   "hybrid: system, question: messages of the chat that all later tokens see")
      ->envname(environment_twin("--global-messages"))
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      ->add_option("--logprobs", options->logprobs,
                   "with --json: log probabilities of the tokens and of N alternatives")
      ->envname(environment_twin("--logprobs"));
  command->callback([options] { run(*options); });
}

}  // namespace qwin
