// SPDX-License-Identifier: Apache-2.0
#include "hub/model_name.h"

#include <algorithm>
#include <cstdio>

#include "core/printable.h"
#include "qwin/error.h"

namespace qwin {
namespace {

constexpr size_t kMaxComponent = 96;
constexpr int kMaxSplitFiles = 999;

bool is_alphanumeric(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// One component of a name: letters, digits, '.', '_', '-'; starts with none of the marks.
bool is_plain_word(std::string_view word) {
  if (word.empty() || word.size() > kMaxComponent || !is_alphanumeric(word.front())) return false;
  for (char c : word) {
    if (!is_alphanumeric(c) && c != '.' && c != '_' && c != '-') return false;
  }
  return true;
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const bool match = text.substr(at).starts_with(from);
    result += match ? to : text.substr(at, 1);
    at += match ? from.size() : 1;
  }
  return result;
}

[[noreturn]] void refuse(std::string_view text) {
  const std::string quoted = printable(text);
  constexpr std::string_view kLeaving[] = {"..", ":/", "\\"};
  const bool leaves = std::any_of(std::begin(kLeaving), std::end(kLeaving),
                                  [&](std::string_view sign) { return text.find(sign) != std::string_view::npos; });
  if (leaves || text.starts_with('/')) {
    throw Error(ErrorCode::path, quoted + " is no model name: it would leave the model store");
  }
  throw Error(ErrorCode::invalid_argument,
              quoted + " is no model name; write a name from `qwin list`, or owner/name[@revision][:file] for the hub");
}

// Five digits at `at`, or -1.
int five_digits(std::string_view text, size_t at) {
  int value = 0;
  for (size_t i = at; i < at + 5; ++i) {
    if (i >= text.size() || text[i] < '0' || text[i] > '9') return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

}  // namespace

bool is_safe_relative_path(std::string_view path) {
  if (path.empty() || path.size() > 512) return false;
  for (char c : path) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\') return false;
  }
  for (size_t begin = 0; begin <= path.size();) {
    size_t end = path.find('/', begin);
    if (end == std::string_view::npos) end = path.size();
    const std::string_view component = path.substr(begin, end - begin);
    if (component.empty() || component == "." || component == "..") return false;
    begin = end + 1;
  }
  return true;
}

std::string ModelName::folder() const {
  if (!on_hub()) return name;
  std::string folder = owner + "--" + name;
  if (revision != "main") folder.append("@").append(replace_all(revision, "/", "--"));
  return folder;
}

std::string ModelName::text() const {
  std::string text = on_hub() ? repository() : name;
  if (on_hub() && revision != "main") text += "@" + revision;
  if (!file.empty()) text += ":" + file;
  return text;
}

ModelName parse_model_name(std::string_view text) {
  std::string_view rest = text;
  const bool hub_prefix = rest.starts_with("hf:");
  if (hub_prefix) rest.remove_prefix(3);
  ModelName result;
  result.revision = "main";
  if (const size_t colon = rest.find(':'); colon != std::string_view::npos) {
    result.file = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
    if (!is_safe_relative_path(result.file)) refuse(text);
  }
  if (const size_t at = rest.find('@'); at != std::string_view::npos) {
    result.revision = rest.substr(at + 1);
    rest = rest.substr(0, at);
    if (!is_safe_relative_path(result.revision)) refuse(text);
    for (char c : result.revision) {
      if (c != '/' && c != '.' && c != '_' && c != '-' && !is_alphanumeric(c)) refuse(text);
    }
  }
  if (const size_t slash = rest.find('/'); slash != std::string_view::npos) {
    result.owner = rest.substr(0, slash);
    result.name = rest.substr(slash + 1);
    // "--" joins the pieces in a folder's name, so that no piece may hold it; the hub allows it nowhere either.
    const bool ambiguous = rest.find("--") != std::string_view::npos || result.revision.find("--") != std::string::npos;
    if (ambiguous || !is_plain_word(result.owner) || !is_plain_word(result.name)) refuse(text);
    return result;
  }
  if (hub_prefix || result.revision != "main" || !is_plain_word(rest)) refuse(text);
  result.known = find_known_model(rest);
  result.name = result.known ? result.known->name : rest;
  return result;
}

ModelName name_of_folder(std::string_view folder) {
  const size_t at = folder.find('@');
  const std::string_view base = folder.substr(0, at);
  ModelName result;
  result.revision = at == std::string_view::npos ? "main" : replace_all(folder.substr(at + 1), "--", "/");
  const size_t dashes = base.find("--");
  if (dashes == std::string_view::npos) {
    result.name = folder;
    result.known = find_known_model(folder);
    return result;
  }
  result.owner = base.substr(0, dashes);
  result.name = base.substr(dashes + 2);
  return result;
}

std::vector<std::string> split_file_names(const std::string& file) {
  // ...-NNNNN-of-NNNNN.gguf: the tail is 20 characters.
  constexpr size_t kTail = 20;
  if (file.size() <= kTail || !ascii_lower(file).ends_with(".gguf")) return {file};
  const size_t tail = file.size() - kTail;
  const int part = five_digits(file, tail + 1);
  const int count = five_digits(file, tail + 10);
  if (file[tail] != '-' || file.compare(tail + 6, 4, "-of-") != 0 || part < 1 || part > count) return {file};
  if (count > kMaxSplitFiles) {
    throw Error(ErrorCode::invalid_argument, "'" + file + "' claims " + std::to_string(count) + " split files");
  }
  std::vector<std::string> names;
  for (int i = 1; i <= count; ++i) {
    char number[32];
    std::snprintf(number, sizeof number, "-%05d", i);
    names.push_back(file.substr(0, tail) + number + file.substr(tail + 6));
  }
  return names;
}

}  // namespace qwin
