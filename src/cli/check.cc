// SPDX-License-Identifier: Apache-2.0
// `qwin check`: everything that can be known about a model's files without running it. The order is structure, config
// and shapes, tokenizer, template, and last the values, which take as long as the disk needs.

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "chat/chat_template.h"
#include "cli/cli.h"
#include "cli/lost_pages.h"
#include "cli/progress_bar.h"
#include "core/printable.h"
#include "hub/files.h"
#include "io/model_files.h"
#include "model/check_values.h"
#include "model/config.h"
#include "model/row_residual.h"
#include "qwin/error.h"
#include "tokenizer/tokenizer.h"

namespace qwin {
namespace {

constexpr size_t kMaxWarnings = 20;

struct CheckOptions {
  std::string path;
  std::string sha256;
  bool json = false;
};

struct CheckedModel {
  ModelFiles files;
  ModelConfig config;
  std::vector<std::string> warnings;
  uint32_t num_tokens = 0;
  bool has_template = false;
};

void check_digest(const CheckOptions& options) {
  std::string expected = options.sha256;
  for (char& c : expected) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (expected.size() != 64 || expected.find_first_not_of("0123456789abcdef") != std::string::npos) {
    throw Error(ErrorCode::invalid_argument, "--sha256 takes 64 hexadecimal digits");
  }
  MappedFile::open(options.path);  // a FIFO or a directory must not reach the digest
  const std::string digest = sha256_of_file(options.path);
  if (digest != expected) {
    throw Error(ErrorCode::checksum, options.path + ": its SHA-256 is " + digest + ", not " + expected);
  }
}

// A GGUF file lists a token for every row of the embedding, padding included; a directory leaves the last rows without.
void check_vocabulary(const CheckedModel& model) {
  const GgufValue* listed = model.files.gguf.find("tokenizer.ggml.tokens");
  const uint64_t num_tokens = listed != nullptr ? listed->count : model.num_tokens;
  const bool exact = model.files.format == ModelFiles::Format::gguf;
  if (num_tokens > model.config.vocab_size || (exact && num_tokens != model.config.vocab_size)) {
    throw Error(ErrorCode::bad_tokenizer, "the tokenizer has " + std::to_string(num_tokens) +
                                              " tokens but the embedding " + std::to_string(model.config.vocab_size) +
                                              " rows");
  }
}

// Base models come without a template; that is no fault.
bool has_chat_template(const ModelFiles& files) {
  if (files.format == ModelFiles::Format::gguf) return files.gguf.find("tokenizer.chat_template") != nullptr;
  return files.chat_template.has_value() ||
         (files.tokenizer_config.is_object() && files.tokenizer_config.contains("chat_template"));
}

CheckedModel check_model(const CheckOptions& options) {
  if (!options.sha256.empty()) check_digest(options);
  CheckedModel model;
  model.files = open_model_files(options.path);
  model.config = read_model_config(model.files);
  model.warnings = check_tensors(model.config, model.files);
  model.num_tokens = Tokenizer::load(model.files)->num_ids();
  check_vocabulary(model);
  model.has_template = has_chat_template(model.files);
  if (model.has_template) ChatTemplate::load(model.files);
  ProgressBar bar("checking values");
  check_values(model.files, [&bar](uint64_t done, uint64_t total) { bar.update(done, total); });
  return model;
}

struct TensorFacts {
  uint64_t parameters = 0;
  uint64_t bytes = 0;
  std::map<std::string, uint64_t> types;  // tensors of each type
};

TensorFacts tensor_facts(const TensorTable& table) {
  TensorFacts facts;
  facts.parameters = num_parameters(table);
  for (const TensorInfo& tensor : table.tensors()) {
    facts.bytes += tensor.data.size();
    ++facts.types[std::string(dtype_info(tensor.dtype).name)];
  }
  return facts;
}

const char* format_name(const ModelFiles& files) {
  return files.format == ModelFiles::Format::safetensors ? "safetensors" : "gguf";
}

void print_json(const CheckedModel& model) {
  const TensorFacts facts = tensor_facts(model.files.tensors);
  const ModelConfig& config = model.config;
  const Json object = {{"path", model.files.path},
                       {"format", format_name(model.files)},
                       {"files", model.files.files.size()},
                       {"architecture", config.architecture},
                       {"name", config.name},
                       {"num_layers", config.num_layers},
                       {"hidden_size", config.hidden_size},
                       {"vocab_size", config.vocab_size},
                       {"context_length", config.max_positions},
                       {"num_tokens", model.num_tokens},
                       {"chat_template", model.has_template},
                       {"tensors", model.files.tensors.tensors().size()},
                       {"parameters", facts.parameters},
                       {"tensor_bytes", facts.bytes},
                       {"types", facts.types},
                       {"warnings", model.warnings}};
  std::printf("%s\n", object.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
}

void print_text(const CheckedModel& model) {
  const TensorFacts facts = tensor_facts(model.files.tensors);
  const ModelConfig& config = model.config;
  std::string types;
  for (const auto& [name, count] : facts.types) types += " " + name + " x " + std::to_string(count);
  std::printf("%s: good\n", model.files.path.c_str());
  std::printf("  model      %s, %s, %zu file(s)\n", config.architecture.c_str(), format_name(model.files),
              model.files.files.size());
  std::printf("  shape      %u layers, hidden size %u, vocabulary %u, context %u\n", config.num_layers,
              config.hidden_size, config.vocab_size, config.max_positions);
  std::printf("  tensors    %zu, %s:%s\n", model.files.tensors.tensors().size(), bytes_text(facts.bytes).c_str(),
              types.c_str());
  std::printf("  tokenizer  %u tokens, %s\n", model.num_tokens,
              model.has_template ? "chat template" : "no chat template");
}

void print_warnings(const std::vector<std::string>& warnings) {
  for (size_t i = 0; i < std::min(warnings.size(), kMaxWarnings); ++i) {
    std::fprintf(stderr, "warning: %s\n", one_line(warnings[i]).c_str());
  }
  if (warnings.size() > kMaxWarnings) std::fprintf(stderr, "warning: and %zu more\n", warnings.size() - kMaxWarnings);
}

void check(const CheckOptions& options) {
  catch_lost_pages(2);
  try {
    const CheckedModel model = check_model(options);
    options.json ? print_json(model) : print_text(model);
    print_warnings(model.warnings);
  } catch (const Error& error) {
    // Whatever its class elsewhere, here the input is to blame: a wrong digest or a size beyond all memory too.
    if (is_input_error(error.code())) throw;
    std::fprintf(stderr, "error: %s: %s\n", error_code_name(error.code()), one_line(error.what()).c_str());
    throw CLI::RuntimeError(2);
  }
}

}  // namespace

void register_check(CLI::App& app) {
  const auto options = std::make_shared<CheckOptions>();
  CLI::App* command = app.add_subcommand("check", "Validate a model's files without running it");
  command->add_option("PATH", options->path, "a GGUF file or a safetensors directory")->required();
  add_option(*command, "--sha256", options->sha256, "Refuse a file whose SHA-256 is another");
  add_switch(*command, "--json", options->json, "Print an object");
  command->callback([options] { check(*options); });
}

}  // namespace qwin
