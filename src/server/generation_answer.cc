// SPDX-License-Identifier: Apache-2.0
#include "server/generation_answer.h"

#include <sys/random.h>

#include <atomic>
#include <cstdio>
#include <mutex>
#include <stdexcept>

#include "server/access.h"

namespace qwin::server {

struct GenerationAnswer::Event {
  int choice = 0;
  Output output = {};
  bool is_end = false;
  GenerationResult result = {};
  std::exception_ptr error = {};
};

// Filled on the engine's thread, emptied on the I/O thread.
struct GenerationAnswer::Mailbox {
  std::mutex mutex;
  std::vector<Event> events;
  std::function<void()> wake;
  bool woken = false;  // and not emptied since
  std::atomic<bool> started{false};

  void put(Event event) {
    std::lock_guard lock(mutex);
    events.push_back(std::move(event));
    if (!wake || woken) return;
    woken = true;
    wake();
  }
  void close() {
    std::lock_guard lock(mutex);
    wake = nullptr;
    events.clear();
  }
};

GenerationAnswer::GenerationAnswer(Engine& engine, Metrics& metrics, std::vector<Request> requests, bool stream,
                                   std::unique_ptr<AnswerFormat> format)
    : engine_(engine),
      metrics_(metrics),
      stream_(stream),
      format_(std::move(format)),
      mailbox_(std::make_shared<Mailbox>()),
      results_(requests.size()),
      ended_(requests.size()) {
  try {
    for (size_t i = 0; i < requests.size(); ++i) {
      ids_.push_back(engine_.submit(std::move(requests[i]), events_of(static_cast<int>(i))));
    }
  } catch (...) {
    cancel_all();
    throw;
  }
}

GenerationAnswer::~GenerationAnswer() {
  mailbox_->close();
  cancel_all();
  if (!over_) format_->abandoned();
}

RequestEvents GenerationAnswer::events_of(int choice) {
  const bool stream = stream_;
  return {
      .on_output =
          [mailbox = mailbox_, choice, stream](const Output& output) {
            const bool first = !mailbox->started.exchange(true);
            if (stream || first) mailbox->put({.choice = choice, .output = output});
          },
      .on_end =
          [mailbox = mailbox_, choice](GenerationResult result, std::exception_ptr error) {
            mailbox->put({.choice = choice, .is_end = true, .result = std::move(result), .error = std::move(error)});
          },
  };
}

void GenerationAnswer::cancel_all() {
  for (size_t i = 0; i < ids_.size(); ++i) {
    if (!ended_[i]) engine_.cancel(ids_[i]);
  }
}

void GenerationAnswer::attach(std::function<void()> wake) {
  std::lock_guard lock(mailbox_->mutex);
  mailbox_->wake = std::move(wake);
}

void GenerationAnswer::hold(bool held) {
  for (size_t i = 0; i < ids_.size(); ++i) {
    if (!ended_[i]) engine_.hold(ids_[i], held);
  }
}

bool GenerationAnswer::queued() const { return !mailbox_->started && num_ended_ == 0; }

void GenerationAnswer::advance(ResponseWriter& writer) {
  std::vector<Event> events;
  {
    std::lock_guard lock(mailbox_->mutex);
    events.swap(mailbox_->events);
    mailbox_->woken = false;
  }
  if (over_ || events.empty()) return;
  const bool failed_at_once = events.front().is_end && events.front().error && !writer.stream_begun();
  std::string out;
  if (stream_ && !failed_at_once && !begun_) {
    begun_ = true;
    format_->begin(out);
  }
  for (Event& event : events) take(event, out);
  if (begun_ && !writer.stream_begun()) writer.begin_stream();
  if (error_) {
    if (!out.empty()) writer.write(out);  // what came before the error, however late it was seen
    return fail(HttpError::from(error_), writer);
  }
  if (num_ended_ == results_.size()) return finish(writer, out);
  if (stream_) writer.write(out);
}

void GenerationAnswer::take(Event& event, std::string& out) {
  const auto choice = static_cast<size_t>(event.choice);
  if (!event.is_end) {
    if (stream_) format_->output(out, event.choice, event.output);
    return;
  }
  ended_[choice] = true;
  ++num_ended_;
  if (!event.error && event.result.finish_reason == FinishReason::cancelled) {  // the engine is going away
    event.error = std::make_exception_ptr(HttpError::try_later(503, "draining", "the server is shutting down", 5));
  }
  if (event.error) {
    if (!error_) error_ = event.error;
    return;
  }
  metrics_.observe(event.result);
  if (stream_) format_->choice_end(out, event.choice, event.result);
  results_[choice] = std::move(event.result);
}

void GenerationAnswer::finish(ResponseWriter& writer, std::string& out) {
  over_ = true;
  if (!stream_) {
    const Json body = format_->whole(results_);
    return writer.respond({.body = body.dump(-1, ' ', false, Json::error_handler_t::replace)});
  }
  format_->end(out, results_);
  out += "data: [DONE]\n\n";
  writer.write(out);
  writer.end_stream();
}

void GenerationAnswer::fail(const HttpError& error, ResponseWriter& writer) {
  if (over_) return;
  over_ = true;
  cancel_all();
  format_->abandoned();
  if (!writer.stream_begun()) return writer.respond(error_response(error));
  writer.write("data: " + error.json() + "\n\n");
  writer.break_stream();
}

std::string GenerationAnswer::log_fields() const {
  int64_t prompt = 0, cached = 0, written = 0;
  for (const GenerationResult& result : results_) {
    prompt += result.prompt_tokens;
    cached += result.cached_tokens;
    written += static_cast<int64_t>(result.token_ids.size());
  }
  if (num_ended_ == 0 || error_) return ",\"ended\":false";
  const GenerationTimings& timings = results_.front().timings;
  char text[256];
  std::snprintf(text, sizeof(text),
                ",\"prompt_tokens\":%lld,\"cached_tokens\":%lld,\"completion_tokens\":%lld,\"queue_ms\":%.1f,"
                "\"ttft_ms\":%.1f,\"tokens_per_second\":%.1f",
                static_cast<long long>(prompt), static_cast<long long>(cached), static_cast<long long>(written),
                timings.queue_ms, timings.ttft_ms, timings.decode_tokens_per_second);
  return text;
}

std::string random_id(std::string_view prefix) {
  char bytes[16];
  if (::getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes)) throw std::runtime_error("no random bytes");
  return std::string(prefix) + to_hex({bytes, sizeof(bytes)});
}

}  // namespace qwin::server
