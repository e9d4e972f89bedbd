// SPDX-License-Identifier: Apache-2.0
// The OpenAPI description of the server, made from the tables that routes and bodies are checked with.
#pragma once

#include "server/json.h"

namespace qwin::server {

Json openapi_document();

}  // namespace qwin::server
