// SPDX-License-Identifier: Apache-2.0
// An answer made by the engine: one request of the engine a choice, their outputs collected on the engine's thread and
// written out on the I/O thread, in the form that the endpoint asks for.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "qwin/engine.h"
#include "server/answer.h"
#include "server/json.h"
#include "server/metrics.h"

namespace qwin::server {

// The wire form of one answer. I/O thread only.
class AnswerFormat {
 public:
  virtual ~AnswerFormat() = default;
  // Events of a stream, appended to `out`, each a "data: …\n\n".
  virtual void begin(std::string& out) = 0;
  virtual void output(std::string& out, int choice, const Output& output) = 0;
  virtual void choice_end(std::string& out, int choice, const GenerationResult& result) = 0;
  // Without the final [DONE]. `results`: one a choice.
  virtual void end(std::string& out, std::span<const GenerationResult> results) = 0;
  // The body of an answer that is not streamed.
  virtual Json whole(std::span<const GenerationResult> results) = 0;
  // The client left, or the answer failed: what was written is all there will be.
  virtual void abandoned() {}
};

class GenerationAnswer final : public Answer {
 public:
  // Throws Error or HttpError; then nothing is left running.
  GenerationAnswer(Engine& engine, Metrics& metrics, std::vector<Request> requests, bool stream,
                   std::unique_ptr<AnswerFormat> format);
  ~GenerationAnswer() override;

  void attach(std::function<void()> wake) override;
  void advance(ResponseWriter& writer) override;
  void fail(const HttpError& error, ResponseWriter& writer) override;
  void hold(bool held) override;
  bool is_stream() const override { return stream_; }
  bool queued() const override;
  std::string log_fields() const override;

 private:
  struct Event;
  struct Mailbox;

  RequestEvents events_of(int choice);
  void cancel_all();
  void take(Event& event, std::string& out);
  void finish(ResponseWriter& writer, std::string& out);

  Engine& engine_;
  Metrics& metrics_;
  bool stream_;
  std::unique_ptr<AnswerFormat> format_;
  std::shared_ptr<Mailbox> mailbox_;  // shared with the engine's thread
  std::vector<RequestId> ids_;
  std::vector<GenerationResult> results_;
  std::vector<bool> ended_;
  size_t num_ended_ = 0;
  std::exception_ptr error_;
  bool begun_ = false, over_ = false;
};

// "chatcmpl-" and the like, with 128 random bits behind it.
std::string random_id(std::string_view prefix);

}  // namespace qwin::server
