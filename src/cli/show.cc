// SPDX-License-Identifier: Apache-2.0
// `qwin show MODEL`: what a model is, from its headers alone. One Json object is gathered; the table prints the same
// facts.
#include <cstdio>
#include <map>
#include <memory>

#include "cli/cli.h"
#include "cli/progress_bar.h"
#include "core/printable.h"
#include "hub/model_store.h"
#include "io/json.h"
#include "model/config.h"
#include "model/row_residual.h"

namespace qwin {
namespace {

bool has_chat_template(const ModelFiles& files) {
  if (files.format == ModelFiles::Format::gguf) return files.gguf.find("tokenizer.chat_template") != nullptr;
  if (files.chat_template) return true;
  const auto entry = files.tokenizer_config.find("chat_template");
  return entry != files.tokenizer_config.end() && !entry->is_null();
}

Json tensor_facts(const TensorTable& table) {
  const uint64_t parameters = num_parameters(table);
  uint64_t bytes = 0;
  std::map<std::string, std::pair<uint64_t, uint64_t>> types;  // name -> tensors, bytes
  for (const TensorInfo& tensor : table.tensors()) {
    bytes += tensor.data.size();
    auto& [count, size] = types[std::string(dtype_info(tensor.dtype).name)];
    ++count;
    size += tensor.data.size();
  }
  Json histogram = Json::object();
  for (const auto& [name, sums] : types) histogram[name] = {{"tensors", sums.first}, {"bytes", sums.second}};
  return {{"parameters", parameters},
          {"tensor_bytes", bytes},
          {"bits_per_weight", 8.0 * static_cast<double>(bytes) / static_cast<double>(parameters)},
          {"tensor_types", histogram}};
}

Json rope_facts(const ModelConfig& config) {
  Json rope = {{"type", config.yarn.enabled ? "yarn" : "default"}, {"theta", config.rope_theta}};
  if (config.yarn.enabled) {
    rope["factor"] = config.yarn.factor;
    rope["original_context"] = config.yarn.original_max_positions;
    rope["beta_fast"] = config.yarn.beta_fast;
    rope["beta_slow"] = config.yarn.beta_slow;
    rope["attention_factor"] = config.yarn.attention_factor;
  }
  if (const DualChunkConfig& chunk = config.dual_chunk; chunk.enabled()) {
    rope["dual_chunk"] = {{"chunk_size", chunk.chunk_size},
                          {"local_size", chunk.local_size},
                          {"original_context", chunk.original_max_positions}};
  }
  return rope;
}

// Only what the model's files give. A float's shortest decimal form: 0.7, not 0.699999988.
Json generation_facts(const ModelConfig& config) {
  Json facts = Json::object();
  auto add = [&](const char* name, float value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", static_cast<double>(value));
    if (value >= 0) facts[name] = std::strtod(text, nullptr);
  };
  add("temperature", config.default_temperature);
  add("top_p", config.default_top_p);
  if (config.default_top_k >= 0) facts["top_k"] = config.default_top_k;
  add("repetition_penalty", config.default_repetition_penalty);
  return facts;
}

Json model_facts(const ModelFiles& files, const ModelConfig& config) {
  Json facts = {{"name", config.name},
                {"path", files.path},
                {"format", files.format == ModelFiles::Format::safetensors ? "safetensors" : "gguf"},
                {"architecture", config.architecture}};
  facts.update(tensor_facts(files.tensors));
  facts.update({{"num_layers", config.num_layers},
                {"hidden_size", config.hidden_size},
                {"intermediate_size", config.intermediate_size},
                {"num_heads", config.num_heads},
                {"num_kv_heads", config.num_kv_heads},
                {"head_dim", config.head_dim},
                {"vocab_size", config.vocab_size},
                {"tie_word_embeddings", config.tie_word_embeddings},
                {"context", config.max_positions},
                {"layer_window", config.layer_window},
                {"rope", rope_facts(config)},
                {"chat_template", has_chat_template(files)},
                {"eos_token_ids", config.eos_token_ids},
                {"generation", generation_facts(config)}});
  return facts;
}

// "all layers exact", or run by run: "layers 0-20 exact, 21-27 last 4096 keys".
std::string window_text(const std::vector<uint32_t>& windows) {
  std::string text;
  for (size_t begin = 0, end; begin < windows.size(); begin = end) {
    end = begin + 1;
    while (end < windows.size() && windows[end] == windows[begin]) ++end;
    const std::string what = windows[begin] == 0 ? " exact" : " last " + std::to_string(windows[begin]) + " keys";
    if (end - begin == windows.size()) return "all layers" + what;
    text += (begin ? ", " : "layers ") + std::to_string(begin);
    if (end - begin > 1) text += "-" + std::to_string(end - 1);
    text += what;
  }
  return text;
}

void print_row(const char* label, const std::string& value) { std::printf("%-16s%s\n", label, value.c_str()); }

std::string format(const char* pattern, double a) {
  char text[64];
  std::snprintf(text, sizeof text, pattern, a);
  return text;
}

std::string parameters_text(double n) {
  if (n < 1e6) return format("%.1f k", n / 1e3);
  return n < 1e9 ? format("%.1f M", n / 1e6) : format("%.2f B", n / 1e9);
}

std::string types_text(const Json& types) {
  std::string text;
  for (const auto& entry : types.items()) {
    if (!text.empty()) text += ", ";
    text += entry.key() + " x " + std::to_string(entry.value()["tensors"].get<uint64_t>());
    text += " (" + bytes_text(entry.value()["bytes"].get<uint64_t>()) + ")";
  }
  return text;
}

std::string rope_text(const ModelConfig& config) {
  std::string text = "theta " + format("%.10g", config.rope_theta);
  if (const DualChunkConfig& chunk = config.dual_chunk; chunk.enabled())
    text += ", chunks of " + std::to_string(chunk.length()) + " positions";
  if (!config.yarn.enabled) return text;
  return text + ", YaRN factor " + format("%g", config.yarn.factor) + " on " +
         std::to_string(config.yarn.original_max_positions) + " positions";
}

std::string generation_text(const Json& generation) {
  std::string text;
  for (const auto& entry : generation.items())
    text += (text.empty() ? "" : ", ") + entry.key() + " " + entry.value().dump();
  return text.empty() ? "none given" : text;
}

void print_table(const ModelConfig& config, const Json& facts) {
  const std::string heads = std::to_string(config.num_heads) + " heads of " + std::to_string(config.head_dim) + ", " +
                            std::to_string(config.num_kv_heads) + " of keys and values";
  std::string eos;
  for (uint32_t id : config.eos_token_ids) eos += (eos.empty() ? "" : ", ") + std::to_string(id);
  print_row("name", one_line(config.name));
  print_row("path", one_line(facts["path"].get<std::string>()));
  print_row("architecture", config.architecture + ", " + facts["format"].get<std::string>());
  print_row("parameters", parameters_text(facts["parameters"].get<double>()));
  print_row("weights", bytes_text(facts["tensor_bytes"].get<uint64_t>()) + ", " +
                           format("%.2f bits a weight", facts["bits_per_weight"].get<double>()));
  print_row("tensor types", types_text(facts["tensor_types"]));
  print_row("layers", std::to_string(config.num_layers) + ", hidden " + std::to_string(config.hidden_size) +
                          ", intermediate " + std::to_string(config.intermediate_size));
  print_row("attention", heads);
  print_row("vocabulary",
            std::to_string(config.vocab_size) + (config.tie_word_embeddings ? ", tied head" : ", own head"));
  print_row("context", std::to_string(config.max_positions) + " tokens");
  print_row("window", window_text(config.layer_window));
  print_row("rope", rope_text(config));
  print_row("chat template", facts["chat_template"].get<bool>() ? "yes" : "no");
  print_row("end of text", eos.empty() ? "none given" : eos);
  print_row("generation", generation_text(facts["generation"]));
}

void show(const std::string& model, bool json) {
  const ModelFiles files = open_model_files(resolve_model(model));
  const ModelConfig config = read_model_config(files);
  for (const std::string& line : check_tensors(config, files)) std::fprintf(stderr, "note: %s\n", line.c_str());
  const Json facts = model_facts(files, config);
  if (json) {
    std::printf("%s\n", facts.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
  } else {
    print_table(config, facts);
  }
}

}  // namespace

void register_show(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("show", "Show a model's facts: sizes, bits a weight, context, windows, template");
  const auto model = std::make_shared<std::string>();
  const auto json = std::make_shared<bool>(false);
  command->add_option("MODEL", *model, "A GGUF file, a model directory or the name of a local model")->required();
  add_switch(*command, "--json", *json, "Print one object");
  command->callback([model, json] { show(*model, *json); });
}

}  // namespace qwin
