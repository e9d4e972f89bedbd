// SPDX-License-Identifier: Apache-2.0
// The HTTP server around an engine: one thread of input and output, two that prepare requests.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "qwin/engine.h"
#include "server/limits.h"

namespace qwin::server {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;  // 0: any free one
  Limits limits = {};
  std::string api_key_file = {};
  std::string api_key = {};    // from the environment, never from the command line
  bool allow_no_auth = false;  // serve other hosts without a key
  std::vector<std::string> allowed_origins = {};
  std::string model_name = {};     // what clients call the model, beside the model's own name
  std::string chat_database = {};  // a file for the conversations of /chat; empty: kept in memory
  bool handle_signals = true;      // SIGTERM and SIGINT drain, SIGHUP reads the keys again
};

// Thread-safe.
class Server {
 public:
  // Listens and answers from now on, 503 `loading` where a model is needed. Throws Error: invalid_argument for options
  // that cannot be served, io when the address cannot be used.
  explicit Server(const ServerOptions& options);
  ~Server();

  int port() const;
  // "http://127.0.0.1:8080"
  std::string url() const;
  void set_engine(std::unique_ptr<Engine> engine);
  // Drain: running requests end, queued and new ones get 503. A second time: running ones end with an error event.
  void stop();
  bool stopping() const;
  // It stops, or has stopped, because the engine broke down.
  bool failed() const;
  // Returns when all is drained and every connection closed.
  void wait();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qwin::server
