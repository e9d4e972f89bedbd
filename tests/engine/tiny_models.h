// SPDX-License-Identifier: Apache-2.0
// The tiny models of tests/testdata/tiny and what transformers computes for them.
#pragma once

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/cpu_info.h"
#include "io/json.h"
#include "qwin/engine.h"

namespace qwin {

inline constexpr const char* kTinyModels[] = {
    "qwen2_tied", "qwen2_tied_gguf_f32", "qwen2_tied_gguf_q8_0", "qwen2_untied_bf16", "qwen2_windowed", "qwen2_yarn",
    "qwen3",      "qwen2_sharded_f16"};

// QWIN_CPU_ISA while this lives.
class CpuIsaScope {
 public:
  explicit CpuIsaScope(CpuIsa isa) {
    if (const char* value = std::getenv("QWIN_CPU_ISA")) saved_ = value;
    setenv("QWIN_CPU_ISA", std::string(cpu_isa_name(isa)).c_str(), 1);
  }
  ~CpuIsaScope() {
    if (saved_) {
      setenv("QWIN_CPU_ISA", saved_->c_str(), 1);
    } else {
      unsetenv("QWIN_CPU_ISA");
    }
  }
  CpuIsaScope(const CpuIsaScope&) = delete;

 private:
  std::optional<std::string> saved_;
};

struct GoldenPrompt {
  std::optional<std::string> text;
  std::vector<int32_t> token_ids;
  std::vector<float> logits;  // [num_tokens, vocab_size]
  std::vector<int32_t> greedy;
  std::vector<float> greedy_margin;
};

inline std::string tiny_path(const std::string& name) {
  const std::string directory = std::string(QWIN_TESTDATA) + "/tiny/" + name;
  return name.find("gguf") == std::string::npos ? directory : directory + "/model.gguf";
}

inline std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline std::vector<GoldenPrompt> golden_prompts(const std::string& name) {
  const std::string directory = std::string(QWIN_TESTDATA) + "/tiny/" + name;
  const Json golden = parse_json(read_bytes(directory + "/golden.json"), "golden.json", ErrorCode::io);
  const std::string logits = read_bytes(directory + "/golden_logits.bin");
  const size_t vocab_size = golden["vocab_size"];
  std::vector<GoldenPrompt> prompts;
  for (const Json& entry : golden["prompts"]) {
    GoldenPrompt prompt;
    if (entry["text"].is_string()) prompt.text = entry["text"].get<std::string>();
    prompt.token_ids = entry["token_ids"].get<std::vector<int32_t>>();
    prompt.greedy = entry["greedy"].get<std::vector<int32_t>>();
    prompt.greedy_margin = entry["greedy_margin"].get<std::vector<float>>();
    prompt.logits.resize(prompt.token_ids.size() * vocab_size);
    const size_t offset = entry["offset"].get<size_t>() * sizeof(float);
    if (offset + prompt.logits.size() * sizeof(float) > logits.size())
      throw std::runtime_error(name + ": golden_logits.bin is too short");
    std::memcpy(prompt.logits.data(), logits.data() + offset, prompt.logits.size() * sizeof(float));
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

inline std::unique_ptr<Engine> load_tiny(const std::string& name, CpuIsa isa, EngineOptions options = {}) {
  const CpuIsaScope scope(isa);
  if (options.num_threads == 0) options.num_threads = 1;  // ThreadsDoNotChangeABit asks for more
  if (options.kv_memory_bytes == 0) options.kv_memory_bytes = 16 << 20;
  return Engine::load(tiny_path(name), options);
}

// [num_tokens, vocab_size]
inline std::vector<float> logits_of(Engine& engine, std::span<const int32_t> token_ids) {
  std::vector<float> logits;
  engine.prompt_logits(
      token_ids, [&](int64_t, std::span<const float> row) { logits.insert(logits.end(), row.begin(), row.end()); });
  return logits;
}

inline double nmse(const std::vector<float>& test, const std::vector<float>& reference) {
  double error = 0, power = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    error += std::pow(static_cast<double>(test[i]) - reference[i], 2);
    power += std::pow(static_cast<double>(reference[i]), 2);
  }
  return error / power;
}

}  // namespace qwin
