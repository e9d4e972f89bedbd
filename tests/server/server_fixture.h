// SPDX-License-Identifier: Apache-2.0
// A server on a free port around a FakeEngine.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "server/fake_engine.h"
#include "server/http_client.h"
#include "server/server.h"

namespace qwin::server {

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    options_.port = 0;
    options_.handle_signals = false;
  }
  ~ServerTest() override {
    if (server_) server_->stop(), server_->stop(), server_->wait();
  }

  void start(FakeEngine::Script script = {}) {
    server_ = std::make_unique<Server>(options_);
    auto engine = std::make_unique<FakeEngine>(std::move(script));
    engine_ = engine.get();
    server_->set_engine(std::move(engine));
  }
  int port() const { return server_->port(); }
  // One request on a connection of its own.
  Reply ask(const std::string& request, bool is_head = false) const {
    HttpClient client(port());
    client.send(request);
    return client.read_reply(is_head);
  }
  Reply post(const std::string& path, const std::string& body, const std::string& headers = "") const {
    return ask(post_request(path, body, headers));
  }
  Reply get(const std::string& path, const std::string& headers = "") const { return ask(get_request(path, headers)); }

  // Waits until it is so; false after ten seconds.
  template <typename Condition>
  static bool eventually(const Condition& condition) {
    for (int i = 0; i < 2000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  ServerOptions options_;
  std::unique_ptr<Server> server_;
  FakeEngine* engine_ = nullptr;  // the server's
};

inline constexpr const char* kChat = R"({"messages":[{"role":"user","content":"Hi"}]})";
inline constexpr const char* kStreamedChat = R"({"messages":[{"role":"user","content":"Hi"}],"stream":true})";

// kChat with more or other fields.
inline Json chat_with(const Json& more) {
  Json body = Json::parse(kChat);
  body.update(more);
  return body;
}

}  // namespace qwin::server
