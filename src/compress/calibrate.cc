// SPDX-License-Identifier: Apache-2.0
#include "compress/calibrate.h"

#include <algorithm>
#include <array>
#include <span>

#include "core/cpu_info.h"
#include "model/checkpoint_names.h"
#include "qwin/error.h"
#include "runner/runner.h"
#include "tokenizer/tokenizer.h"

namespace qwin {
namespace {

// The matrices that read each input of a layer, in the order of LayerInput.
constexpr std::array<std::array<const char*, 3>, 4> kReaders = {{
    {"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"},
    {"self_attn.o_proj.weight"},
    {"mlp.gate_proj.weight", "mlp.up_proj.weight"},
    {"mlp.down_proj.weight"},
}};

// Sums over tokens, one a layer and input.
class Moments {
 public:
  explicit Moments(size_t num_layers) : sums_(num_layers) {}

  void add(size_t layer, LayerInput which, const Matrix& x) {
    std::vector<double>& sums = sums_[layer][static_cast<size_t>(which)];
    sums.resize(x.columns);
    for (size_t t = 0; t < x.rows; ++t) {
      const float* row = x.row(t);
      double square = 0;
      for (size_t i = 0; i < x.columns; ++i) square += static_cast<double>(row[i]) * row[i];
      if (square == 0) continue;
      const double share = static_cast<double>(x.columns) / square;
      for (size_t i = 0; i < x.columns; ++i) sums[i] += share * row[i] * row[i];
    }
  }

  std::vector<float> mean(size_t layer, size_t which, size_t num_tokens) const {
    std::vector<float> result;
    for (const double sum : sums_[layer][which])
      result.push_back(static_cast<float>(sum / static_cast<double>(num_tokens)));
    return result;
  }

 private:
  std::vector<std::array<std::vector<double>, kReaders.size()>> sums_;
};

}  // namespace

Importance measure_importance(const ModelFiles& files, std::string_view text, int num_threads,
                              const std::function<void(int64_t done, int64_t total)>& on_tokens) {
  const ModelConfig config = read_model_config(files);
  check_tensors(config, files);
  const std::vector<int32_t> ids = Tokenizer::load(files)->encode(text, true);
  const size_t piece = std::min<size_t>(kMaxBatchTokens, static_cast<size_t>(config.max_positions));
  const size_t num_tokens = ids.size() / piece * piece;
  if (num_tokens == 0) {
    throw Error(ErrorCode::invalid_argument, "the calibration text has " + std::to_string(ids.size()) +
                                                 " tokens; at least " + std::to_string(piece) + " are needed");
  }
  Runner runner(config, files,
                {.isa = CpuIsa::float32, .num_threads = num_threads, .cores = allowed_cores(), .kv_type = KvType::f32},
                {});
  std::vector<int32_t> pages((piece + kPageSize - 1) / kPageSize);
  for (size_t i = 0; i < pages.size(); ++i) pages[i] = static_cast<int32_t>(i);
  runner.allocate_pages(static_cast<int32_t>(pages.size()));
  Moments moments(config.num_layers);
  runner.observe([&](size_t layer, LayerInput which, const Matrix& x) { moments.add(layer, which, x); });
  for (size_t first = 0; first < num_tokens; first += piece) {
    Batch batch;
    batch.token_ids.assign(ids.begin() + static_cast<ptrdiff_t>(first),
                           ids.begin() + static_cast<ptrdiff_t>(first + piece));
    batch.ranges.assign(1, {.pages = pages.data(), .num_tokens = piece});
    runner.run(batch);
    if (on_tokens) on_tokens(static_cast<int64_t>(first + piece), static_cast<int64_t>(num_tokens));
  }
  Importance importance;
  for (size_t layer = 0; layer < config.num_layers; ++layer) {
    for (size_t which = 0; which < kReaders.size(); ++which) {
      for (const char* reader : kReaders[which]) {
        if (reader == nullptr) continue;
        const std::string name = "model.layers." + std::to_string(layer) + "." + reader;
        importance[stored_tensor_name(files, name)] = moments.mean(layer, which, num_tokens);
      }
    }
  }
  return importance;
}

}  // namespace qwin
