// SPDX-License-Identifier: Apache-2.0
// POST /v1/documents: a document in segments, or in one pass.
#include <ctime>

#include "qwin/document.h"
#include "server/generation_answer.h"
#include "server/handlers.h"
#include "server/openai_format.h"

namespace qwin::server {
namespace {

constexpr int kDefaultMaxTokens = 256;

std::string event(const Json& json) {
  return "data: " + json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n\n";
}

// A stream tells each answer over a segment when it is there, the last answer while it is written, then all counts.
class DocumentAnswer final : public Answer {
 public:
  // Throws Error; then nothing is left running.
  DocumentAnswer(Engine& engine, std::string model, GenerationRequest& wanted, Request request)
      : model_(std::move(model)), stream_(wanted.stream), method_(wanted.document.method) {
    DocumentOptions options = std::move(wanted.document);
    options.request = std::move(request);
    run_ = std::make_unique<DocumentRun>(engine, std::move(wanted.text), std::move(options), events());
    run_->advance();
  }

  void attach(std::function<void()> wake) override { run_->attach(std::move(wake)); }
  void advance(ResponseWriter& writer) override {
    if (over_) return;
    try {
      const bool done = run_->advance();
      if (stream_ && !out_.empty() && !writer.stream_begun()) writer.begin_stream();
      if (done) return finish(writer);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::cancelled)
        return fail(HttpError::try_later(503, "draining", "the server is shutting down", 5), writer);
      return fail(HttpError::from(std::current_exception()), writer);
    } catch (...) {
      return fail(HttpError::from(std::current_exception()), writer);
    }
    if (stream_ && !out_.empty()) writer.write(std::exchange(out_, {}));
  }
  void fail(const HttpError& error, ResponseWriter& writer) override {
    if (over_) return;
    over_ = true;
    run_.reset();
    if (!writer.stream_begun()) return writer.respond(error_response(error));
    writer.write(out_ + "data: " + error.json() + "\n\n");
    writer.break_stream();
  }
  void hold(bool held) override {
    if (run_) run_->hold(held);
  }
  bool is_stream() const override { return stream_; }
  bool queued() const override { return run_ && !run_->has_begun(); }
  std::string log_fields() const override {
    if (!over_ || !run_) return ",\"ended\":false";
    const DocumentResult& result = run_->result();
    return ",\"segments\":" + std::to_string(result.segments.size()) +
           ",\"prompt_tokens\":" + std::to_string(result.prompt_tokens) +
           ",\"cached_tokens\":" + std::to_string(result.cached_tokens) +
           ",\"completion_tokens\":" + std::to_string(result.completion_tokens);
  }

 private:
  DocumentEvents events() {
    if (!stream_) return {};
    return {.on_progress = [this](size_t done, size_t total) { out_ += event({{"done", done}, {"total", total}}); },
            .on_partial_answer =
                [this](size_t segment, const std::string& answer) {
                  out_ += event({{"segment", segment}, {"partial_answer", answer}});
                },
            .on_text = [this](std::string_view text) { out_ += event({{"text", text}}); }};
  }

  Json body() const {
    const DocumentResult& result = run_->result();
    Json segments = Json::array();
    for (const DocumentSegment& segment : result.segments) {
      segments.push_back({{"begin", segment.begin}, {"end", segment.end}, {"num_tokens", segment.num_tokens}});
    }
    return {{"id", id_},
            {"object", "document"},
            {"created", static_cast<int64_t>(std::time(nullptr))},
            {"model", model_},
            {"text", result.text},
            {"method", document_method_name(method_)},
            {"segments", std::move(segments)},
            {"partial_answers", result.partial_answers},
            {"finish_reason", finish_reason_name(result.finish_reason)},
            {"usage",
             {{"prompt_tokens", result.prompt_tokens},
              {"completion_tokens", result.completion_tokens},
              {"total_tokens", result.prompt_tokens + result.completion_tokens},
              {"prompt_tokens_details", {{"cached_tokens", result.cached_tokens}}}}},
            {"attention", attention_json(result.attention)}};
  }

  void finish(ResponseWriter& writer) {
    over_ = true;
    const Json whole = body();
    if (!stream_) return writer.respond({.body = whole.dump(-1, ' ', false, Json::error_handler_t::replace)});
    if (!writer.stream_begun()) writer.begin_stream();
    writer.write(out_ + event(whole) + "data: [DONE]\n\n");
    writer.end_stream();
  }

  const std::string id_ = random_id("doc-"), model_;
  const bool stream_;
  const DocumentMethod method_;
  std::unique_ptr<DocumentRun> run_;
  std::string out_;  // events that are not written yet
  bool over_ = false;
};

}  // namespace

Outcome handle_documents(Service& service, const Admission& admission, const HttpRequest& http) {
  const Json body = parse_body(http.body, service.limits().json_depth);
  GenerationRequest wanted = read_generation(service, body, document_fields(), {.max_tokens = kDefaultMaxTokens});
  Request request = engine_request(service, wanted, admission.principal, {});
  return std::make_unique<DocumentAnswer>(service.engine(), service.model_names().front(), wanted, std::move(request));
}

}  // namespace qwin::server
