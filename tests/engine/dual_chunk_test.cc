// SPDX-License-Identifier: Apache-2.0
// Dual-chunk attention through the whole engine, against double arithmetic from its definition
// (tools/make_dual_chunk_goldens.py). hybrid_test.cc has it together with plans, batches, the cache and pre-emption.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "engine/tiny_models.h"

namespace qwin {
namespace {

class DualChunkTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
    golden_ = parse_json(read_bytes(std::string(QWIN_TESTDATA) + "/model/dual_chunk_golden.json"),
                         "dual_chunk_golden.json", ErrorCode::io);
    token_ids_ = golden_["token_ids"].get<std::vector<int32_t>>();
    for (const Json& row : golden_["logits"]) {
      const auto logits = row.get<std::vector<float>>();
      logits_.insert(logits_.end(), logits.begin(), logits.end());
    }
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  // The tiny model with a context of 2,048 tokens, and chunks unless `chunk` is null.
  std::unique_ptr<Engine> load(const Json& chunk, CpuIsa isa = detect_cpu_isa(), EngineOptions options = {}) {
    const std::filesystem::path model = directory_ / std::to_string(++num_models_);
    std::filesystem::copy(tiny_path("qwen2_tied"), model);
    Json config = parse_json(read_bytes(model / "config.json"), "config.json", ErrorCode::io);
    config["max_position_embeddings"] = 2048;
    config["dual_chunk_attention_config"] = chunk;
    std::ofstream(model / "config.json") << config.dump();
    const CpuIsaScope scope(isa);
    options.num_threads = 1;
    options.kv_memory_bytes = 64 << 20;
    return Engine::load(model, options);
  }
  const Json& chunk() const { return golden_["dual_chunk_attention_config"]; }

  std::vector<float> at_golden_positions(const std::vector<float>& logits) const {
    const size_t vocab_size = logits.size() / token_ids_.size();
    std::vector<float> rows;
    for (const size_t position : golden_["positions"]) {
      const auto row = logits.begin() + static_cast<ptrdiff_t>(position * vocab_size);
      rows.insert(rows.end(), row, row + static_cast<ptrdiff_t>(vocab_size));
    }
    return rows;
  }

  const std::filesystem::path directory_ =
      std::filesystem::temp_directory_path() / ("qwin_dual_chunk_" + std::to_string(::getpid()));
  Json golden_;
  std::vector<int32_t> token_ids_;
  std::vector<float> logits_;
  int num_models_ = 0;
};

TEST_F(DualChunkTest, Float32EqualsTheDefinition) {
  const EngineOptions exact{.kv_type = KvCacheType::f32};
  const std::vector<float> logits = logits_of(*load(chunk(), CpuIsa::float32, exact), token_ids_);
  EXPECT_LE(nmse(at_golden_positions(logits), logits_), 1e-8);
  const std::vector<float> plain = logits_of(*load(nullptr, CpuIsa::float32, exact), token_ids_);
  EXPECT_GT(nmse(at_golden_positions(plain), logits_), 1e-2);
}

TEST_F(DualChunkTest, EveryRungGivesTheSameBitsNearTheDefinition) {
  for (const KvCacheType kv_type : {KvCacheType::f16, KvCacheType::q8}) {
    const std::vector<float> reference = logits_of(*load(chunk(), CpuIsa::reference, {.kv_type = kv_type}), token_ids_);
    EXPECT_LE(nmse(at_golden_positions(reference), logits_), 5e-3);
    for (const CpuIsa isa : {CpuIsa::avx2, CpuIsa::avx512, CpuIsa::avx512_vnni}) {
      if (isa > detect_cpu_isa()) continue;
      EXPECT_EQ(logits_of(*load(chunk(), isa, {.kv_type = kv_type}), token_ids_), reference) << cpu_isa_name(isa);
    }
  }
}

TEST_F(DualChunkTest, WithinOneChunkNothingChanges) {
  const std::vector<int32_t> first(token_ids_.begin(), token_ids_.begin() + 192);
  EXPECT_EQ(logits_of(*load(chunk()), first), logits_of(*load(nullptr), first));
  Json wide = chunk();
  wide["chunk_size"] = 1024 + 64, wide["original_max_position_embeddings"] = 1024;
  EXPECT_EQ(logits_of(*load(wide), token_ids_), logits_of(*load(nullptr), token_ids_));
  wide["original_max_position_embeddings"] = 700;
  EXPECT_NE(logits_of(*load(wide), token_ids_), logits_of(*load(nullptr), token_ids_)) << "beyond the original length";
}

}  // namespace
}  // namespace qwin
