// SPDX-License-Identifier: Apache-2.0
#include "server/openai_format.h"

#include <algorithm>
#include <ctime>

namespace qwin::server {
namespace {

constexpr float kLowestLogprob = -9999;  // JSON has no infinity

double shown_logprob(const TokenProbability& p) { return std::max(p.logprob, kLowestLogprob); }

int64_t num_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

std::string token_text(const Engine& engine, int32_t id) { return engine.detokenize(std::span(&id, 1)); }

// What both endpoints have in common: the frame around choices.
class OpenAiFormat : public AnswerFormat {
 public:
  OpenAiFormat(const Engine& engine, FormatOptions options, const char* id_prefix, const char* object,
               const char* chunk_object)
      : engine_(engine), options_(std::move(options)), object_(object), chunk_object_(chunk_object) {
    frame_ = {{"id", random_id(id_prefix)},
              {"object", chunk_object},
              {"created", std::time(nullptr)},
              {"model", options_.model}};
    chunk_head_ = frame_.dump();
    chunk_head_.back() = ',';
    chunk_head_ = "data: " + chunk_head_ + "\"choices\":[{\"index\":";
    chunk_tail_ = options_.include_usage ? "}],\"usage\":null" : "}]";
  }

  void output(std::string& out, int choice, const Output& output) override {
    if (options_.drop_output) return;
    const bool tokens_wanted = (options_.logprobs || options_.return_token_ids) && !output.token_ids.empty();
    if (output.text.empty() && output.reasoning.empty() && !tokens_wanted) return;
    open_chunk(out, choice);
    put_text(out, output);
    put_logprobs(out, choice, output);
    if (options_.return_token_ids) out += ",\"token_ids\":" + Json(output.token_ids).dump();
    out += ",\"finish_reason\":null";
    close_chunk(out);
  }
  void choice_end(std::string& out, int choice, const GenerationResult& result) override {
    open_chunk(out, choice);
    put_nothing(out);
    out += ",\"logprobs\":null,\"finish_reason\":\"";
    out += finish_reason(result);
    out += '"';
    out += chunk_tail_ + ",\"timings\":" + timings_json(result).dump() +
           ",\"attention\":" + attention_json(result.attention).dump() + "}\n\n";
  }
  void end(std::string& out, std::span<const GenerationResult> results) override {
    if (!options_.include_usage) return;
    Json chunk = frame_;
    chunk["choices"] = Json::array();
    chunk["usage"] = usage_json(results, options_.n, options_.drop_output);
    out += "data: " + chunk.dump() + "\n\n";
  }
  Json whole(std::span<const GenerationResult> results) override {
    Json body = frame_;
    body["object"] = object_;
    Json& choices = body["choices"] = Json::array();
    for (size_t i = 0; i < results.size(); ++i) {
      Json choice = choice_json(static_cast<int>(i), results[i]);
      choice["finish_reason"] = finish_reason(results[i]);
      if (options_.return_token_ids)
        choice["token_ids"] = options_.drop_output ? Json::array() : Json(results[i].token_ids);
      choices.push_back(std::move(choice));
    }
    if (options_.return_token_ids) body["prompt_token_ids"] = prompt_ids_json();
    body["usage"] = usage_json(results, options_.n, options_.drop_output);
    body["timings"] = timings_json(results.front());
    body["attention"] = attention_json(results.front().attention);
    return body;
  }

 protected:
  virtual void put_text(std::string& out, const Output& output) = 0;
  virtual void put_nothing(std::string& out) = 0;
  virtual void put_logprobs(std::string& out, int choice, const Output& output) = 0;
  virtual Json choice_json(int index, const GenerationResult& result) = 0;

  const char* finish_reason(const GenerationResult& result) const {
    return options_.drop_output ? "length" : finish_reason_name(result.finish_reason);
  }
  void open_chunk(std::string& out, int choice) const { out += chunk_head_ + std::to_string(choice); }
  void close_chunk(std::string& out) const { out += chunk_tail_ + "}\n\n"; }
  size_t prompt_of(int choice) const { return static_cast<size_t>(choice / options_.n); }
  Json prompt_ids_json() const {
    return options_.prompts.size() == 1 ? Json(options_.prompts.front()) : Json(options_.prompts);
  }

  const Engine& engine_;
  const FormatOptions options_;

