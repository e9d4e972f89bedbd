// SPDX-License-Identifier: Apache-2.0
#include "compress/quantize_model.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "compress/measure_plan.h"
#include "compress/span_model.h"
#include "core/cpu_info.h"

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
    ASSERT_EQ(item.options.size(), 4u);
    EXPECT_EQ(item.options[0].type, DType::q3);
    EXPECT_GT(item.options[0].loss, item.options[1].loss) << item.tensor;
    EXPECT_GT(item.options[1].loss, item.options[2].loss) << item.tensor;
    EXPECT_GT(item.options[2].loss, item.options[3].loss) << item.tensor;
    EXPECT_GT(item.options[3].loss, 0) << item.tensor;
  }
  const uint64_t smallest = plan.bytes();
  const double most = plan.loss();
  choose_within(plan, smallest * 5 / 4);
  EXPECT_LT(plan.loss(), most / 2);

  Calibration calibration(files_, SpanModel::text(), team_, {});
  const Plan calibrated = measure_plan(files_, 32, &calibration, SpanModel::text(), team_, {});
  EXPECT_LT(calibrated.loss(), most);
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
