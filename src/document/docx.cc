// SPDX-License-Identifier: Apache-2.0
#include "document/docx.h"

#include <zip.h>

#include <charconv>
#include <memory>

#include "qwin/error.h"
#include "tokenizer/unicode.h"

namespace qwin {

namespace {

constexpr uint64_t kMaxXmlBytes = uint64_t{256} << 20;  // unpacked: an archive may pretend to be small

[[noreturn]] void refuse(const std::string& path, const char* why) {
  throw Error(ErrorCode::invalid_argument, path + " is no .docx document: " + why);
}

// Appends the character that an entity such as "amp" or "#x4e2d" stands for; an unknown one is left out.
void append_entity(std::string& out, std::string_view name) {
  constexpr std::pair<std::string_view, char> kNamed[] = {
      {"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}};
  for (const auto& [known, character] : kNamed) {
    if (name == known) out += character;
  }
  if (!name.starts_with('#')) return;
  name.remove_prefix(1);
  const bool is_hex = name.starts_with('x');
  if (is_hex) name.remove_prefix(1);
  uint32_t code = 0;
  const auto [end, fault] = std::from_chars(name.data(), name.data() + name.size(), code, is_hex ? 16 : 10);
  const bool is_character = code > 0 && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
  if (fault == std::errc() && end == name.data() + name.size() && is_character) unicode::append_utf8(out, code);
}

void append_text(std::string& out, std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t begin = std::min(text.find('&', at), text.size());
    out += text.substr(at, begin - at);
    if (begin == text.size()) return;
    const size_t end = text.find(';', begin);
    if (end == text.npos) return;
    append_entity(out, text.substr(begin + 1, end - begin - 1));
    at = end + 1;
  }
}

// "w:t" of "w:t xml:space=…".
std::string_view element_name(std::string_view tag) { return tag.substr(0, tag.find_first_of(" \t\r\n/", 1)); }

}  // namespace

std::string docx_text(std::string_view xml) {
  std::string text;
  bool in_text = false;
  for (size_t at = 0; at < xml.size();) {
    const size_t begin = std::min(xml.find('<', at), xml.size());
    if (in_text) append_text(text, xml.substr(at, begin - at));
    const size_t end = xml.find('>', begin);
    if (end == xml.npos) break;
    const std::string_view tag = xml.substr(begin + 1, end - begin - 1), name = element_name(tag);
    if (name == "w:t") in_text = !tag.ends_with('/');
    if (name == "/w:t") in_text = false;
    if (name == "w:tab") text += '\t';
    if (name == "w:br" || name == "w:cr") text += '\n';
    if (name == "w:pStyle" && tag.find("\"Heading") != tag.npos) text += "# ";
    if (name == "/w:p") text += "\n\n";
    at = end + 1;
  }
  return text;
}

std::string read_docx(const std::string& path) {
  int error = 0;
  const std::unique_ptr<zip_t, decltype(&zip_discard)> archive(zip_open(path.c_str(), ZIP_RDONLY, &error), zip_discard);
  if (!archive) refuse(path, "the archive is damaged");
  zip_stat_t stat;
  if (zip_stat(archive.get(), "word/document.xml", 0, &stat) != 0) refuse(path, "it has no word/document.xml");
  if (stat.size > kMaxXmlBytes) refuse(path, "its text is larger than 256 MiB");
  std::string xml(stat.size, '\0');
  const std::unique_ptr<zip_file_t, decltype(&zip_fclose)> file(zip_fopen_index(archive.get(), stat.index, 0),
                                                                zip_fclose);
  if (!file || zip_fread(file.get(), xml.data(), xml.size()) != static_cast<zip_int64_t>(xml.size()))
    refuse(path, "its text cannot be unpacked");
  return docx_text(xml);
}

}  // namespace qwin
