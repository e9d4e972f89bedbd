// SPDX-License-Identifier: Apache-2.0
// Bytes of a connection, whole and in pieces of the size that the first byte tells: both must say the same. Bodies are
// read as requests of every endpoint, and what is refused is told in a kilobyte.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "server/generation_request.h"
#include "server/request_reader.h"

namespace {

using qwin::server::HttpError;
using qwin::server::Limits;
using qwin::server::RequestReader;

// The status of the refusal, 0 for a whole request (then in `body`), 1 when more bytes are needed.
int read(std::string_view bytes, size_t piece, const Limits& limits, std::string& body) {
  RequestReader reader(limits);
  std::string input;
  try {
    for (size_t at = 0; at < bytes.size(); at += piece) {
      input += bytes.substr(at, piece);
      RequestReader::Need need = reader.feed(input);
      if (need == RequestReader::Need::body) need = reader.feed(input);
      if (need != RequestReader::Need::nothing) continue;
      body = reader.request().body;
      return 0;
    }
  } catch (const HttpError& error) {
    return error.status();
  }
  return 1;
}

void read_as(std::span<const qwin::server::GenerationField> fields, const qwin::Json& body, const Limits& limits) {
  qwin::server::GenerationRequest request(limits);
  try {
    qwin::server::read_fields(body, fields, request);
    qwin::server::check_generation(request);
  } catch (const HttpError& error) {
    if (error.json().size() > 1024) std::abort();
  } catch (const qwin::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  Limits limits;
  limits.body_bytes = 4096;
  limits.header_bytes = 1024;
  limits.target_bytes = 256;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::string whole, pieces;
  const int status = read(bytes, std::max<size_t>(bytes.size(), 1), limits, whole);
  // Which limit is met first depends on the pieces; whether the request is taken does not.
  const int again = read(bytes, data[0] % 64 + size_t{1}, limits, pieces);
  if ((status == 0) != (again == 0) || whole != pieces) std::abort();
  try {
    const qwin::Json body = qwin::server::parse_body(status == 0 ? whole : bytes, limits.json_depth);
    read_as(qwin::server::chat_completion_fields(), body, limits);
    read_as(qwin::server::completion_fields(), body, limits);
    read_as(qwin::server::chat_session_fields(), body, limits);
  } catch (const HttpError&) {
  }
  return 0;
}
