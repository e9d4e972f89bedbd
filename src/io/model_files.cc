// SPDX-License-Identifier: Apache-2.0
#include "io/model_files.h"

#include <sys/stat.h>

#include <utility>

#include "qwin/error.h"

namespace qwin {
namespace {

constexpr uint64_t kMaxConfigBytes = 1u << 20;
constexpr uint64_t kMaxTokenizerConfigBytes = 4u << 20;
constexpr uint64_t kMaxTokenizerBytes = 64u << 20;
constexpr uint64_t kMaxTemplateBytes = 1u << 20;

bool is_directory(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

Json read_document(const ModelDirectory& directory, const char* name, uint64_t max_bytes, ErrorCode code) {
  const std::optional<std::string> text = directory.read_text(name, max_bytes);
  if (!text) return nullptr;
  Json document = parse_json(*text, name, code);
  if (!document.is_object()) throw Error(code, std::string(name) + ": no JSON object");
  return document;
}

std::optional<std::string> packed_text(const ModelFiles& model, const DocumentKey& key) {
  if (model.gguf.find(key.key) == nullptr) return std::nullopt;
  return std::string(model.gguf.get_string(key.key, ""));
}

Json packed_document(const ModelFiles& model, const DocumentKey& key, ErrorCode code) {
  const std::optional<std::string> text = packed_text(model, key);
  if (!text) return nullptr;
  Json document = parse_json(*text, key.file, code);
  if (!document.is_object()) throw Error(code, std::string(key.file) + ": no JSON object");
  return document;
}

void read_packed_documents(ModelFiles& model) {
  model.format = ModelFiles::Format::packed_directory;
  model.config = packed_document(model, kConfigKey, ErrorCode::bad_config);
  model.generation_config = packed_document(model, kGenerationConfigKey, ErrorCode::bad_config);
  model.tokenizer_config = packed_document(model, kTokenizerConfigKey, ErrorCode::bad_tokenizer);
  model.tokenizer_json = packed_text(model, kTokenizerKey);
  model.chat_template = packed_text(model, kChatTemplateKey);
}

ModelFiles open_gguf_model(const std::string& path) {
  GgufFile gguf = open_gguf(path);
  ModelFiles model;
  model.format = ModelFiles::Format::gguf;
  model.tensors = std::move(gguf.tensors);
  model.files = std::move(gguf.files);
  model.gguf = std::move(gguf.metadata);
  if (model.gguf.find(kConfigKey.key) != nullptr) read_packed_documents(model);
  return model;
}

ModelFiles open_documents(const ModelDirectory& directory, const std::string& path) {
  if (!directory.contains("config.json")) {
    throw Error(ErrorCode::io, path + ": a directory without config.json; give a GGUF file or a safetensors directory");
  }
  ModelFiles model;
  model.format = ModelFiles::Format::safetensors;
  model.config = read_document(directory, "config.json", kMaxConfigBytes, ErrorCode::bad_config);
  model.generation_config = read_document(directory, "generation_config.json", kMaxConfigBytes, ErrorCode::bad_config);
  model.tokenizer_config =
      read_document(directory, "tokenizer_config.json", kMaxTokenizerConfigBytes, ErrorCode::bad_tokenizer);
  model.tokenizer_json = directory.read_text("tokenizer.json", kMaxTokenizerBytes);
  model.chat_template = directory.read_text("chat_template.jinja", kMaxTemplateBytes);
  return model;
}

ModelFiles open_safetensors_model(const std::string& path) {
  const ModelDirectory directory(path);
  ModelFiles model = open_documents(directory, path);
  SafetensorsFiles weights = open_safetensors_directory(directory);
  model.tensors = std::move(weights.tensors);
  model.files = std::move(weights.files);
  return model;
}

}  // namespace

ModelFiles open_model_files(const std::string& path) {
  ModelFiles model = is_directory(path) ? open_safetensors_model(path) : open_gguf_model(path);
  model.path = path;
  return model;
}

ModelFiles open_model_documents(const std::string& path, TensorTable borrowed) {
  ModelFiles model = open_documents(ModelDirectory(path), path);
  model.path = path;
  model.tensors = std::move(borrowed);
  model.is_borrowed = true;
  return model;
}

}  // namespace qwin
