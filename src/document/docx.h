// SPDX-License-Identifier: Apache-2.0
// The text of a .docx file (ECMA-376): a zip archive with the paragraphs in word/document.xml.
#pragma once

#include <string>
#include <string_view>

namespace qwin {

// Paragraphs with an empty line between them, headings behind a '#'; footnotes, headers and what was deleted under
// tracked changes are left out. Throws Error(invalid_argument).
std::string read_docx(const std::string& path);

// The same of the XML itself.
std::string docx_text(std::string_view xml);

}  // namespace qwin
