// SPDX-License-Identifier: Apache-2.0
// Every refusal of the server: a status, a code from the contract, a message that names what is wrong.
#pragma once

#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace qwin::server {

class HttpError : public std::exception {
 public:
  HttpError(int status, std::string code, std::string message, std::string param = "")
      : status_(status), code_(std::move(code)), message_(std::move(message)), param_(std::move(param)) {}

  static HttpError bad_request(std::string message, std::string param = "") {
    return {400, "invalid_request_error", std::move(message), std::move(param)};
  }
  // 503 or 429, with the seconds after which a new try makes sense.
  static HttpError try_later(int status, std::string code, std::string message, double seconds);
  // What any exception of the engine or of our own code means to a client. Only an Error's text and ours are shown.
  static HttpError from(const std::exception_ptr& exception);

  // A header of the response that the status asks for.
  HttpError with_header(std::string name, std::string value) &&;

  int status() const { return status_; }
  const std::string& code() const { return code_; }
  const char* what() const noexcept override { return message_.c_str(); }
  int retry_after() const { return retry_after_; }
  const std::vector<std::pair<std::string, std::string>>& headers() const { return headers_; }

  // {"error": {"message", "type", "param", "code"}}, at most 1 KB.
  std::string json() const;

 private:
  int status_;
  std::string code_, message_, param_;
  int retry_after_ = 0;  // seconds; 0: none
  std::vector<std::pair<std::string, std::string>> headers_;
};

}  // namespace qwin::server
