// SPDX-License-Identifier: Apache-2.0
// The chat page and its static files.
#include "server/access.h"
#include "server/handlers.h"
#include "server/page.h"

namespace qwin::server {
namespace {

// Nothing from elsewhere, no script in the page itself, no frame around it.
constexpr const char* kContentPolicy =
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'";

}  // namespace

Outcome handle_page(Service&, const Admission&, const HttpRequest& request) {
  for (const PageFile& file : page_files()) {
    if (file.path != request.path) continue;
    const std::string tag = '"' + to_hex(sha256(file.bytes)).substr(0, 16) + '"';
    HttpResponse response{.content_type = std::string(file.content_type)};
    response.headers = {{"Content-Security-Policy", kContentPolicy},
                        {"Referrer-Policy", "no-referrer"},
                        {"Cache-Control", "no-cache"},
                        {"ETag", tag}};
    const std::string* known = request.header("If-None-Match");
    if (known && *known == tag) {
      response.status = 304;
    } else {
      response.body = file.bytes;
    }
    return response;
  }
  throw HttpError(404, "not_found", "there is nothing at this path; see /openapi.json");
}

}  // namespace qwin::server
