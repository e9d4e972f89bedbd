// SPDX-License-Identifier: Apache-2.0
#include "server/service.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "qwin/error.h"
#include "server/handlers.h"
#include "server/log.h"

namespace qwin::server {
namespace {

constexpr Route kRoutes[] = {
    {"GET", "/livez", "200 while the process can answer", handle_livez, true},
    {"GET", "/readyz", "200 when requests are served; 503 while loading, draining or broken", handle_health, true},
    {"GET", "/health", "The same as /readyz", handle_health, true},
    {"GET", "/metrics", "Counts and histograms for Prometheus", handle_metrics},
    {"GET", "/openapi.json", "This description", handle_openapi},
    {"GET", "/", "The chat page", handle_page, true},
    {"GET", "/page/{id}", "Its scripts and styles", handle_page, true},
    {"GET", "/v1/models", "The model that is served", handle_models},
    {"GET", "/v1/models/{id}", "One model", handle_model},
    {"POST", "/v1/chat/completions", "Answer a conversation", handle_chat_completions, false, true, true},
    {"POST", "/v1/completions", "Continue a text", handle_completions, false, true, true},
    {"POST", "/v1/documents", "Ask something of a long document, segment by segment", handle_documents, false, true,
     true},
    {"POST", "/tokenize", "Text or a chat to token ids", handle_tokenize, false, true},
    {"POST", "/detokenize", "Token ids to text", handle_detokenize, false, true},
    {"POST", "/chat", "Say something in a conversation that the server keeps", handle_chat, false, true, true},
    {"GET", "/chat/sessions", "The conversations of this key, the newest first", handle_list_chats, false, true},
    {"GET", "/chat/sessions/{id}", "One conversation with its messages", handle_get_chat, false, true},
    {"DELETE", "/chat/sessions/{id}", "Forget a conversation", handle_delete_chat, false, true},
};

bool is_head_of(const HttpRequest& request, const Route& route) {
  return request.method == "HEAD" && std::string_view(route.method) == "GET";
}

void check_content(const HttpRequest& request) {
  const std::string* coding = request.header("Content-Encoding");
  if (coding && !equal_ignoring_case(*coding, "identity")) {
    throw HttpError(415, "unsupported_media_type", "bodies with a Content-Encoding are not read here");
  }
  if (request.method != "POST") return;
  const std::string* type = request.header("Content-Type");
  const bool no_body =
      !request.has_body || (request.header("Content-Length") && *request.header("Content-Length") == "0");
  if (!type && no_body && !request.query.empty()) return;  // POST /chat?prompt=…
  const std::string_view media = type ? std::string_view(*type).substr(0, type->find(';')) : std::string_view();
  const size_t end = media.find_last_not_of(" \t");
  if (!equal_ignoring_case(media.substr(0, end == std::string_view::npos ? 0 : end + 1), "application/json")) {
    throw HttpError(415, "unsupported_media_type", "the Content-Type must be application/json");
  }
}

// The routes of a path: the one for the method, or what to say.
const Route& find_route(const HttpRequest& request, std::string& parameter) {
  std::string allowed;
  for (const Route& route : routes()) {
    if (!route_matches(route, request.path, parameter)) continue;
    if (request.method == route.method || is_head_of(request, route)) return route;
    allowed += allowed.empty() ? route.method : std::string(", ") + route.method;
  }
  if (allowed.empty()) throw HttpError(404, "not_found", "there is nothing at this path; see /openapi.json");
  throw HttpError(405, "method_not_allowed", "this path takes " + allowed).with_header("Allow", allowed);
}

}  // namespace

std::span<const Route> routes() { return kRoutes; }

bool route_matches(const Route& route, std::string_view path, std::string& parameter) {
  const std::string_view pattern = route.path;
  const size_t brace = pattern.find('{');
  if (brace == std::string_view::npos) return path == pattern;
  if (!path.starts_with(pattern.substr(0, brace)) || path.size() == brace) return false;
  parameter = path.substr(brace);
  return true;
}

Service::Service(const ServerOptions& options) : options_(options), rate_limit_(options.limits.requests_per_minute) {
  browser_rules_ = {.loopback = is_loopback_name(options.host), .allowed_origins = options.allowed_origins};
  load_keys();
  if (!browser_rules_.loopback && !keys_.required() && !options.allow_no_auth) {
    throw Error(ErrorCode::invalid_argument, "--host " + options.host +
                                                 " needs --api-key-file or QWIN_API_KEY; "
                                                 "--allow-no-auth serves everyone who can reach it");
  }
  chats_ = std::make_unique<ChatStore>(options.chat_database, options.limits.sessions);
}

void Service::load_keys() {
  keys_.load(options_.api_key_file, options_.api_key);
  if (!options_.api_key_file.empty() && KeyStore::readable_by_others(options_.api_key_file)) {
    write_log(LogLevel::warn, "others can read the file of API keys; chmod 600 it");
  }
}

Admission Service::screen(const HttpRequest& request) {
  check_browser_rules(request, browser_rules_);
  Admission admission;
  admission.principal.client = request.peer;
  if (request.method == "OPTIONS") {
    admission.response.status = 204;
    admission.response.headers.emplace_back("Allow", "GET, HEAD, POST, DELETE, OPTIONS");
    return admission;
  }
  const bool open = std::any_of(routes().begin(), routes().end(), [&](const Route& route) {
    std::string ignored;
    return route.open && route_matches(route, request.path, ignored) &&
           (request.method == route.method || is_head_of(request, route));
  });
  if (keys_.required() && !open) {
    const auto key = keys_.find(presented_key(request));
    if (!key) throw HttpError(401, "authentication_error", "a valid API key is needed: Authorization: Bearer KEY");
    admission.principal.key_id = admission.principal.client = *key;
  }
  const Route& route = find_route(request, admission.parameter);
  check_content(request);
  if (route.generates) {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    const double wait = rate_limit_.take(admission.principal.client, std::chrono::duration<double>(now).count());
    if (wait > 0) throw HttpError::try_later(429, "rate_limit_error", "too many requests of this client", wait);
  }
  admission.route = &route;
  return admission;
}

Outcome Service::handle(const Admission& admission, const HttpRequest& request) {
  return admission.route->handler(*this, admission, request);
}

std::vector<NameValue> Service::common_headers(const HttpRequest& request) const {
  std::vector<NameValue> headers = cross_origin_headers(request, browser_rules_);
  headers.emplace_back("X-Content-Type-Options", "nosniff");
  return headers;
}

void Service::set_engine(std::unique_ptr<Engine> engine) {
  engine_ = std::move(engine);
  ready_ = true;
}

void Service::drop_engine() {
  ready_ = false;
  engine_.reset();
}

Engine& Service::engine() const {
  if (!ready_) throw HttpError::try_later(503, "loading", "the model is being loaded", 2);
  return *engine_;
}

std::vector<std::string> Service::model_names() const {
  std::vector<std::string> names;
  if (!options_.model_name.empty()) names.push_back(options_.model_name);
  if (ready_) names.push_back(engine_->info().model_name);
  return names;
}

}  // namespace qwin::server
