// SPDX-License-Identifier: Apache-2.0
// A response that takes time. The connection drives it on the I/O thread; what happens on the engine's thread only
// wakes the connection.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <variant>

#include "server/http_error.h"
#include "server/http_message.h"

namespace qwin::server {

// Where an Answer puts its response: either one respond(), or begin_stream(), write()… and end_stream().
class ResponseWriter {
 public:
  virtual ~ResponseWriter() = default;
  virtual void respond(HttpResponse response) = 0;
  virtual bool stream_begun() const = 0;
  virtual void begin_stream() = 0;  // 200, text/event-stream
  virtual void write(std::string_view text) = 0;
  virtual void end_stream() = 0;
  virtual void break_stream() = 0;  // ends it, and the connection with it
};

class Answer {
 public:
  // Destroying an answer that has not ended cancels its requests.
  virtual ~Answer() = default;
  // `wake` may be called on any thread, whenever advance() has something to do.
  virtual void attach(std::function<void()> wake) = 0;
  // Writes what there is to write.
  virtual void advance(ResponseWriter& writer) = 0;
  // Ends with this error: as the response if nothing was written yet, else as the stream's last event.
  virtual void fail(const HttpError& error, ResponseWriter& writer) = 0;
  // Its reader takes nothing: its requests stay out of the engine's steps.
  virtual void hold(bool held) = 0;
  virtual bool is_stream() const = 0;
  // No step has been done for it yet.
  virtual bool queued() const = 0;
  // What the log says about it: `,"key":value` pairs.
  virtual std::string log_fields() const { return {}; }
};

using Outcome = std::variant<HttpResponse, std::unique_ptr<Answer>>;

}  // namespace qwin::server
