// SPDX-License-Identifier: Apache-2.0
// The handlers behind the routes, and what they share.
#pragma once

#include "server/generation_request.h"
#include "server/service.h"

namespace qwin::server {

Outcome handle_livez(Service& service, const Admission& admission, const HttpRequest& request);
Outcome handle_health(Service& service, const Admission& admission, const HttpRequest& request);
Outcome handle_metrics(Service& service, const Admission& admission, const HttpRequest& request);
Outcome handle_openapi(Service& service, const Admission& admission, const HttpRequest& request);
Outcome handle_models(Service& service, const Admission& admission, const HttpRequest& request);
Outcome handle_model(Service& service, const Admission& admission, const HttpRequest& request);
Outcome handle_tokenize(Service& service, const Admission& admission, const HttpRequest& request);
Outcome handle_detokenize(Service& service, const Admission& admission, const HttpRequest& request);
Outcome handle_chat_completions(Service& service, const Admission& admission, const HttpRequest& request);
Outcome handle_completions(Service& service, const Admission& admission, const HttpRequest& request);
Outcome handle_chat(Service& service, const Admission& admission, const HttpRequest& request);
Outcome handle_documents(Service& service, const Admission& admission, const HttpRequest& request);
Outcome handle_list_chats(Service& service, const Admission& admission, const HttpRequest& request);
Outcome handle_get_chat(Service& service, const Admission& admission, const HttpRequest& request);
Outcome handle_delete_chat(Service& service, const Admission& admission, const HttpRequest& request);
Outcome handle_page(Service& service, const Admission& admission, const HttpRequest& request);

HttpResponse json_response(const Json& body);

// Throws HttpError 404 unless the model goes by this name.
void check_model(const Service& service, const std::string& name);

// Where the generating endpoints differ before a body is read.
struct GenerationDefaults {
  bool is_chat = false, stream = false;
  int max_tokens = 0;  // of a request that names none; 0: as many as fit
};
// What a body with these fields asks for, checked. Refuses work while draining or loading, and when the wait would be
// longer than a request may take. Throws HttpError or Error.
GenerationRequest read_generation(const Service& service, const Json& body, std::span<const GenerationField> fields,
                                  const GenerationDefaults& defaults);
// The engine's request for one prompt.
Request engine_request(const Service& service, const GenerationRequest& wanted, const Principal& principal,
                       std::vector<int32_t> prompt);

// The bodies of /tokenize and /detokenize, for /openapi.json.
Json tokenize_schema();
Json detokenize_schema();

}  // namespace qwin::server
