// SPDX-License-Identifier: Apache-2.0
#include "compress/plan.h"

#include <gmock/gmock.h>

#include <limits>
#include <random>

#include "io/io_test_support.h"

namespace qwin {
namespace {

using testing::error_of;

Plan random_plan(std::mt19937& random, size_t num_items, uint64_t unit) {
  std::uniform_int_distribution<uint64_t> rows(1, 40);
  std::uniform_real_distribution<double> loss(0.001, 1);
  Plan plan;
  for (size_t i = 0; i < num_items; ++i) {
    const uint64_t n = rows(random) * unit;
    const double lost = loss(random);
    plan.items.push_back(
        {"tensor " + std::to_string(i),
         {{DType::q4, 34 * n, lost}, {DType::q6, 50 * n, lost / 20}, {DType::q8, 65 * n, lost / 300}}});
  }
  return plan;
}

// Tries every combination.
double smallest_loss(Plan plan, size_t item, uint64_t budget) {
  if (item == plan.items.size()) return plan.bytes() <= budget ? plan.loss() : std::numeric_limits<double>::infinity();
  double smallest = std::numeric_limits<double>::infinity();
  for (plan.items[item].chosen = 0; plan.items[item].chosen < 3; ++plan.items[item].chosen)
    smallest = std::min(smallest, smallest_loss(plan, item + 1, budget));
  return smallest;
}

TEST(PlanTest, ChoosesWhatLosesLeastOfAllCombinations) {
  std::mt19937 random(5);
  for (int round = 0; round < 30; ++round) {
    Plan plan = random_plan(random, 7, 2);
    const uint64_t smallest = plan.bytes();
    for (PlanItem& item : plan.items) item.chosen = 2;
    const uint64_t budget = std::uniform_int_distribution<uint64_t>(smallest, plan.bytes())(random);
    choose_within(plan, budget);
    EXPECT_LE(plan.bytes(), budget);
    EXPECT_DOUBLE_EQ(plan.loss(), smallest_loss(plan, 0, budget)) << "round " << round;
  }
}

TEST(PlanTest, LargeModelsAreSolvedInCoarserUnits) {
  std::mt19937 random(6);
  Plan plan = random_plan(random, 7, 1);
  for (PlanItem& item : plan.items) {  // no common divisor of the sizes, far more units than the table has
    for (PlanOption& option : item.options) option.bytes = option.bytes * 1000003 + random() % 1000;
  }
  const uint64_t budget = plan.bytes() * 13 / 10;
  choose_within(plan, budget);
  EXPECT_LE(plan.bytes(), budget);
  EXPECT_LE(plan.loss(), 1.001 * smallest_loss(plan, 0, budget));
}

TEST(PlanTest, Q3IsForSizesThatOtherTypesDoNotReach) {
  std::mt19937 random(8);
  Plan plan = random_plan(random, 12, 1);
  for (PlanItem& item : plan.items) {
    const PlanOption q4 = item.options[0];
    item.options.insert(item.options.begin(), {DType::q3, q4.bytes / 34 * 26, 1.01 * q4.loss});
  }
  const uint64_t smallest = plan.bytes();  // of Q3
  for (PlanItem& item : plan.items) item.chosen = 1;
  const uint64_t of_q4 = plan.bytes();
  const auto num_q3 = [&](uint64_t budget) {
    choose_within(plan, budget);
    EXPECT_LE(plan.bytes(), budget);
    return std::ranges::count(plan.items, DType::q3, [](const PlanItem& item) { return item.choice().type; });
  };
  EXPECT_EQ(num_q3(of_q4), 0);
  EXPECT_EQ(num_q3(of_q4 * 5 / 4), 0);  // though another matrix could have the bits
  EXPECT_GT(num_q3(of_q4 - 1), 0);
  EXPECT_EQ(num_q3(smallest), 12);
}

TEST(PlanTest, RoomForEverythingTakesTheBest) {
  std::mt19937 random(7);
  Plan plan = random_plan(random, 20, 3);
  choose_within(plan, uint64_t{1} << 60);
  for (const PlanItem& item : plan.items) EXPECT_EQ(item.choice().type, DType::q8);
}

TEST(PlanTest, TheSmallestSizeFitsAndLessIsRefused) {
  std::mt19937 random(8);
  Plan plan = random_plan(random, 20, 3);
  const uint64_t smallest = plan.bytes();
  choose_within(plan, smallest);
  for (const PlanItem& item : plan.items) EXPECT_EQ(item.choice().type, DType::q4);
  std::string detail;
  EXPECT_EQ(error_of([&] { choose_within(plan, smallest - 1); }, &detail), "invalid_argument");
  EXPECT_THAT(detail, ::testing::HasSubstr(std::to_string(smallest)));
}

TEST(PlanTest, AFileKeepsAllOfIt) {
  std::mt19937 random(9);
  Plan plan = random_plan(random, 5, 3);
  plan.group_size = 64;
  choose_within(plan, plan.bytes() * 5 / 4);
  const Plan read = plan_of(read_json(plan_document(plan).dump(), 8));
  EXPECT_EQ(read.group_size, 64u);
  EXPECT_EQ(read.types(), plan.types());
  EXPECT_EQ(read.loss(), plan.loss());
  EXPECT_EQ(read.bytes(), plan.bytes());
  EXPECT_EQ(read.items[4].options[2].loss, plan.items[4].options[2].loss);
}

TEST(PlanTest, AFileTellsOptionsOfOneTypeApart) {
  Plan plan;
  plan.items.push_back({"head", {{DType::q4, 68, 1.0}, {DType::q4, 80, 0.3, 16}, {DType::q4, 92, 0.2, 32}}});
  choose_within(plan, 85);
  EXPECT_EQ(plan.residual_rows(), (std::map<std::string, size_t>{{"head", 16}}));
  const Plan read = plan_of(plan_document(plan));
  EXPECT_EQ(read.residual_rows(), plan.residual_rows());
  EXPECT_EQ(read.bytes(), 80u);
  Json document = plan_document(plan);
  document["tensors"][0]["residual_rows"] = 17;  // none of the options
  EXPECT_EQ(error_of([&] { plan_of(document); }), "invalid_argument");
  choose_within(plan, 68);
  EXPECT_TRUE(plan.residual_rows().empty());
}

TEST(PlanTest, NamesWhatIsNoPlan) {
  std::mt19937 random(10);
  const Json good = plan_document(random_plan(random, 1, 1));
  for (const char* bad : {"[]", "{}", "{\"qwin_plan\": 2}", "{\"qwin_plan\": 1}"})
    EXPECT_EQ(error_of([&] { plan_of(Json::parse(bad)); }), "invalid_argument") << bad;
  Json document = good;
  document["tensors"][0]["type"] = "Q9";
  EXPECT_EQ(error_of([&] { plan_of(document); }), "invalid_argument");
  document["tensors"][0]["type"] = "F32";  // none of the options
  EXPECT_EQ(error_of([&] { plan_of(document); }), "invalid_argument");
  document = good;
  document["tensors"][0]["options"] = "none";
  EXPECT_EQ(error_of([&] { plan_of(document); }), "invalid_argument");
}

}  // namespace
}  // namespace qwin
