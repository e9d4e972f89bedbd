// SPDX-License-Identifier: Apache-2.0
// POST /v1/chat/completions and /v1/completions.
#include "server/generation_answer.h"
#include "server/handlers.h"
#include "server/openai_format.h"

namespace qwin::server {
namespace {

// The id of an added token, or nothing when the model has no such token.
std::optional<int32_t> special_token(const Engine& engine, const char* text) {
  const std::vector<int32_t> ids = engine.tokenize(text, true);
  if (ids.size() != 1) return std::nullopt;
  return ids.front();
}

// prefix, suffix, middle: the order in which Coder models were taught to fill in.
std::vector<int32_t> fill_in_prompt(const Engine& engine, const std::string& prefix, GenerationRequest& wanted) {
  const auto begin = special_token(engine, "<|fim_prefix|>"), end = special_token(engine, "<|fim_suffix|>"),
             middle = special_token(engine, "<|fim_middle|>");
  if (!begin || !end || !middle) refuse_field("suffix", "needs a model that can fill in the middle; this one cannot");
  std::vector<int32_t> ids{*begin};
  const auto append = [&](const std::string& text) {
    const std::vector<int32_t> more = engine.tokenize(text, wanted.parse_special);
    ids.insert(ids.end(), more.begin(), more.end());
  };
  append(prefix);
  ids.push_back(*end);
  append(wanted.suffix);
  ids.push_back(*middle);
  if (!wanted.sampling.ignore_eos) {  // the model goes on with another file when it has filled the gap
    for (const char* name : {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>", "<|repo_name|>",
                             "<|file_sep|>", "<|endoftext|>"}) {
      if (const auto id = special_token(engine, name)) wanted.sampling.stop_token_ids.push_back(*id);
    }
  }
  return ids;
}

std::vector<int32_t> read_ids(const Json& list, const Engine& engine) {
  std::vector<int32_t> ids;
  ids.reserve(list.size());
  const int64_t last = int64_t{engine.info().vocab_size} - 1;
  for (const Json& id : list) ids.push_back(static_cast<int32_t>(read_integer(id, "prompt", 0, last)));
  if (ids.empty()) refuse_field("prompt", "must not be empty");
  return ids;
}

struct Prompts {
  std::vector<std::vector<int32_t>> ids;
  std::vector<std::string> texts;
};

void add_prompt(Prompts& prompts, const Json& prompt, const Engine& engine, GenerationRequest& wanted) {
  if (prompt.is_array()) {
    if (wanted.has_suffix) refuse_field("prompt", "must be a text when there is a suffix");
    prompts.ids.push_back(read_ids(prompt, engine));
    prompts.texts.push_back(wanted.echo ? engine.detokenize(prompts.ids.back()) : "");
    return;
  }
  if (!prompt.is_string()) refuse_field("prompt", "must be a text, token ids, or a list of either");
  const auto& text = prompt.get_ref<const std::string&>();
  if (wanted.has_suffix) {
    prompts.ids.push_back(fill_in_prompt(engine, text, wanted));
  } else {
    prompts.ids.push_back(wanted.parse_special ? engine.tokenize(text, true) : engine.tokenize_prompt(text));
  }
  if (prompts.ids.back().empty()) refuse_field("prompt", "must not be empty");
  prompts.texts.push_back(wanted.echo ? text : "");
}

Prompts read_prompts(GenerationRequest& wanted, const Engine& engine) {
  Prompts prompts;
  const Json& prompt = wanted.prompt;
  const bool several =
      prompt.is_array() && !prompt.empty() && (prompt.front().is_array() || prompt.front().is_string());
  if (!several) {
    add_prompt(prompts, prompt, engine, wanted);
    return prompts;
  }
  const int64_t limit = wanted.has_suffix ? 1 : wanted.limits.prompts;
  if (static_cast<int64_t>(prompt.size()) > limit) {
    refuse_field("prompt", "must be at most " + std::to_string(limit) + " prompts");
  }
  for (const Json& one : prompt) add_prompt(prompts, one, engine, wanted);
  return prompts;
}

// n requests a prompt; with a seed each of them gets one of its own.
std::vector<Request> make_requests(const Service& service, const GenerationRequest& wanted, const Principal& principal,
                                   const std::vector<std::vector<int32_t>>& prompts) {
  std::vector<Request> requests;
  for (const std::vector<int32_t>& prompt : prompts) {
    for (int64_t i = 0; i < wanted.n; ++i) {
      requests.push_back(engine_request(service, wanted, principal, prompt));
      if (requests.back().sampling.seed) *requests.back().sampling.seed += static_cast<uint64_t>(i);
    }
  }
  return requests;
}

Outcome start(Service& service, const GenerationRequest& wanted, std::vector<Request> requests,
              std::unique_ptr<AnswerFormat> format) {
  return std::make_unique<GenerationAnswer>(service.engine(), service.metrics(), std::move(requests), wanted.stream,
                                            std::move(format));
}

FormatOptions format_options(const Service& service, const GenerationRequest& wanted) {
  return {.model = service.model_names().front(),
          .n = static_cast<int>(wanted.n),
          .include_usage = wanted.include_usage,
          .return_token_ids = wanted.return_token_ids,
          .logprobs = wanted.sampling.logprobs >= 0};
}

void check_there_is_time(const Service& service) {
  if (service.draining()) throw HttpError::try_later(503, "draining", "the server is shutting down", 5);
  const double wait = service.engine().stats().waiting_seconds;
  if (wait > static_cast<double>(service.limits().request_seconds)) {
    throw HttpError::try_later(429, "queue_full", "requests would wait longer than they may take", wait);
  }
}

}  // namespace

void check_model(const Service& service, const std::string& name) {
  if (name.empty()) return;
  for (const std::string& known : service.model_names()) {
    if (name == known) return;
  }
  const std::string shown(cut_utf8(name, 64));
  throw HttpError(404, "model_not_found", "there is no model \"" + shown + "\" here; see /v1/models", "model");
}

GenerationRequest read_generation(const Service& service, const Json& body, std::span<const GenerationField> fields,
                                  const GenerationDefaults& defaults) {
  check_there_is_time(service);
  GenerationRequest wanted(service.limits());
  wanted.sampling = service.engine().default_sampling();
  wanted.is_chat = defaults.is_chat;
  wanted.stream = defaults.stream;
  read_fields(body, fields, wanted);
  if (defaults.max_tokens > 0 && !wanted.max_tokens) {
    wanted.max_tokens = std::max(defaults.max_tokens, wanted.sampling.min_tokens);
  }
  check_generation(wanted);
  check_model(service, wanted.model);
  return wanted;
}

Request engine_request(const Service& service, const GenerationRequest& wanted, const Principal& principal,
                       std::vector<int32_t> prompt) {
  Request request{.prompt = std::move(prompt), .sampling = wanted.sampling};
  request.attention_type = wanted.attention_type;
  request.window = wanted.window;
  request.num_sink_tokens = wanted.num_sink_tokens;
  request.memory_top_k = wanted.memory_top_k;
  request.global_heads = wanted.global_heads;
  request.global = wanted.global;
  request.overflow_policy = wanted.overflow_policy;
  request.sampling.validate_token_ids(service.engine().info().vocab_size);
  request.prompt_logprobs = wanted.echo && wanted.sampling.logprobs >= 0;
  request.keeps_logprobs = !wanted.stream;
  request.client = principal.client;
  if (principal.key_id.empty() && !wanted.user.empty()) request.client += "/" + wanted.user;
  request.cache_salt = wanted.cache_salt;
  // Nobody can find out with their own key what others have asked.
  if (!principal.key_id.empty()) request.cache_salt = principal.key_id + ":" + wanted.cache_salt;
  request.timeout_seconds = static_cast<double>(service.limits().request_seconds);
  request.splits_reasoning = wanted.is_chat;
  return request;
}

Outcome handle_chat_completions(Service& service, const Admission& admission, const HttpRequest& http) {
  const Json body = parse_body(http.body, service.limits().json_depth);
  const GenerationRequest wanted = read_generation(service, body, chat_completion_fields(), {.is_chat = true});
  Engine& engine = service.engine();
  FormatOptions options = format_options(service, wanted);
  options.prompts = {engine.tokenize_chat(wanted.messages.dump())};
  std::vector<Request> requests = make_requests(service, wanted, admission.principal, options.prompts);
  return start(service, wanted, std::move(requests), chat_completion_format(engine, std::move(options)));
}

Outcome handle_completions(Service& service, const Admission& admission, const HttpRequest& http) {
  constexpr int kDefaultMaxTokens = 16;  // as OpenAI has it
  const Json body = parse_body(http.body, service.limits().json_depth);
  GenerationRequest wanted = read_generation(service, body, completion_fields(), {.max_tokens = kDefaultMaxTokens});
  Engine& engine = service.engine();
  Prompts prompts = read_prompts(wanted, engine);
  FormatOptions options = format_options(service, wanted);
  options.prompts = std::move(prompts.ids);
  options.echo = wanted.echo;
  options.echo_texts = std::move(prompts.texts);
  options.drop_output = wanted.max_tokens == 0;
  std::vector<Request> requests = make_requests(service, wanted, admission.principal, options.prompts);
  return start(service, wanted, std::move(requests), completion_format(engine, std::move(options)));
}

}  // namespace qwin::server
