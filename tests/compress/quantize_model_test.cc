// SPDX-License-Identifier: Apache-2.0
#include "compress/quantize_model.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "compress/measure_plan.h"
#include "compress/span_model.h"
#include "core/cpu_info.h"
#include "model/row_residual.h"
#include "quant/dequantize.h"
#include "runner/runner.h"

namespace qwin {
namespace {

namespace fs = std::filesystem;
using testing::error_of;
using testing::SpanModel;

class QuantizeModelTest : public ::testing::Test {
 protected:
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_.path())) found.push_back(entry.path().filename().string());
    return found;
  }

  const SpanModel model_;
  const ModelFiles files_ = model_.open();
  const testing::TemporaryFolder folder_;
  const std::string path_ = folder_ / "out.gguf";
  ThreadTeam team_{2, allowed_cores()};
};

TEST_F(QuantizeModelTest, TheSizeIsKnownBefore) {
  for (const char* profile : {"q4", "q4-ffn8", "q8"}) {
    const QuantizeProfile types = quantize_profile(profile);
    const uint64_t announced = quantized_bytes(files_, types, path_, team_);
    EXPECT_FALSE(fs::exists(path_));
    const QuantizeReport report = quantize_model(files_, {.profile = types}, path_, team_);
    EXPECT_EQ(report.file_bytes, announced);
    EXPECT_EQ(fs::file_size(path_), announced);
    fs::remove(path_);
  }
}

TEST_F(QuantizeModelTest, APlansTypesComeBeforeTheProfiles) {
  QuantizeProfile profile;
  profile.types = {{"model.layers.0.mlp.up_proj.weight", DType::q8}, {"model.embed_tokens.weight", DType::q4}};
  quantize_model(files_, {.profile = profile}, path_, team_);
  const ModelFiles written = open_model_files(path_);
  EXPECT_EQ(written.tensors.find("model.layers.0.mlp.up_proj.weight")->dtype, DType::q8);
  EXPECT_EQ(written.tensors.find("model.layers.1.mlp.up_proj.weight")->dtype, DType::q4);
  EXPECT_EQ(written.tensors.find("model.embed_tokens.weight")->dtype, DType::q4);
}

TEST_F(QuantizeModelTest, ACheckSeesTheWholeFileBeforeItHasAName) {
  uint64_t seen = 0;
  quantize_model(files_,
                 {.check =
                      [&](const std::string& path) {
                        EXPECT_THAT(names(), ::testing::IsEmpty());
                        EXPECT_EQ(open_model_files(path).tensors.tensors().size(), files_.tensors.tensors().size());
                        seen = fs::file_size(path);
                      }},
                 path_, team_);
  EXPECT_EQ(fs::file_size(path_), seen);
}

TEST_F(QuantizeModelTest, WhatACheckRefusesLeavesNothingAndWhatWasThereStays) {
  const auto refuse = [](const std::string&) { throw Error(ErrorCode::gate_missed, "too far"); };
  EXPECT_EQ(error_of([&] { quantize_model(files_, {.check = refuse}, path_, team_); }), "gate_missed");
  EXPECT_THAT(names(), ::testing::IsEmpty());
  folder_.write("out.gguf", "what was there");
  EXPECT_EQ(error_of([&] { quantize_model(files_, {.check = refuse}, path_, team_); }), "gate_missed");
  EXPECT_THAT(names(), ::testing::ElementsAre("out.gguf"));
  EXPECT_EQ(fs::file_size(path_), 14u);
}

TEST_F(QuantizeModelTest, APlanMeasuresEveryMatrix) {
  uint64_t done = 0, total = 0;
  Plan plan = measure_plan(files_, 32, nullptr, SpanModel::text(), team_, [&](uint64_t now, uint64_t all) {
    EXPECT_GT(now, done);
    done = now, total = all;
  });
  EXPECT_EQ(done, total);
  check_plan(plan, files_);
  EXPECT_EQ(plan.items.size(), 15u);  // seven a layer, and the embedding
  for (const PlanItem& item : plan.items) {
    ASSERT_EQ(item.options.size(), 5u);  // without calibration no residuals
    EXPECT_EQ(item.options[0].type, DType::q3);
    EXPECT_EQ(item.options[2].type, DType::q5);
    for (size_t i = 1; i < 5; ++i) EXPECT_GT(item.options[i - 1].loss, item.options[i].loss) << item.tensor << i;
    EXPECT_GT(item.options[4].loss, 0) << item.tensor;
  }
  const uint64_t smallest = plan.bytes();
  const double most = plan.loss();
  choose_within(plan, smallest * 5 / 4);
  EXPECT_LT(plan.loss(), most / 2);

  Calibration calibration(files_, SpanModel::text(), team_, {});
  const Plan calibrated = measure_plan(files_, 32, &calibration, SpanModel::text(), team_, {});
  EXPECT_LT(calibrated.loss(), most);
}

