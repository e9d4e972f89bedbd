// SPDX-License-Identifier: Apache-2.0
#include "server/generation_request.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <limits>

namespace qwin::server {
namespace {

constexpr int64_t kMaxInt = std::numeric_limits<int32_t>::max();
constexpr int64_t kMaxInteger = std::numeric_limits<int64_t>::max();
constexpr size_t kNameBytes = 256;
constexpr size_t kTextBytes = size_t{1} << 30;  // the body's own limit is what counts
constexpr int64_t kMaxLogprobs = 20;

// A member of the request's SamplingParams, a float.
GenerationField sampling_number(const char* name, float SamplingParams::* member, double low, double high,
                                const char* description) {
  return {name, number_schema(description, low, high), [=](const Json& value, GenerationRequest& request) {
            request.sampling.*member = static_cast<float>(read_number(value, name, low, high));
          }};
}

GenerationField sampling_integer(const char* name, int SamplingParams::* member, int64_t low, int64_t high,
                                 const char* description) {
  return {name, integer_schema(description, low, high), [=](const Json& value, GenerationRequest& request) {
            request.sampling.*member = static_cast<int>(read_integer(value, name, low, high));
          }};
}

void read_stop(const Json& value, GenerationRequest& request) {
  std::vector<std::string>& stops = request.sampling.stop;
  const auto limit = static_cast<size_t>(request.limits.stop_strings);
  const auto bytes = static_cast<size_t>(request.limits.stop_bytes);
  if (!value.is_string() && !value.is_array()) refuse_field("stop", "must be a string or a list of strings");
  if (value.is_array() && value.size() > limit)
    refuse_field("stop", "must have at most " + std::to_string(limit) + " strings");
  stops.clear();
  if (value.is_string()) stops.push_back(read_string(value, "stop", bytes));
  for (size_t i = 0; value.is_array() && i < value.size(); ++i) stops.push_back(read_string(value[i], "stop", bytes));
  for (const std::string& stop : stops) {
    if (stop.empty()) refuse_field("stop", "must not be empty");
  }
}

void read_logit_bias(const Json& value, GenerationRequest& request) {
  if (!value.is_object()) refuse_field("logit_bias", "must be an object of token ids and numbers from -100 to 100");
  if (value.size() > static_cast<size_t>(request.limits.logit_bias)) {
    refuse_field("logit_bias", "must have at most " + std::to_string(request.limits.logit_bias) + " tokens");
  }
  for (const auto& [key, bias] : value.items()) {
    int32_t id = -1;
    const auto [end, fault] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (fault != std::errc() || end != key.data() + key.size()) {
      refuse_field("logit_bias", "must have token ids as its keys");
    }
    request.sampling.logit_bias.emplace_back(id, static_cast<float>(read_number(bias, "logit_bias", -100, 100)));
  }
}

void read_stop_token_ids(const Json& value, GenerationRequest& request) {
  constexpr size_t kMaxIds = 1024;
  if (!value.is_array() || value.size() > kMaxIds)
    refuse_field("stop_token_ids", "must be a list of at most 1024 token ids");
  for (const Json& id : value) {
    request.sampling.stop_token_ids.push_back(static_cast<int32_t>(read_integer(id, "stop_token_ids", 0, kMaxInt)));
  }
}

void read_stream_options(const Json& value, GenerationRequest& request) {
  if (!value.is_object()) refuse_field("stream_options", "must be an object");
  for (const auto& [key, option] : value.items()) {
    if (key != "include_usage") refuse_unknown_field("stream_options." + key);
    if (!option.is_null()) request.include_usage = read_boolean(option, "stream_options.include_usage");
  }
  request.has_stream_options = true;
}

void read_text_format(const Json& value, GenerationRequest&) {
  if (value == Json{{"type", "text"}}) return;
  refuse_field("response_format", "other than {\"type\": \"text\"} is not supported by this version");
}

void read_messages(const Json& value, GenerationRequest& request) {
  if (!value.is_array() || value.empty()) refuse_field("messages", "must be a list with at least one message");
  request.messages = value;
}

constexpr size_t kMaxGlobals = 256;

void read_global_spans(const Json& value, GenerationRequest& request) {
  if (!value.is_array() || value.size() > kMaxGlobals)
    refuse_field("global_spans", "must be a list of at most 256 pairs");
  for (const Json& span : value) {
    if (!span.is_array() || span.size() != 2) refuse_field("global_spans", "must be a list of pairs [begin, end]");
    request.global.spans.push_back(
        {read_integer(span[0], "global_spans", 0, kMaxInt), read_integer(span[1], "global_spans", 1, kMaxInt)});
  }
}

void read_global_texts(const Json& value, GenerationRequest& request) {
  if (!value.is_array() || value.size() > kMaxGlobals)
    refuse_field("global_texts", "must be a list of at most 256 texts");
  for (const Json& text : value) request.global.texts.push_back(read_string(text, "global_texts", kTextBytes));
}

void read_global_messages(const Json& value, GenerationRequest& request) {
  if (!value.is_array()) refuse_field("global_messages", "must be a list of system and question");
  for (const Json& name : value)
    add_global_message(request.global, read_choice(name, "global_messages", {"system", "question"}));
}

GenerationField field(const char* name, Json schema, void (*read)(const Json&, GenerationRequest&)) {
  return {name, std::move(schema), read};
}

GenerationField required(GenerationField field) {
  field.required = true;
  return field;
}

Json string_or_list_schema(const char* description) {
  return {{"anyOf", Json::array({{{"type", "string"}}, {{"type", "array"}, {"items", {{"type", "string"}}}}})},
          {"description", description}};
}

// How tokens see each other.
std::vector<GenerationField> attention_fields() {
  using R = GenerationRequest;
  const Json spans{
      {"type", "array"},
      {"items",
       {{"type", "array"}, {"items", {{"type", "integer"}, {"minimum", 0}}}, {"minItems", 2}, {"maxItems", 2}}},
      {"description", "hybrid: [begin, end) of tokens of the prompt that all later ones see"}};
  const Json texts{{"type", "array"},
                   {"items", {{"type", "string"}, {"minLength", 1}}},
                   {"description", "hybrid: texts of the prompt that all later tokens see"}};
  const Json messages{{"type", "array"},
                      {"items", {{"enum", Json::array({"system", "question"})}}},
                      {"description", "hybrid: messages of the chat that all later tokens see"}};
  return {
      {"attention_type", choice_schema("what a token sees of those before it", {"full", "sliding_window", "hybrid"}),
       [](const Json& value, R& request) {
         request.attention_type =
             attention_type_of(read_choice(value, "attention_type", {"full", "sliding_window", "hybrid"}));
       }},
      integer_field("window", &R::window, 0, int64_t{1} << 24, "last tokens that are seen always; 0: exact attention"),
      integer_field("num_sink_tokens", &R::num_sink_tokens, 0, 65536, "with a window, first tokens always seen"),
      integer_field("memory_top_k", &R::memory_top_k, 0, 4096,
                    "hybrid: pieces of 16 tokens that a token finds again; 0 with global tokens or heads alone"),
      integer_field("global_heads", &R::global_heads, 0, 65536,
                    "hybrid: KV heads that see everything, chosen by qwin calibrate-heads"),
      field("global_spans", spans, read_global_spans),
      field("global_texts", texts, read_global_texts),
      field("global_messages", messages, read_global_messages),
      {"overflow_policy", choice_schema("what becomes of a prompt beyond the context", {"error", "window"}),
       [](const Json& value, R& request) {
         request.overflow_policy = overflow_policy_of(read_choice(value, "overflow_policy", {"error", "window"}));
       }},
  };
}

// The fields that all of them know.
std::vector<GenerationField> common_fields() {
  using R = GenerationRequest;
  using S = SamplingParams;
  const Json ids{{"type", "array"},
                 {"maxItems", 1024},
                 {"items", integer_schema("", 0, kMaxInt)},
                 {"description", "token ids that end the answer"}};
  const Json biases{{"type", "object"},
                    {"additionalProperties", number_schema("", -100, 100)},
                    {"description", "token id to what is added to its logit"}};
  std::vector<GenerationField> fields = {
      string_field("model", &R::model, kNameBytes, "the model's name, as /v1/models lists it"),
      sampling_number("temperature", &S::temperature, 0, 100, "0 takes the most probable token each time"),
      sampling_number("top_p", &S::top_p, 1e-9, 1,
                      "sample from the most probable tokens that reach this share together"),
      sampling_integer("top_k", &S::top_k, -1, kMaxInt, "sample from the k most probable tokens; 0 or -1: all"),
      sampling_number("min_p", &S::min_p, 0, 1, "drop tokens below this share of the most probable one"),
      sampling_number("repetition_penalty", &S::repetition_penalty, 0.01, 100,
                      "above 1 discourages tokens already seen"),
      sampling_number("presence_penalty", &S::presence_penalty, -2, 2, "taken once from tokens already written"),
      sampling_number("frequency_penalty", &S::frequency_penalty, -2, 2, "taken for each time they were written"),
      field("logit_bias", biases, read_logit_bias),
      {"seed", integer_schema("the same seed gives the same answer", std::numeric_limits<int64_t>::min(), kMaxInteger),
       [](const Json& value, R& request) {
         request.sampling.seed =
             static_cast<uint64_t>(read_integer(value, "seed", std::numeric_limits<int64_t>::min(), kMaxInteger));
       }},
      sampling_integer("min_tokens", &S::min_tokens, 0, kMaxInt, "no end before this many tokens"),
      field("stop", string_or_list_schema("the answer ends before such a text"), read_stop),
      field("stop_token_ids", ids, read_stop_token_ids),
      {"ignore_eos", boolean_schema("go on after an end-of-text token"),
       [](const Json& value, R& request) { request.sampling.ignore_eos = read_boolean(value, "ignore_eos"); }},
      boolean_field("stream", &R::stream, "send the answer as server-sent events while it is written"),
      string_field("cache_salt", &R::cache_salt, kNameBytes, "only requests with the same salt share cached prompts"),
      string_field("user", &R::user, kNameBytes, "without API keys, requests of different users are different clients"),
  };
  std::ranges::move(attention_fields(), std::back_inserter(fields));
  return fields;
}

std::vector<GenerationField> openai_fields() {
  using R = GenerationRequest;
  std::vector<GenerationField> fields = common_fields();
  const Json options{{"type", "object"},
                     {"properties", {{"include_usage", nullable(boolean_schema("a last chunk tells the usage"))}}},
                     {"additionalProperties", false},
                     {"description", "with stream alone"}};
  fields.push_back(integer_field("max_tokens", &R::max_tokens, 0, kMaxInt, "the longest answer"));
  fields.push_back(integer_field("n", &R::n, 1, 128, "answers to the prompt; --max-choices bounds it"));
  fields.push_back(field("stream_options", options, read_stream_options));
  fields.push_back(boolean_field("return_token_ids", &R::return_token_ids, "tell the token ids of prompt and answer"));
  return fields;
}

}  // namespace

std::span<const GenerationField> chat_completion_fields() {
  using R = GenerationRequest;
  static const std::vector<GenerationField> fields = [] {
    const Json message{
        {"type", "object"}, {"required", Json::array({"role"})}, {"properties", {{"role", {{"type", "string"}}}}}};
    const Json messages{
        {"type", "array"}, {"minItems", 1}, {"items", message}, {"description", "the conversation so far"}};
    const Json format{{"type", "object"},
                      {"properties", {{"type", {{"const", "text"}}}}},
                      {"required", Json::array({"type"})},
                      {"additionalProperties", false},
                      {"description", "text alone in this version"}};
    std::vector<GenerationField> all = openai_fields();
    all.insert(all.begin(), required(field("messages", messages, read_messages)));
    all.push_back(integer_field("max_completion_tokens", &R::max_completion_tokens, 1, kMaxInt, "the longest answer"));
    all.push_back(boolean_field("logprobs", &R::logprobs, "log probabilities of the answer's tokens"));
    all.push_back(integer_field("top_logprobs", &R::top_logprobs, 0, kMaxLogprobs, "and of that many alternatives"));
    all.push_back(field("response_format", format, read_text_format));
    return all;
  }();
  return fields;
}

std::span<const GenerationField> completion_fields() {
  using R = GenerationRequest;
  static const std::vector<GenerationField> fields = [] {
    const Json ids{{"type", "array"}, {"items", {{"type", "integer"}, {"minimum", 0}}}};
    const Json prompt{{"anyOf", Json::array({{{"type", "string"}},
                                             {{"type", "array"}, {"items", {{"type", "string"}}}},
                                             ids,
                                             {{"type", "array"}, {"items", ids}}})},
                      {"description", "a text, token ids, or a list of either"}};
    std::vector<GenerationField> all = openai_fields();
    all.insert(all.begin(),
               required(field("prompt", prompt, [](const Json& value, R& request) { request.prompt = value; })));
    all.push_back({"suffix", string_schema("fill in the middle between prompt and suffix (Coder models)"),
                   [](const Json& value, R& request) {
                     request.suffix = read_string(value, "suffix", kTextBytes);
                     request.has_suffix = true;
                   }});
    all.push_back(boolean_field("echo", &R::echo, "the answer begins with the prompt"));
    all.push_back(sampling_integer("logprobs", &SamplingParams::logprobs, 0, kMaxLogprobs,
                                   "log probabilities of the tokens and of that many alternatives"));
    all.push_back(
        boolean_field("parse_special", &R::parse_special, "tokens such as <|im_start|> are read in the prompt"));
    return all;
  }();
  return fields;
}

std::span<const GenerationField> chat_session_fields() {
  using R = GenerationRequest;
  static const std::vector<GenerationField> fields = [] {
    std::vector<GenerationField> all = common_fields();
    all.insert(all.begin(), required(string_field("prompt", &R::chat_prompt, kTextBytes, "what the user says")));
    all.push_back(string_field("session", &R::session, 64, "the conversation to go on with; absent: a new one"));
    all.push_back({"system", string_schema("the system message of the conversation from now on"),
                   [](const Json& value, R& request) {
                     request.system = read_string(value, "system", kTextBytes);
                     request.has_system = true;
                   }});
    all.push_back(integer_field("replace_from", &R::replace_from, 0, kMaxInt,
                                "forget the messages of the session from this one on, first"));
    all.push_back(integer_field("max_tokens", &R::max_tokens, 1, kMaxInt, "the longest answer"));
    return all;
  }();
  return fields;
}

namespace {

// A text of the document's options.
GenerationField document_text(const char* name, std::string DocumentOptions::* member, const char* description) {
  return {name, string_schema(description), [=](const Json& value, GenerationRequest& request) {
            request.document.*member = read_string(value, name, kTextBytes);
          }};
}

GenerationField document_tokens(const char* name, int64_t DocumentOptions::* member, int64_t low,
                                const char* description) {
  constexpr int64_t kMost = int64_t{1} << 20;
  return {name, integer_schema(description, low, kMost), [=](const Json& value, GenerationRequest& request) {
            request.document.*member = read_integer(value, name, low, kMost);
          }};
}

void read_partial_answers(const Json& value, GenerationRequest& request) {
  if (!value.is_array()) refuse_field("partial_answers", "must be a list of texts and nulls");
  for (const Json& answer : value) {
    auto& known = request.document.partial_answers.emplace_back();
    if (!answer.is_null()) known = read_string(answer, "partial_answers", kTextBytes);
  }
}

}  // namespace

std::span<const GenerationField> document_fields() {
  using R = GenerationRequest;
  using D = DocumentOptions;
  static const std::vector<GenerationField> fields = [] {
    const Json answers{{"type", "array"},
                       {"items", {{"type", Json::array({"string", "null"})}}},
                       {"description", "answers over segments that are known already: these are not asked again"}};
    std::vector<GenerationField> all = common_fields();
    all.insert(all.begin(), required(string_field("text", &R::text, kTextBytes, "the document")));
    all.push_back(document_text("instruction", &D::instruction,
                                "what is asked of every segment; absent: a summary in the document's language"));
    all.push_back(document_text("reduce_instruction", &D::reduce_instruction,
                                "what is asked of the answers together; absent: made from the instruction"));
    all.push_back(document_text("system", &D::system, "the system message"));
    all.push_back({"method", choice_schema("segments, or one_pass: all of it in one prompt", {"segments", "one_pass"}),
                   [](const Json& value, R& request) {
                     request.document.method =
                         document_method_of(read_choice(value, "method", {"segments", "one_pass"}));
                   }});
    all.push_back(document_tokens("segment_tokens", &D::segment_tokens, 16, "the longest segment"));
    all.push_back(document_tokens("overlap", &D::overlap, 0, "tokens that a segment repeats of the one before it"));
    all.push_back(field("partial_answers", answers, read_partial_answers));
    all.push_back(integer_field("max_tokens", &R::max_tokens, 1, kMaxInt, "the longest answer of each request; 256"));
    return all;
  }();
  return fields;
}

void check_generation(GenerationRequest& request) {
  const Limits& limits = request.limits;
  SamplingParams& sampling = request.sampling;
  if (request.n > limits.choices) refuse_field("n", "must be an integer from 1 to " + std::to_string(limits.choices));
  if (request.has_stream_options && !request.stream) refuse_field("stream_options", "needs stream");
  if (request.max_tokens && request.max_completion_tokens) {
    refuse_field("max_tokens", "and max_completion_tokens are the same; give one");
  }
  if (request.max_completion_tokens) request.max_tokens = request.max_completion_tokens;
  if (request.max_tokens == 0 && !request.echo) refuse_field("max_tokens", "must be at least 1");
  if (request.max_tokens) sampling.max_tokens = static_cast<int>(std::max<int64_t>(*request.max_tokens, 1));
  if (request.top_logprobs && !request.logprobs) refuse_field("top_logprobs", "needs logprobs");
  if (request.logprobs) sampling.logprobs = static_cast<int>(request.top_logprobs.value_or(0));
  if (request.has_suffix && request.echo) refuse_field("echo", "and suffix exclude each other");
  if (request.stream && request.echo && sampling.logprobs >= 0) {
    refuse_field("echo", "with logprobs is not streamed; leave out stream");
  }
  sampling.validate();
}

}  // namespace qwin::server
