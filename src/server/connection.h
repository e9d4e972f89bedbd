// SPDX-License-Identifier: Apache-2.0
// One client's connection: a coroutine that reads a request, has it answered and goes on, with a read always pending
// (so that a client that leaves is seen) and a bounded buffer of what it has not taken yet. I/O thread only.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "server/answer.h"
#include "server/request_reader.h"
#include "server/send_buffer.h"
#include "server/service.h"

namespace qwin::server {

// What all connections share.
struct ConnectionContext {
  Service& service;
  boost::asio::io_context& io;
  boost::asio::thread_pool& workers;
  int64_t now_ms = 0;        // of the server's own time, which stands still while the process is stopped
  int64_t bodies_bytes = 0;  // of bodies that are being read or handled
  int num_answers = 0;       // that have not ended
  bool cut = false;          // the drain limit is over
};

class Connection final : public ResponseWriter, public std::enable_shared_from_this<Connection> {
 public:
  enum class Kind { served, refused };  // refused: gets 503, since there are too many

  Connection(ConnectionContext& context, boost::asio::ip::tcp::socket socket, Kind kind);
  ~Connection() override;

  void start();
  // Deadlines, pings, and what drain asks for; a few times a second.
  void tick();
  void close();
  bool idle() const { return !busy_; }

  void respond(HttpResponse response) override;
  bool stream_begun() const override { return stream_begun_; }
  void begin_stream() override;
  void write(std::string_view text) override { chunk_ += text; }
  void end_stream() override;
  void break_stream() override;

 private:
  using Task = boost::asio::awaitable<void>;
  enum class Wait { none, idle, head, body, linger };

  Task run();
  Task serve_requests();
  Task refuse_connection();
  boost::asio::awaitable<bool> read_request();
  boost::asio::awaitable<bool> read_body();
  std::optional<HttpError> screen();
  Task handle_request();
  Task prepare_on_worker(std::optional<Outcome>& outcome);
  Task drive(Answer& answer);
  Task finish_output();
  Task linger();
  Task changed();  // returns when something happened since the last time

  void notify();
  void arm(Wait wait, int64_t seconds);
  void start_read();
  void read_some();
  void watch_half_closed();
  void probe_half_closed(bool is_stream);
  void send(std::string_view bytes);
  void write_some();
  void flush_chunk();
  void put_head(int status, std::string_view fields);
  void check_stall();
  void fail_request(const HttpError& error);
  void reserve_body();
  void release_body();
  void log_request(std::string_view more) const;

  ConnectionContext& context_;
  const Limits& limits_;
  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer signal_;  // never expires: cancelled to wake the coroutine
  Kind kind_;
  std::string peer_;

  bool notified_ = false, broken_ = false, eof_ = false, reading_ = false, writing_ = false;
  bool busy_ = false;  // with a request
  bool keep_alive_ = true;
  std::string input_;
  std::optional<RequestReader> reader_;
  HttpRequest request_;
  Admission admission_;

  Wait wait_ = Wait::none;
  bool timed_out_ = false;
  int64_t deadline_ms_ = 0, body_begun_ms_ = 0;
  int64_t body_reserved_ = 0;

  // The response.
  SendBuffer unsent_;
  std::string chunk_;  // written since the last flush_chunk()
  bool stream_begun_ = false, early_head_ = false, finished_ = false, chunked_ = false, probed_ = false;
  int status_ = 0;
  int64_t last_write_ms_ = 0;
  std::chrono::steady_clock::time_point begun_ = {};
  bool ping_due_ = false, ping_wanted_ = false;
  int64_t stall_begun_ms_ = -1;
  uint64_t taken_ = 0, taken_at_stall_ = 0;  // bytes the reader took
};

}  // namespace qwin::server