// [320, 128]
std::vector<float> embedding_of(const ModelFiles& files) {
  const TensorInfo& matrix = *files.tensors.find("model.embed_tokens.weight");
  std::vector<float> values(matrix.num_elements());
  dequantize(matrix.dtype, matrix.data.data(), values.size(), values.data());
  if (const auto residual = find_row_residual(files, matrix)) {
    std::vector<float> added(residual->tensor->num_elements());
    dequantize(residual->tensor->dtype, residual->tensor->data.data(), added.size(), added.data());
    for (size_t i = 0; i < added.size(); ++i)
      values[static_cast<size_t>((*residual->rows)[i / SpanModel::kHidden]) * SpanModel::kHidden +
             i % SpanModel::kHidden] += added[i];
  }
  return values;
}

class ResidualTest : public QuantizeModelTest {
 protected:
  static constexpr size_t kRows = 80;

  ResidualTest() {
    profile_.types["model.embed_tokens.weight"] = DType::q4;
    profile_.residual_rows["model.embed_tokens.weight"] = kRows;
    report_ = quantize_model(files_, {.profile = profile_, .calibration = &calibration_}, path_, team_);
  }

  std::vector<float> logits(Runner& runner) {
    std::vector<float> all;
    runner.for_logits(batch_.token_ids.size(),
                      [&](size_t, std::span<const float> row) { all.insert(all.end(), row.begin(), row.end()); });
    return all;
  }

  Calibration calibration_{files_, SpanModel::text(), team_, {}};
  QuantizeProfile profile_;
  QuantizeReport report_;
  int32_t page_ = 0;
  Batch batch_{.token_ids = {5, 17, 80, 200, 311, 90, 41, 12}, .ranges = {{.pages = &page_, .num_tokens = 8}}};
};

TEST_F(ResidualTest, TheLikelyRowsKeepNearlyAllTheyHad) {
  const ModelFiles written = open_model_files(path_);
  const auto residual = find_row_residual(written, *written.tensors.find("model.embed_tokens.weight"));
  ASSERT_TRUE(residual);
  EXPECT_EQ(*residual->rows, calibration_.vocabulary_use().most_used(kRows));
  const std::vector<float> exact = embedding_of(files_), kept = embedding_of(written);
  double lost[2] = {}, whole[2] = {};
  for (size_t i = 0; i < exact.size(); ++i) {
    const bool likely = std::ranges::binary_search(*residual->rows, static_cast<int32_t>(i / SpanModel::kHidden));
    lost[likely] += std::pow(exact[i] - kept[i], 2), whole[likely] += std::pow(exact[i], 2);
  }
  EXPECT_GT(lost[0] / whole[0], 1e-3);
  EXPECT_LT(lost[1] / whole[1], 2e-4);
  EXPECT_EQ(fs::file_size(path_), report_.file_bytes);
  EXPECT_NEAR(report_.bits_per_weight, 4.9, 0.5);  // a residual adds bytes, not weights
}

TEST_F(ResidualTest, EmbeddingAndHeadComputeWithThem) {
  const ModelFiles written = open_model_files(path_);
  const ModelConfig config = read_model_config(written);
  EXPECT_TRUE(check_tensors(config, written).empty());
  std::vector<float> dense = embedding_of(written), results[2];
  for (const bool stands_in : {false, true}) {
    QuantizeProfile plain = profile_;
    plain.residual_rows.clear();
    const std::string path = folder_ / "plain.gguf";
    if (stands_in) quantize_model(files_, {.profile = plain, .calibration = &calibration_}, path, team_);
    const ModelFiles files = open_model_files(stands_in ? path : path_);
    Runner runner(config, files, {.isa = CpuIsa::float32, .cores = allowed_cores(), .kv_type = KvType::f32}, {});
    runner.allocate_pages(1);
    if (stands_in) {
      const StoredMatrix matrix{reinterpret_cast<const std::byte*>(dense.data()), DType::f32, SpanModel::kVocab,
                                SpanModel::kHidden};
      runner.stored_matrix(ModelMatrix::embed_tokens, 0) = matrix;
      runner.stored_matrix(ModelMatrix::lm_head, 0) = matrix;
    }
    runner.run(batch_);
    results[stands_in] = logits(runner);
  }
  for (size_t i = 0; i < results[0].size(); ++i) ASSERT_NEAR(results[0][i], results[1][i], 2e-4) << i;
}

