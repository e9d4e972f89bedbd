// SPDX-License-Identifier: Apache-2.0
// How a connection puts responses on the wire.
#include <cstdio>

#include "server/connection.h"
#include "server/log.h"

namespace qwin::server {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr int64_t kLingerSeconds = 2;
constexpr int64_t kLingerBytes = 1 << 20;

// A chunk of HTTP/1.1.
void append_chunk(std::string& out, std::string_view data) {
  char size[24];
  out.append(size, static_cast<size_t>(std::snprintf(size, sizeof(size), "%zx\r\n", data.size())));
  out += data;
  out += "\r\n";
}

}  // namespace

// A head without a known length: chunks in HTTP/1.1, the end of the connection in HTTP/1.0.
void Connection::put_head(int status, std::string_view fields) {
  status_ = status;
  chunked_ = request_.version == 11;
  if (!chunked_ || eof_ || context_.service.draining()) keep_alive_ = false;
  std::string head = status_line(status);
  head += fields;
  for (const auto& [name, value] : context_.service.common_headers(request_)) head += name + ": " + value + "\r\n";
  if (chunked_) head += "Transfer-Encoding: chunked\r\n";
  head += keep_alive_ ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  send(head);
}

void Connection::begin_stream() {
  put_head(200, "Content-Type: text/event-stream; charset=utf-8\r\nX-Accel-Buffering: no\r\n");
  stream_begun_ = true;
}

void Connection::flush_chunk() {
  if (chunk_.empty() && !(finished_ && chunked_)) return;
  const std::string chunk = std::exchange(chunk_, {});  // its memory too: there may be thousands who wait
  if (!chunked_) return send(chunk);
  std::string framed;
  if (!chunk.empty()) append_chunk(framed, chunk);
  if (finished_) framed += "0\r\n\r\n";
  send(framed);
}

void Connection::end_stream() { finished_ = true; }

void Connection::break_stream() {
  finished_ = true;
  keep_alive_ = false;
}

void Connection::respond(HttpResponse response) {
  finished_ = true;
  if (early_head_) {  // 200 has been said
    if (response.status != 200) {
      status_ = response.status;
      keep_alive_ = chunked_ = false;  // cut off: the client sees no end
      return;
    }
    chunk_ = std::move(response.body);
    return;
  }
  status_ = response.status;
  if (eof_ || context_.service.draining()) keep_alive_ = false;
  std::string head = status_line(status_);
  if (status_ != 204 && status_ != 304) {
    head += "Content-Type: " + response.content_type + "\r\n";
    head += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
  }
  for (const auto& [name, value] : response.headers) head += name + ": " + value + "\r\n";
  for (const auto& [name, value] : context_.service.common_headers(request_)) head += name + ": " + value + "\r\n";
  head += keep_alive_ ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  if (request_.method != "HEAD") head += response.body;
  send(head);
}

void Connection::fail_request(const HttpError& error) {
  respond(error_response(error));
  log_request("");
}

Connection::Task Connection::refuse_connection() {
  keep_alive_ = false;
  respond(error_response(HttpError::try_later(503, "too_many_connections", "the server has too many connections", 1)));
  co_await finish_output();
  co_await linger();
}

// Closing with unread input would make the system throw away the response on its way.
Connection::Task Connection::linger() {
  if (broken_ || status_ == 0) co_return;
  error_code ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  timed_out_ = false;
  arm(Wait::linger, kLingerSeconds);
  int64_t thrown_away = 0;
  while (!broken_ && !eof_ && !timed_out_ && thrown_away < kLingerBytes && !context_.cut) {
    thrown_away += static_cast<int64_t>(input_.size());
    input_.clear();
    start_read();
    co_await changed();
  }
}

void Connection::log_request(std::string_view more) const {
  if (!log_enabled(LogLevel::info)) return;
  std::string line = ",\"method\":";
  append_json_string(line, printable_ascii(request_.method, 16));
  line += ",\"path\":";
  append_json_string(line, printable_ascii(request_.path, 64));
  const auto elapsed = std::chrono::steady_clock::now() - begun_;
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(elapsed).count();
  line += ",\"status\":" + std::to_string(status_) + ",\"ms\":" + std::to_string(ms);
  if (!admission_.principal.key_id.empty()) line += ",\"key\":\"" + admission_.principal.key_id + "\"";
  line += more;
  write_log(LogLevel::info, "request", line);
}

}  // namespace qwin::server
