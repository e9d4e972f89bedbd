// SPDX-License-Identifier: Apache-2.0
// The files of the chat page, as they were when qwin was built.
#pragma once

#include <span>
#include <string_view>

namespace qwin::server {

struct PageFile {
  std::string_view path;  // "/", "/page/page.js" …
  std::string_view content_type;
  std::string_view bytes;
};

// Made by embed_page.cmake from src/server/page.
std::span<const PageFile> page_files();

}  // namespace qwin::server
