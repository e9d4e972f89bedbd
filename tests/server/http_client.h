// SPDX-License-Identifier: Apache-2.0
// A raw client for the server's tests: sends exactly the bytes it is given and reads what comes back.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/json.h"

namespace qwin::server {

struct Reply {
  int status = 0;
  std::string head, body;

  std::string header(const std::string& name) const {
    const size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "";
    const size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
  Json json() const { return Json::parse(body); }
  std::string code() const { return json()["error"]["code"]; }
  std::string param() const { return json()["error"]["param"].is_null() ? "" : json()["error"]["param"]; }
  // The data of each event of a stream.
  std::vector<std::string> events() const {
    std::vector<std::string> found;
    for (size_t at = 0; at < body.size();) {
      const size_t end = body.find("\n\n", at);
      if (end == std::string::npos) throw std::runtime_error("an event has no end: " + body.substr(at));
      const std::string event = body.substr(at, end - at);
      if (event.starts_with("data: "))
        found.push_back(event.substr(6));
      else if (!event.starts_with(": "))
        throw std::runtime_error("no event: " + event);
      at = end + 2;
    }
    return found;
  }
};

class HttpClient {
 public:
  explicit HttpClient(int port, int receive_buffer = 0) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0) ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      throw std::runtime_error("cannot connect");
    }
  }
  ~HttpClient() { close(); }
  HttpClient(const HttpClient&) = delete;

  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }
  void shut_down_writing() { ::shutdown(socket_, SHUT_WR); }
  // False when the server has closed.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(count));
    }
    return true;
  }
  // More bytes; false at the end, or when none come for so long.
  bool receive(int timeout_ms = 10000) {
    pollfd state{socket_, POLLIN, 0};
    if (::poll(&state, 1, timeout_ms) <= 0) {
      timed_out_ = true;
      return false;
    }
    char buffer[16384];
    const ssize_t count = ::recv(socket_, buffer, sizeof(buffer), 0);
    if (count <= 0) return false;
    input_.append(buffer, static_cast<size_t>(count));
    return true;
  }
  // The next response, whole.
  Reply read_reply(bool is_head = false) {
    while (input_.find("\r\n\r\n") == std::string::npos) {
      if (!receive()) throw std::runtime_error("no response, but: " + input_);
    }
    Reply reply;
    const size_t end = input_.find("\r\n\r\n");
    reply.head = input_.substr(0, end + 2);
    input_.erase(0, end + 4);
    reply.status = std::stoi(reply.head.substr(9, 3));
    if (reply.status == 100) return read_reply(is_head);
    if (is_head || reply.status == 204) return reply;
    if (reply.header("Transfer-Encoding") == "chunked") {
      while (read_chunk(reply.body)) {
      }
    } else if (const std::string length = reply.header("Content-Length"); !length.empty()) {
      take(reply.body, std::stoul(length));
    } else {
      while (receive()) {
      }
      reply.body = std::exchange(input_, {});
    }
    return reply;
  }
  bool closed_by_server(int timeout_ms = 10000) {
    timed_out_ = false;
    while (receive(timeout_ms)) {
    }
    return !timed_out_;
  }
  std::string& input() { return input_; }

 private:
  void take(std::string& out, size_t count) {
    while (input_.size() < count) {
      if (!receive()) throw std::runtime_error("the body is cut off");
    }
    out += input_.substr(0, count);
    input_.erase(0, count);
  }
  bool read_chunk(std::string& out) {
    while (input_.find("\r\n") == std::string::npos) {
      if (!receive()) throw std::runtime_error("a chunk is cut off after: " + out);
    }
    const size_t size = std::stoul(input_, nullptr, 16);
    input_.erase(0, input_.find("\r\n") + 2);
    take(out, size);
    std::string end;
    take(end, 2);
    return size > 0;
  }

  int socket_;
  std::string input_;
  bool timed_out_ = false;
};

inline std::string get_request(const std::string& path, const std::string& headers = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n";
}

inline std::string post_request(const std::string& path, const std::string& body, const std::string& headers = "") {
  return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n" + headers + "\r\n" + body;
}

}  // namespace qwin::server
