// SPDX-License-Identifier: Apache-2.0
#include "server/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace qwin::server {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kMaxPipelinedBytes = 128 << 10;  // read ahead while a request is answered
constexpr int64_t kMaxUnwantedBody = 64 << 10;

// A peer that vanished without a word is noticed by the system.
void set_keep_alive(int fd, int64_t seconds) {
  const int idle = 30, interval = 10, count = 3, unacknowledged_ms = static_cast<int>(2 * seconds * 1000);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, sizeof(unacknowledged_ms));
}

}  // namespace

Connection::Connection(ConnectionContext& context, asio::ip::tcp::socket socket, Kind kind)
    : context_(context),
      limits_(context.service.limits()),
      socket_(std::move(socket)),
      signal_(context.io, asio::steady_timer::time_point::max()),
      kind_(kind) {
  error_code ignored;
  socket_.non_blocking(true, ignored);
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  socket_.set_option(asio::socket_base::keep_alive(true), ignored);
  set_keep_alive(socket_.native_handle(), limits_.stall_seconds);
  // The system doubles what it is asked for.
  socket_.set_option(asio::socket_base::send_buffer_size(static_cast<int>(limits_.socket_buffer_bytes / 2)), ignored);
  const auto endpoint = socket_.remote_endpoint(ignored);
  if (!ignored) peer_ = endpoint.address().to_string();
}

Connection::~Connection() { release_body(); }

void Connection::start() {
  asio::co_spawn(context_.io, [self = shared_from_this()] { return self->run(); }, asio::detached);
}

Connection::Task Connection::run() {
  if (kind_ == Kind::refused) {
    co_await refuse_connection();
  } else {
    co_await serve_requests();
  }
  close();
}

void Connection::close() {
  error_code ignored;
  socket_.close(ignored);
  broken_ = true;
  notify();
}

// --- waiting --------------------------------------------------------------------------------------------------------

void Connection::notify() {
  notified_ = true;
  signal_.cancel();
}

Connection::Task Connection::changed() {
  if (!notified_) co_await signal_.async_wait(asio::as_tuple(asio::use_awaitable));
  notified_ = false;
}

void Connection::arm(Wait wait, int64_t seconds) {
  wait_ = wait;
  deadline_ms_ = context_.now_ms + seconds * 1000;
}

void Connection::tick() {
  if (wait_ != Wait::none && context_.now_ms >= deadline_ms_ && !timed_out_) {
    timed_out_ = true;
    notify();
  }
  const int64_t body_ms = context_.now_ms - body_begun_ms_;
  if (wait_ == Wait::body && body_ms > limits_.body_gap_seconds * 1000 &&
      reader_->body_bytes_read() * 1000 < limits_.body_bytes_per_second * body_ms) {
    timed_out_ = true;
    notify();
  }
  if (ping_wanted_ && context_.now_ms - last_write_ms_ >= limits_.ping_seconds * 1000) {
    ping_due_ = true;
    notify();
  }
  if (busy_ && (context_.cut || context_.service.draining())) notify();
  if (wait_ == Wait::idle && context_.service.draining() && context_.num_answers == 0) notify();
  check_stall();
}

// A reader that takes almost nothing while data waits for it is closed.
void Connection::check_stall() {
  if (unsent_.empty()) {
    stall_begun_ms_ = -1;
    return;
  }
  if (stall_begun_ms_ < 0 || taken_ - taken_at_stall_ >= static_cast<uint64_t>(limits_.stall_bytes)) {
    stall_begun_ms_ = context_.now_ms;
    taken_at_stall_ = taken_;
  } else if (context_.now_ms - stall_begun_ms_ >= limits_.stall_seconds * 1000) {
    context_.service.metrics().streams_stalled->Increment();
    error_code ignored;
    socket_.set_option(asio::socket_base::linger(true, 0), ignored);  // what it will not read is dropped
    close();
  }
}

// --- bytes in and out -----------------------------------------------------------------------------------------------

void Connection::start_read() {
  if (reading_ || eof_ || broken_ || input_.size() >= kMaxPipelinedBytes) return;
  reading_ = true;
  socket_.async_wait(asio::socket_base::wait_read, [self = shared_from_this()](error_code error) {
    self->reading_ = false;
    if (error) {
      self->broken_ = true;
    } else {
      self->read_some();
    }
    self->notify();
  });
}

void Connection::read_some() {
  static thread_local char buffer[kReadBytes];
  error_code error;
  const size_t count = socket_.read_some(asio::buffer(buffer), error);
  input_.append(buffer, count);
  if (error == asio::error::eof) {
    eof_ = true;
  } else if (error && error != asio::error::would_block && error != asio::error::try_again) {
    broken_ = true;
  }
}