TEST_F(ResidualTest, PlansOfferThemForTheVocabularyWhenATextWasRead) {
  Plan plan = measure_plan(files_, 32, nullptr, SpanModel::text(), team_, {});
  const size_t without = plan.items.back().options.size();
  for (int again = 0; again < 2; ++again) {
    offer_residuals(plan, files_, calibration_.vocabulary_use());
    EXPECT_EQ(plan.items.back().options.size(), without + 2 * 3);  // Q3 and Q4; 16, 32 and 80 rows
  }
  check_plan(plan, files_);
  for (const PlanItem& item : plan.items) {
    const bool is_vocabulary = item.tensor == "model.embed_tokens.weight";
    const auto rows = std::ranges::max(item.options, {}, &PlanOption::residual_rows).residual_rows;
    EXPECT_EQ(rows, is_vocabulary ? kRows : 0u) << item.tensor;
  }
  for (const PlanOption& option : plan.items.back().options)
    EXPECT_EQ(option.bytes, tensor_bytes("", option.type, {320, 128}) + option.residual_rows * 72);
}

TEST_F(ResidualTest, AskWhatCannotBeDone) {
  std::string detail;
  EXPECT_EQ(error_of([&] { quantize_model(files_, {.profile = profile_}, folder_ / "none.gguf", team_); }, &detail),
            "invalid_argument");
  EXPECT_THAT(detail, ::testing::HasSubstr("--calibrate"));
  const ModelFiles written = open_model_files(path_);
  EXPECT_EQ(error_of([&] { quantize_model(written, {}, folder_ / "again.gguf", team_); }, &detail), "invalid_argument");
  EXPECT_THAT(detail, ::testing::HasSubstr("model.embed_tokens.weight"));
  ModelFiles broken = written;
  broken.gguf = {};
  EXPECT_EQ(error_of([&] { check_tensors(read_model_config(written), broken); }), "missing_tensor");
}

// Factors of channels, in norms, v, its bias and up, cancel those in the matrices behind them.
TEST_F(QuantizeModelTest, ChannelsGetFactorsAndTheModelComputesWhatItDid) {
  Calibration calibration(files_, SpanModel::text(), team_, {});
  quantize_model(files_, {.profile = quantize_profile("q8"), .calibration = &calibration}, path_, team_);
  const ModelFiles written = open_model_files(path_);
  const std::string layer = "model.layers.1.";
  for (const char* name : {"input_layernorm.weight", "post_attention_layernorm.weight", "self_attn.v_proj.bias"}) {
    const auto *before = files_.tensors.find(layer + name), *after = written.tensors.find(layer + name);
    ASSERT_EQ(after->data.size(), before->data.size());
    EXPECT_NE(std::memcmp(after->data.data(), before->data.data(), before->data.size()), 0) << name;
  }
  int32_t page = 0;
  std::vector<float> results[2];
  for (const bool is_written : {false, true}) {
    const ModelFiles& files = is_written ? written : files_;
    Runner runner(read_model_config(files), files,
                  {.isa = CpuIsa::float32, .cores = allowed_cores(), .kv_type = KvType::f32}, {});
    runner.allocate_pages(1);
    const Batch batch{.token_ids = {5, 17, 80, 200, 311, 90, 41, 12}, .ranges = {{.pages = &page, .num_tokens = 8}}};
    runner.run(batch);
    runner.for_logits(batch.token_ids.size(), [&](size_t, std::span<const float> row) {
      results[is_written].insert(results[is_written].end(), row.begin(), row.end());
    });
  }
  double error = 0, all = 0;
  for (size_t i = 0; i < results[0].size(); ++i)
    error += std::pow(results[0][i] - results[1][i], 2), all += std::pow(results[0][i], 2);
  EXPECT_LT(error, 5e-3 * all);  // eight bits lose 6e-4; norms without their factors 4e-2
}

TEST_F(QuantizeModelTest, APlanForAnotherModelIsRefused) {
  const Plan plan = measure_plan(files_, 32, nullptr, SpanModel::text(), team_, {});
  const SpanModel untied(false);
  EXPECT_EQ(error_of([&] { check_plan(plan, untied.open()); }), "invalid_argument");
  Plan larger = plan;
  larger.items.push_back({.tensor = "more", .options = plan.items[0].options});
  EXPECT_EQ(error_of([&] { check_plan(larger, files_); }), "invalid_argument");
  Plan other = plan;
  other.items[3].options[0].bytes += 68;
  EXPECT_EQ(error_of([&] { check_plan(other, files_); }), "invalid_argument");
}

}  // namespace
}  // namespace qwin
