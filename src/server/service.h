// SPDX-License-Identifier: Apache-2.0
// What the server does, without sockets: routes, access, handlers. The connection asks screen() when the head of a
// request is there, then handle() with the body.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "qwin/engine.h"
#include "server/access.h"
#include "server/answer.h"
#include "server/chat_store.h"
#include "server/limits.h"
#include "server/metrics.h"
#include "server/rate_limit.h"
#include "server/server.h"

namespace qwin::server {

// Who asks. Without keys everyone is the same owner, and clients differ by address.
struct Principal {
  std::string key_id;  // empty without keys
  std::string client;  // shares the machine evenly with other clients
};

struct Route;

// A request that may be handled: what screen() found out.
struct Admission {
  const Route* route = nullptr;  // nullptr: answer with `response` at once
  HttpResponse response;
  Principal principal;
  std::string parameter;  // what stands for {id} in the route's path
};

class Service;
using Handler = Outcome (*)(Service& service, const Admission& admission, const HttpRequest& request);

struct Route {
  const char* method;
  const char* path;     // "/chat/sessions/{id}": one parameter, at the end
  const char* summary;  // for /openapi.json
  Handler handler;
  bool open = false;       // needs no key
  bool on_worker = false;  // may take more than a moment
  bool generates = false;  // counts for the rate limit
};

class Service {
 public:
  explicit Service(const ServerOptions& options);

  // Throws HttpError. On the I/O thread.
  Admission screen(const HttpRequest& request);
  // On the I/O thread, or a worker's where admission.route->on_worker. Throws HttpError or Error.
  Outcome handle(const Admission& admission, const HttpRequest& request);
  // The headers every response to this request gets.
  std::vector<NameValue> common_headers(const HttpRequest& request) const;

  void set_engine(std::unique_ptr<Engine> engine);
  void drop_engine();
  bool has_engine() const { return ready_.load(); }
  // Throws HttpError 503 loading.
  Engine& engine() const;
  // The names that a request's "model" may have; the first is shown.
  std::vector<std::string> model_names() const;

  void load_keys();  // again with each SIGHUP, on the I/O thread
  const ServerOptions& options() const { return options_; }
  const Limits& limits() const { return options_.limits; }
  const KeyStore& keys() const { return keys_; }
  ChatStore& chats() const { return *chats_; }
  Metrics& metrics() { return metrics_; }
  void set_draining() { draining_ = true; }
  bool draining() const { return draining_; }

 private:
  ServerOptions options_;
  BrowserRules browser_rules_;
  KeyStore keys_;
  RateLimit rate_limit_;
  std::unique_ptr<ChatStore> chats_;
  Metrics metrics_;
  std::unique_ptr<Engine> engine_;
  std::atomic<bool> ready_{false};  // engine_ is there and stays
  std::atomic<bool> draining_{false};
};

std::span<const Route> routes();
bool route_matches(const Route& route, std::string_view path, std::string& parameter);

}  // namespace qwin::server