void Connection::send(std::string_view bytes) {
  if (broken_) return;
  unsent_.append(bytes);
  last_write_ms_ = context_.now_ms;
  ping_due_ = false;
  if (!writing_) write_some();
}

void Connection::write_some() {
  while (!unsent_.empty() && !broken_) {
    error_code error;
    const std::string_view bytes = unsent_.front();
    const size_t count = socket_.write_some(asio::buffer(bytes.data(), bytes.size()), error);
    unsent_.consume(count);
    taken_ += count;
    if (error == asio::error::would_block || error == asio::error::try_again) {
      writing_ = true;
      socket_.async_wait(asio::socket_base::wait_write, [self = shared_from_this()](error_code wait_error) {
        self->writing_ = false;
        if (wait_error) {
          self->broken_ = true;
        } else {
          self->write_some();
        }
        self->notify();
      });
      return;
    }
    if (error) {
      broken_ = true;
      notify();
    }
  }
}

Connection::Task Connection::finish_output() {
  while (!unsent_.empty() && !broken_) co_await changed();
}

// --- requests -------------------------------------------------------------------------------------------------------

Connection::Task Connection::serve_requests() {
  bool first = true;
  while (!broken_ && keep_alive_) {
    reader_.emplace(limits_);
    arm(first ? Wait::head : Wait::idle, first ? limits_.header_seconds : limits_.idle_seconds);
    first = false;
    if (!co_await read_request()) break;
    wait_ = Wait::none;
    if (status_ == 0) co_await handle_request();
    busy_ = false;
    release_body();
  }
  wait_ = Wait::none;
  co_await finish_output();
  co_await linger();
}

// True when a request is there, perhaps one that was refused and answered already; false when the connection is done.
asio::awaitable<bool> Connection::read_request() {
  begun_ = std::chrono::steady_clock::now();
  status_ = 0;
  finished_ = stream_begun_ = early_head_ = chunked_ = probed_ = timed_out_ = false;
  request_ = {};
  try {
    while (input_.empty() || reader_->feed(input_) == RequestReader::Need::head) {
      if (broken_ || eof_) co_return false;
      if (wait_ == Wait::idle && !input_.empty()) arm(Wait::head, limits_.header_seconds);
      if (wait_ == Wait::idle && context_.service.draining() && context_.num_answers == 0) co_return false;
      if (timed_out_ && input_.empty()) co_return false;
      if (timed_out_) throw HttpError(408, "request_timeout", "the head of the request came too slowly");
      start_read();
      co_await changed();
    }
    busy_ = true;
    begun_ = std::chrono::steady_clock::now();
    request_.method = reader_->request().method;
    request_.path = reader_->request().path;
    reader_->request().peer = peer_;
    const std::optional<HttpError> refusal = screen();
    // A small body is read even so, and the connection can go on.
    if (refusal && reader_->body_bytes_expected() > kMaxUnwantedBody) throw *refusal;
    if (reader_->request().has_body && !co_await read_body()) co_return false;
    request_ = std::move(reader_->request());
    keep_alive_ = request_.keep_alive;
    if (refusal) fail_request(*refusal);
  } catch (const HttpError& error) {
    keep_alive_ = false;
    fail_request(error);
    co_return false;
  }
  co_return true;
}

std::optional<HttpError> Connection::screen() {
  try {
    admission_ = context_.service.screen(reader_->request());
    return std::nullopt;
  } catch (const HttpError& error) {
    return error;
  }
}

asio::awaitable<bool> Connection::read_body() {
  if (reader_->expects_continue() && input_.empty()) send("HTTP/1.1 100 Continue\r\n\r\n");
  body_begun_ms_ = context_.now_ms;
  arm(Wait::body, limits_.body_gap_seconds);
  while (reader_->feed(input_) != RequestReader::Need::nothing) {
    if (broken_ || eof_) co_return false;
    if (timed_out_) throw HttpError(408, "request_timeout", "the body came too slowly");
    reserve_body();
    const int64_t before = reader_->body_bytes_read();
    start_read();
    co_await changed();
    if (!input_.empty() || reader_->body_bytes_read() != before) arm(Wait::body, limits_.body_gap_seconds);
  }
  reserve_body();
  co_return true;
}

// All bodies together stay below a limit, so that no crowd of uploads fills the memory.
void Connection::reserve_body() {
  const int64_t more = static_cast<int64_t>(reader_->request().body.size()) - body_reserved_;
  if (context_.bodies_bytes + more > limits_.bodies_bytes) {
    throw HttpError::try_later(503, "out_of_memory", "too many large requests are coming in", 1);
  }
  context_.bodies_bytes += more;
  body_reserved_ += more;
}