 private:
  const char* object_;
  const char* chunk_object_;
  Json frame_;
  std::string chunk_head_, chunk_tail_;
};

class ChatCompletionFormat final : public OpenAiFormat {
 public:
  ChatCompletionFormat(const Engine& engine, FormatOptions options)
      : OpenAiFormat(engine, std::move(options), "chatcmpl-", "chat.completion", "chat.completion.chunk") {}

  void begin(std::string& out) override {
    for (int i = 0; i < options_.n; ++i) {
      open_chunk(out, i);
      out += ",\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null";
      if (options_.return_token_ids && i == 0) out += ",\"prompt_token_ids\":" + prompt_ids_json().dump();
      close_chunk(out);
    }
  }

 protected:
  void put_text(std::string& out, const Output& output) override {
    out += ",\"delta\":{";
    if (!output.reasoning.empty()) {
      out += "\"reasoning_content\":";
      append_json_string(out, output.reasoning);
    }
    if (output.reasoning.empty() || !output.text.empty()) {
      out += output.reasoning.empty() ? "\"content\":" : ",\"content\":";
      append_json_string(out, output.text);
    }
    out += '}';
  }
  void put_nothing(std::string& out) override { out += ",\"delta\":{}"; }
  void put_logprobs(std::string& out, int, const Output& output) override {
    out += ",\"logprobs\":";
    out += options_.logprobs ? logprobs_json(output.logprobs).dump() : "null";
  }
  Json choice_json(int index, const GenerationResult& result) override {
    Json message{{"role", "assistant"}, {"content", result.text}, {"refusal", nullptr}};
    if (!result.reasoning.empty()) message["reasoning_content"] = result.reasoning;
    return {{"index", index},
            {"message", std::move(message)},
            {"logprobs", options_.logprobs ? logprobs_json(result.logprobs) : Json()}};
  }

 private:
  Json probability_json(const TokenProbability& p) const {
    const std::string text = token_text(engine_, p.token_id);
    Json bytes;  // unknown for a token that is part of a character
    if (text.find("\uFFFD") == std::string::npos) {
      bytes = Json::array();
      for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
    }
    return {{"token", text}, {"logprob", shown_logprob(p)}, {"bytes", std::move(bytes)}};
  }
  Json logprobs_json(const std::vector<TokenLogprobInfo>& infos) const {
    Json content = Json::array();
    for (const TokenLogprobInfo& info : infos) {
      Json entry = probability_json(info.chosen);
      Json& top = entry["top_logprobs"] = Json::array();
      for (const TokenProbability& p : info.top) top.push_back(probability_json(p));
      content.push_back(std::move(entry));
    }
    return {{"content", std::move(content)}, {"refusal", nullptr}};
  }
};

class CompletionFormat final : public OpenAiFormat {
 public:
  CompletionFormat(const Engine& engine, FormatOptions options)
      : OpenAiFormat(engine, std::move(options), "cmpl-", "text_completion", "text_completion"),
        text_offsets_(options_.prompts.size() * static_cast<size_t>(options_.n), 0) {}

  void begin(std::string& out) override {
    for (size_t i = 0; i < text_offsets_.size(); ++i) {
      if (!options_.echo) break;
      open_chunk(out, static_cast<int>(i));
      put_text(out, {.text = options_.echo_texts[prompt_of(static_cast<int>(i))]});
      out += ",\"logprobs\":null,\"finish_reason\":null";
      close_chunk(out);
    }
  }

 protected:
  void put_text(std::string& out, const Output& output) override {
    out += ",\"text\":";
    append_json_string(out, output.text);
  }
  void put_nothing(std::string& out) override { out += ",\"text\":\"\""; }
  void put_logprobs(std::string& out, int choice, const Output& output) override {
    out += ",\"logprobs\":";
    if (!options_.logprobs) {
      out += "null";
      return;
    }
    Lists lists;
    lists.offset = text_offsets_[static_cast<size_t>(choice)];
    for (const TokenLogprobInfo& info : output.logprobs) add(lists, info);
    text_offsets_[static_cast<size_t>(choice)] = lists.offset;
    out += lists_json(std::move(lists)).dump();
  }
  Json choice_json(int index, const GenerationResult& result) override {
    std::string text = options_.echo ? options_.echo_texts[prompt_of(index)] : "";
    if (!options_.drop_output) text += result.text;
    Json choice{{"index", index}, {"text", std::move(text)}, {"logprobs", nullptr}};
    if (!options_.logprobs) return choice;
    Lists lists;
    if (options_.echo) {  // nothing is known about the first token: nothing stands before it
      const std::string first = token_text(engine_, options_.prompts[prompt_of(index)].front());
      lists.tokens.push_back(first);
      lists.logprobs.push_back(nullptr);
      lists.top.push_back(nullptr);
      lists.offsets.push_back(0);
      lists.offset = num_characters(first);
      for (const TokenLogprobInfo& info : result.prompt_logprobs) add(lists, info);
    }
    if (!options_.drop_output) {
      for (const TokenLogprobInfo& info : result.logprobs) add(lists, info);
    }
    choice["logprobs"] = lists_json(std::move(lists));
    return choice;
  }

