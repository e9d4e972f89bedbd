// SPDX-License-Identifier: Apache-2.0
#include "server/http_error.h"

#include <algorithm>
#include <cmath>
#include <new>

#include "qwin/error.h"
#include "server/json.h"

namespace qwin::server {
namespace {

constexpr size_t kMaxErrorBytes = 1024;

// The class of an error, by its status; the code says more.
const char* error_type(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "forbidden_origin";
    case 404: return "not_found";
    case 429: return "rate_limit_error";
    case 500: return "internal_error";
    case 503: return "unavailable";
    default: return "invalid_request_error";
  }
}

// The parameter that a fault of a request is about: messages of the engine begin with it.
std::string leading_name(const std::string& message) {
  const size_t end = message.find_first_not_of("abcdefghijklmnopqrstuvwxyz_");
  const std::string name = message.substr(0, end);
  for (const char* known :
       {"temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty",
        "logit_bias", "max_tokens", "min_tokens", "stop", "logprobs", "stop_token_ids", "messages", "window",
        "num_sink_tokens", "memory_top_k", "attention_type", "overflow_policy"}) {
    if (name == known) return name;
  }
  return "";
}

HttpError from_engine(const Error& error) {
  const std::string name = error_code_name(error.code()), detail = error.what();
  if (name == "invalid_argument") return HttpError::bad_request(detail, leading_name(detail));
  if (name == "context_length_exceeded") return {400, name, detail};
  if (name == "queue_full") return HttpError::try_later(429, name, detail, 1);
  if (name == "timed_out") return {408, "request_timeout", "the request took longer than the server allows"};
  if (name == "too_large") return HttpError::try_later(503, "out_of_memory", "there is no memory for this request", 5);
  if (name == "numerical") return {500, "numerical_error", "the model computed no finite numbers for this request"};
  if (name == "broken") return HttpError::try_later(503, name, "the server failed and is being started anew", 5);
  if (name == "cancelled") return HttpError::try_later(503, "draining", "the server is shutting down", 5);
  if (name == "bad_template")
    return HttpError::bad_request("the model's chat template refuses these messages: " + detail, "messages");
  return {500, "internal_error", "the request failed inside the server"};
}

}  // namespace

HttpError HttpError::try_later(int status, std::string code, std::string message, double seconds) {
  HttpError error(status, std::move(code), std::move(message));
  error.retry_after_ = static_cast<int>(std::clamp(std::ceil(seconds), 1.0, 60.0));
  return error;
}

HttpError HttpError::from(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const HttpError& error) {
    return error;
  } catch (const Error& error) {
    return from_engine(error);
  } catch (const std::bad_alloc&) {
    return try_later(503, "out_of_memory", "there is no memory for this request", 5);
  } catch (...) {
    return {500, "internal_error", "the request failed inside the server"};
  }
}

HttpError HttpError::with_header(std::string name, std::string value) && {
  headers_.emplace_back(std::move(name), std::move(value));
  return std::move(*this);
}

std::string HttpError::json() const {
  std::string text;
  for (size_t room = 800;; room /= 2) {  // escapes can lengthen a message sixfold
    const Json error{{"message", cut_utf8(message_, room)},
                     {"type", error_type(status_)},
                     {"param", param_.empty() ? Json() : Json(cut_utf8(param_, 64))},
                     {"code", code_}};
    text = Json{{"error", error}}.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (text.size() <= kMaxErrorBytes || room == 0) return text;
  }
}

}  // namespace qwin::server