void Connection::release_body() {
  context_.bodies_bytes -= body_reserved_;
  body_reserved_ = 0;
}

Connection::Task Connection::handle_request() {
  std::optional<Outcome> outcome;
  if (!admission_.route) {
    outcome = std::move(admission_.response);
  } else if (admission_.route->on_worker) {
    co_await prepare_on_worker(outcome);
  } else {
    try {
      outcome = context_.service.handle(admission_, request_);
    } catch (...) {
      outcome = error_response(HttpError::from(std::current_exception()));
    }
  }
  if (broken_ || !outcome) co_return;
  std::string log;
  if (auto* response = std::get_if<HttpResponse>(&*outcome)) {
    respond(std::move(*response));
  } else {
    Answer& answer = *std::get<std::unique_ptr<Answer>>(*outcome);
    ++context_.num_answers;
    co_await drive(answer);
    --context_.num_answers;
    log = answer.log_fields();
  }
  log_request(log);
  co_await finish_output();
}

Connection::Task Connection::prepare_on_worker(std::optional<Outcome>& outcome) {
  // Shared with the worker, who may outlive this connection.
  struct Work {
    Admission admission;
    HttpRequest request;
    std::optional<Outcome> outcome;
  };
  const auto work = std::make_shared<Work>(Work{admission_, std::move(request_), std::nullopt});
  request_ = {.method = work->request.method, .path = work->request.path, .headers = work->request.headers};
  request_.version = work->request.version;
  ++context_.num_answers;
  asio::post(context_.workers, [&context = context_, work, weak = weak_from_this()] {
    Outcome result;
    try {
      result = context.service.handle(work->admission, work->request);
    } catch (...) {
      result = error_response(HttpError::from(std::current_exception()));
    }
    asio::post(context.io, [work, weak, &context, made = std::make_shared<Outcome>(std::move(result))]() mutable {
      --context.num_answers;
      const auto self = weak.lock();
      if (!self) return;
      work->outcome = std::move(*made);
      self->notify();
    });
  });
  while (!work->outcome) {
    if (broken_) co_return;
    start_read();
    co_await changed();
  }
  outcome = std::move(work->outcome);
}

Connection::Task Connection::drive(Answer& answer) {
  const auto high = static_cast<size_t>(limits_.stream_buffer_bytes) * 7 / 8;
  const auto low = static_cast<size_t>(limits_.stream_buffer_bytes) / 4;
  bool held = false;
  last_write_ms_ = context_.now_ms;
  ping_wanted_ = answer.is_stream();
  answer.attach([&io = context_.io, weak = weak_from_this()] {
    asio::post(io, [weak] {
      if (const auto self = weak.lock()) self->notify();
    });
  });
  while (!broken_) {
    if (context_.cut || (context_.service.draining() && answer.queued())) {
      answer.fail(HttpError::try_later(503, "draining", "the server is shutting down", 5), *this);
    } else {
      answer.advance(*this);
    }
    if (!finished_ && eof_ && !probed_) probe_half_closed(answer.is_stream());
    if (!finished_ && ping_due_) {
      if (!stream_begun_) begin_stream();
      write(": ping\n\n");
    }
    flush_chunk();
    if (finished_) break;
    if (unsent_.size() >= high && !held) answer.hold(held = true);
    if (unsent_.size() < low && held) answer.hold(held = false);
    start_read();
    co_await changed();
  }
  ping_wanted_ = false;
}

// A client that shuts down its sending side may wait for the answer, or be gone: writing the beginning of the response
// makes the system of one that is gone say so.
void Connection::probe_half_closed(bool is_stream) {
  probed_ = true;
  if (is_stream) {
    if (!stream_begun_) begin_stream();
    write(": ping\n\n");
  } else {
    early_head_ = true;
    put_head(200, "Content-Type: application/json\r\n");
  }
  watch_half_closed();
}

void Connection::watch_half_closed() {
  const auto timer = std::make_shared<asio::steady_timer>(context_.io, std::chrono::milliseconds(10));
  timer->async_wait([self = shared_from_this(), timer](error_code) {
    if (self->broken_ || self->finished_) return;
    pollfd state{self->socket_.native_handle(), 0, 0};
    if (::poll(&state, 1, 0) > 0 && (state.revents & (POLLERR | POLLHUP)) != 0) {
      self->broken_ = true;
      self->notify();
    } else {
      self->watch_half_closed();
    }
  });
}

}  // namespace qwin::server