 private:
  struct Lists {
    Json tokens = Json::array(), logprobs = Json::array(), top = Json::array(), offsets = Json::array();
    int64_t offset = 0;  // characters before the next token
  };

  void add(Lists& lists, const TokenLogprobInfo& info) const {
    const std::string text = token_text(engine_, info.chosen.token_id);
    Json top = Json::object();
    for (const TokenProbability& p : info.top) top[token_text(engine_, p.token_id)] = shown_logprob(p);
    lists.tokens.push_back(text);
    lists.logprobs.push_back(shown_logprob(info.chosen));
    lists.top.push_back(std::move(top));
    lists.offsets.push_back(lists.offset);
    lists.offset += num_characters(text);
  }
  static Json lists_json(Lists lists) {
    return {{"tokens", std::move(lists.tokens)},
            {"token_logprobs", std::move(lists.logprobs)},
            {"top_logprobs", std::move(lists.top)},
            {"text_offset", std::move(lists.offsets)}};
  }

  std::vector<int64_t> text_offsets_;  // of each choice, in a stream
};

double per_second(int64_t count, double ms) { return ms > 0 ? static_cast<double>(count) * 1000 / ms : 0; }

}  // namespace

std::unique_ptr<AnswerFormat> chat_completion_format(const Engine& engine, FormatOptions options) {
  return std::make_unique<ChatCompletionFormat>(engine, std::move(options));
}

std::unique_ptr<AnswerFormat> completion_format(const Engine& engine, FormatOptions options) {
  return std::make_unique<CompletionFormat>(engine, std::move(options));
}

Json usage_json(std::span<const GenerationResult> results, int n, bool drop_output) {
  int64_t prompt = 0, cached = 0, written = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    if (!drop_output) written += static_cast<int64_t>(results[i].token_ids.size());
    if (i % static_cast<size_t>(n) != 0) continue;
    prompt += results[i].prompt_tokens;
    cached += results[i].cached_tokens;
  }
  return {{"prompt_tokens", prompt},
          {"completion_tokens", written},
          {"total_tokens", prompt + written},
          {"prompt_tokens_details", {{"cached_tokens", cached}}}};
}

Json attention_json(const AttentionPlan& plan) {
  Json json{{"type", attention_type_name(plan.type)}};
  if (plan.type == AttentionType::full) return json;
  json["window"] = plan.window;
  json["num_sink_tokens"] = plan.num_sink_tokens;
  if (plan.type != AttentionType::hybrid) return json;
  json["memory_top_k"] = plan.memory_top_k;
  json["hybrid_from"] = plan.hybrid_from;
  if (plan.global_heads > 0) json["global_heads"] = plan.global_heads;
  for (const TokenSpan& span : plan.global_spans) json["global_spans"].push_back({span.begin, span.end});
  return json;
}

Json timings_json(const GenerationResult& result) {
  const GenerationTimings& timings = result.timings;
  const int64_t read = result.prompt_tokens - result.cached_tokens;
  const auto written = static_cast<int64_t>(result.token_ids.size());
  const double read_ms =
      timings.prefill_tokens_per_second > 0 ? static_cast<double>(read) * 1000 / timings.prefill_tokens_per_second : 0;
  const double written_ms =
      timings.decode_tokens_per_second > 0 ? static_cast<double>(written) * 1000 / timings.decode_tokens_per_second : 0;
  return {{"cache_n", result.cached_tokens},
          {"prompt_n", read},
          {"prompt_ms", read_ms},
          {"prompt_per_token_ms", read > 0 ? read_ms / static_cast<double>(read) : 0},
          {"prompt_per_second", per_second(read, read_ms)},
          {"predicted_n", written},
          {"predicted_ms", written_ms},
          {"predicted_per_token_ms", written > 0 ? written_ms / static_cast<double>(written) : 0},
          {"predicted_per_second", per_second(written, written_ms)},
          {"queue_ms", timings.queue_ms},
          {"ttft_ms", timings.ttft_ms}};
}

}  // namespace qwin::server
