// SPDX-License-Identifier: Apache-2.0
// A model as it lies on disk, in either of its two forms; the rooms above pick out what they need.
#pragma once

#include <optional>
#include <string>

#include "io/gguf.h"
#include "io/json.h"
#include "io/safetensors.h"

namespace qwin {

struct ModelFiles {
  enum class Format {
    gguf,
    safetensors,
    // A directory in one GGUF file: its documents are strings of the metadata, its tensors keep their names.
    packed_directory,
  };

  Format format = Format::gguf;
  std::string path;
  TensorTable tensors;
  std::vector<std::shared_ptr<const MappedFile>> files;  // keeps every span alive
  bool is_borrowed = false;  // the tensors lie in the caller's memory, and only while the model is loaded

  GgufMetadata gguf;  // format gguf

  // The other formats; absent documents are null (std::nullopt for the raw text).
  Json config;                                // config.json, required
  Json generation_config;                     // generation_config.json
  Json tokenizer_config;                      // tokenizer_config.json
  std::optional<std::string> tokenizer_json;  // tokenizer.json, unparsed
  std::optional<std::string> chat_template;   // chat_template.jinja when it is a file of its own
};

// The documents of a directory as keys of a GGUF file.
struct DocumentKey {
  const char* key;
  const char* file;
};
inline constexpr DocumentKey kConfigKey = {"qwin.document.config", "config.json"};
inline constexpr DocumentKey kGenerationConfigKey = {"qwin.document.generation_config", "generation_config.json"};
inline constexpr DocumentKey kTokenizerConfigKey = {"qwin.document.tokenizer_config", "tokenizer_config.json"};
inline constexpr DocumentKey kTokenizerKey = {"qwin.document.tokenizer", "tokenizer.json"};
inline constexpr DocumentKey kChatTemplateKey = {"qwin.document.chat_template", "chat_template.jinja"};

// Opens a GGUF file (any name; the magic decides) or a directory with config.json and safetensors.
// Nothing else in a directory is ever opened. Throws Error with the class of the fault.
ModelFiles open_model_files(const std::string& path);
// A directory's documents, with tensors of the caller's in place of its safetensors.
ModelFiles open_model_documents(const std::string& path, TensorTable borrowed);

}  // namespace qwin
