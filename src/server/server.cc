// SPDX-License-Identifier: Apache-2.0
#include "server/server.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>
#include <thread>
#include <vector>

#include "qwin/error.h"
#include "server/connection.h"
#include "server/log.h"

namespace qwin::server {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kTick{50};
// The most that one tick counts for: a process that was stopped for a minute has not waited a minute for anybody.
constexpr int64_t kMaxTickMs = 200;
constexpr int64_t kCutMs = 500;       // for error events to leave
constexpr int64_t kHealthMs = 1000;   // between two looks at the engine
constexpr int64_t kFailureMs = 5000;  // a broken server tells so for this long before it ends
constexpr int kNumWorkers = 2;
constexpr int64_t kMaxRefused = 64;  // connections beyond the limit that are told so

}  // namespace

struct Server::State {
  explicit State(const ServerOptions& options) : service(options), acceptor(io), ticker(io), signals(io) {}

  void listen();
  asio::awaitable<void> accept_connections();
  asio::awaitable<void> watch_time();
  asio::awaitable<void> watch_signals();
  void add_connection(tcp::socket socket);
  void tick(int64_t elapsed_ms);
  void watch_engine();
  void stop();
  void finish();

  Service service;
  asio::io_context io{1};
  asio::thread_pool workers{kNumWorkers};
  ConnectionContext context{service, io, workers};
  tcp::acceptor acceptor;
  asio::steady_timer ticker;
  asio::signal_set signals;
  std::vector<std::weak_ptr<Connection>> connections;
  int64_t drain_deadline_ms = 0, next_look_ms = 0, failed_ms = 0;
  std::atomic<bool> failed{false};
  bool finished = false;
  int port = 0;
  std::thread thread;
};

void Server::State::listen() {
  const ServerOptions& options = service.options();
  const std::string where = options.host + ":" + std::to_string(options.port);
  error_code error;
  tcp::resolver resolver(io);
  const std::string host = options.host == "[::1]" ? "::1" : options.host;
  const auto found = resolver.resolve(host, std::to_string(options.port), tcp::resolver::passive, error);
  if (error || found.empty())
    throw Error(ErrorCode::invalid_argument, "--host " + options.host + " is no address of this machine");
  const tcp::endpoint endpoint = found.begin()->endpoint();
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(4096, error);
  if (error) throw Error(ErrorCode::io, where + " cannot be listened on: " + error.message());
  port = acceptor.local_endpoint().port();
}

void Server::State::add_connection(tcp::socket socket) {
  const auto open = static_cast<int64_t>(connections.size());
  const int64_t limit = service.limits().connections;
  if (open >= limit + kMaxRefused) return;  // closed without a word
  const auto kind = open >= limit ? Connection::Kind::refused : Connection::Kind::served;
  const auto connection = std::make_shared<Connection>(context, std::move(socket), kind);
  connections.push_back(connection);
  connection->start();
}

asio::awaitable<void> Server::State::accept_connections() {
  while (!finished) {
    auto [error, socket] = co_await acceptor.async_accept(asio::as_tuple(asio::use_awaitable));
    if (error == asio::error::operation_aborted || finished) co_return;
    if (error) {  // no file descriptor is left, perhaps: others must end first
      asio::steady_timer pause(io, milliseconds(100));
      co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
      continue;
    }
    if (connections.size() >= static_cast<size_t>(service.limits().connections)) {
      std::erase_if(connections, [](const std::weak_ptr<Connection>& c) { return c.expired(); });
    }
    add_connection(std::move(socket));
  }
}

asio::awaitable<void> Server::State::watch_time() {
  auto last = std::chrono::steady_clock::now();
  while (!finished) {
    ticker.expires_after(kTick);
    co_await ticker.async_wait(asio::as_tuple(asio::use_awaitable));
    const auto now = std::chrono::steady_clock::now();
    tick(std::chrono::duration_cast<milliseconds>(now - last).count());
    last = now;
  }
}

