// SPDX-License-Identifier: Apache-2.0
#include "scheduler/cost_model.h"

#include <gtest/gtest.h>

#include <random>

namespace qwin {
namespace {

StepLoad random_load(std::mt19937& random) {
  StepLoad load;
  load.add(static_cast<int64_t>(random() % 8000), 1 + static_cast<int64_t>(random() % 100));
  return load;
}

double truth(const StepLoad& load, double slowness) {
  return slowness * (0.03 + 0.002 * static_cast<double>(load.tokens) + 2e-7 * load.keys);
}

TEST(CostModelTest, LearnsALinearMachineAndFollowsItWhenItSlowsDown) {
  std::mt19937 random(1);
  CostModel model;
  for (const double slowness : {1.0, 2.5}) {
    for (int i = 0; i < 400; ++i) {
      const StepLoad load = random_load(random);
      model.observe(load, truth(load, slowness) * (0.95 + 0.1 * static_cast<double>(random() % 1000) / 1000));
    }
    for (int i = 0; i < 50; ++i) {
      const StepLoad load = random_load(random);
      EXPECT_NEAR(model.seconds(load) / truth(load, slowness), 1, 0.1);
    }
  }
}

TEST(CostModelTest, OnePromptIsEnoughToKnowWhatTwiceAsManyTokensTake) {
  CostModel model;
  StepLoad prompt, decode, larger;
  prompt.add(0, 30);
  decode.add(30, 1);
  larger.add(0, 60);
  model.observe(prompt, truth(prompt, 1));
  for (int i = 0; i < 20; ++i) model.observe(decode, truth(decode, 1));
  EXPECT_NEAR(model.seconds(larger) / truth(larger, 1), 1, 0.1);
}

TEST(CostModelTest, StepsThatAreAllAlikeDoNotSpoilIt) {
  CostModel model;
  StepLoad decode;
  decode.add(100, 1);
  for (int i = 0; i < 100000; ++i) model.observe(decode, 0.03);
  EXPECT_NEAR(model.seconds(decode), 0.03, 0.001);
  StepLoad prompt;
  prompt.add(0, 256);
  for (int i = 0; i < 20; ++i) model.observe(prompt, 0.5);
  EXPECT_NEAR(model.seconds(prompt), 0.5, 0.05);
}

TEST(CostModelTest, ItIsAsCarefulAsStepsDeviate) {
  std::mt19937 random(1);
  CostModel model;
  StepLoad decode, prompt;
  decode.add(100, 1);
  prompt.add(0, 100);
  const auto observe = [&](const StepLoad& load, double noise) {
    const double taken = truth(load, 1) + noise * (static_cast<double>(random() % 2001) / 1000 - 1);
    const bool covered = taken <= model.careful_seconds(load);
    model.observe(load, taken);
    return covered;
  };
  for (int i = 0; i < 100; ++i) observe(i % 2 == 0 ? decode : prompt, 0.002);
  EXPECT_NEAR(model.careful_seconds(prompt), truth(prompt, 1), 0.005);
  int num_covered = 0;
  for (int i = 0; i < 400; ++i) num_covered += observe(prompt, 0.05);
  EXPECT_GE(num_covered, 360);
  EXPECT_LE(model.careful_seconds(prompt), truth(prompt, 1) + 0.1);
}

TEST(CostModelTest, AStoppedProcessTeachesItLittle) {
  CostModel model;
  StepLoad decode;
  decode.add(100, 1);
  for (int i = 0; i < 100; ++i) model.observe(decode, 0.03);
  model.observe(decode, 60);
  EXPECT_LT(model.seconds(decode), 1);
}

}  // namespace
}  // namespace qwin