void Server::State::tick(int64_t elapsed_ms) {
  context.now_ms += std::min(elapsed_ms, kMaxTickMs);
  std::erase_if(connections, [](const std::weak_ptr<Connection>& c) { return c.expired(); });
  watch_engine();
  if (service.draining() && context.now_ms >= drain_deadline_ms) context.cut = true;
  bool idle = context.num_answers == 0;
  for (size_t i = 0; i < connections.size(); ++i) {
    if (const auto connection = connections[i].lock()) {
      connection->tick();
      idle = idle && connection->idle();
    }
  }
  if (!service.draining()) return;
  if (idle || context.now_ms >= drain_deadline_ms + kCutMs) finish();
}

// An engine that broke down does not come back: the process ends, so that whoever watches over it starts it anew.
void Server::State::watch_engine() {
  if (failed) {
    if (!service.draining() && context.now_ms >= failed_ms + kFailureMs) stop();
    return;
  }
  if (!service.has_engine() || context.now_ms < next_look_ms) return;
  next_look_ms = context.now_ms + kHealthMs;
  const std::string failure = service.engine().stats().failure;
  if (failure.empty()) return;
  failed = true;
  failed_ms = context.now_ms;
  std::string reason = ",\"reason\":";
  append_json_string(reason, printable_ascii(failure, 256));
  write_log(LogLevel::warn, "the engine failed; the server ends", reason);
}

void Server::State::stop() {
  if (service.draining()) {  // asked twice: no more waiting
    drain_deadline_ms = context.now_ms;
    return;
  }
  service.set_draining();
  drain_deadline_ms = context.now_ms + service.limits().drain_seconds * 1000;
  write_log(LogLevel::info, "draining");
}

void Server::State::finish() {
  finished = true;
  error_code ignored;
  acceptor.close(ignored);
  signals.cancel(ignored);
  ticker.cancel();
  for (const auto& weak : connections) {
    if (const auto connection = weak.lock()) connection->close();
  }
}

asio::awaitable<void> Server::State::watch_signals() {
  while (!finished) {
    const auto [error, number] = co_await signals.async_wait(asio::as_tuple(asio::use_awaitable));
    if (error) co_return;
    if (number != SIGHUP) {
      stop();
      continue;
    }
    try {
      service.load_keys();
      write_log(LogLevel::info, "API keys read again");
    } catch (const Error&) {
      write_log(LogLevel::warn, "the API keys cannot be read again; the old ones stay");
    }
  }
}

Server::Server(const ServerOptions& options) : state_(std::make_unique<State>(options)) {
  state_->listen();
  asio::co_spawn(state_->io, state_->accept_connections(), asio::detached);
  asio::co_spawn(state_->io, state_->watch_time(), asio::detached);
  if (options.handle_signals) {
    // Here and not in the coroutine, which begins later: who reads the address may send a signal at once.
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) state_->signals.add(number);
    asio::co_spawn(state_->io, state_->watch_signals(), asio::detached);
  }
  state_->thread = std::thread([state = state_.get()] { state->io.run(); });
}

Server::~Server() {
  if (!state_->thread.joinable()) return;
  stop();
  stop();
  wait();
}

int Server::port() const { return state_->port; }

std::string Server::url() const {
  const std::string& host = state_->service.options().host;
  return "http://" + (host == "::1" ? "[::1]" : host) + ":" + std::to_string(port());
}

void Server::set_engine(std::unique_ptr<Engine> engine) { state_->service.set_engine(std::move(engine)); }

void Server::stop() {
  asio::post(state_->io, [state = state_.get()] { state->stop(); });
}

bool Server::failed() const { return state_->failed; }

bool Server::stopping() const { return state_->service.draining(); }

void Server::wait() {
  if (state_->thread.joinable()) state_->thread.join();
  state_->workers.join();
  state_->io.restart();
  state_->io.poll();  // what the workers made in the last moment is let go
  state_->service.drop_engine();
}

}  // namespace qwin::server
