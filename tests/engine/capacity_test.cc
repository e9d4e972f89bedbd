// SPDX-License-Identifier: Apache-2.0
#include "engine/capacity.h"

#include <gtest/gtest.h>

namespace qwin {

namespace {

constexpr CapacityInput kInput{.memory = {.total_bytes = 20'000, .available_bytes = 10'000},
                               .weight_bytes = 4'000,
                               .activation_bytes = 1'000,
                               .page_bytes = 100,
                               .page_size = 64,
                               .model_context_length = 1024};

Error error_of(const CapacityInput& input, const EngineOptions& options) {
  try {
    plan_capacity(input, options);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(ErrorCode::io, "");
}

TEST(CapacityTest, TakesTheModelsContextWhenItFits) {
  const Capacity capacity = plan_capacity(kInput, {.max_batch_size = 1});
  EXPECT_EQ(capacity.context_length, 1024);
  EXPECT_EQ(capacity.num_pages, 17);
  EXPECT_EQ(capacity.kv_memory_bytes, 1'700u);
}

TEST(CapacityTest, AWholeBatchOfLongTextsGetsPagesIfThereAreSo) {
  EXPECT_EQ(plan_capacity(kInput, {.max_batch_size = 2}).num_pages, 34);
  EXPECT_EQ(plan_capacity(kInput, {.max_batch_size = 16}).num_pages, 40) << "four fifths of what is left";
  EXPECT_EQ(plan_capacity(kInput, {.max_batch_size = 16}).context_length, 1024);
}

TEST(CapacityTest, ShrinksTheContextToFourFifthsOfWhatIsLeft) {
  CapacityInput input = kInput;
  input.memory.available_bytes = 6'000;  // 1,000 left, of which 800: 8 pages, one of them spare
  const Capacity capacity = plan_capacity(input, {});
  EXPECT_EQ(capacity.num_pages, 8);
  EXPECT_EQ(capacity.context_length, 7 * 64);
}

TEST(CapacityTest, AskedContextIsTakenOrRefusedNeverShrunk) {
  EXPECT_EQ(plan_capacity(kInput, {.context_length = 100}).context_length, 100);
  EXPECT_EQ(plan_capacity(kInput, {.context_length = 100, .max_batch_size = 1}).num_pages, 3);
  CapacityInput input = kInput;
  input.memory.available_bytes = 6'000;
  const Error error = error_of(input, {.context_length = 1000});
  EXPECT_EQ(error.code(), ErrorCode::does_not_fit);
  EXPECT_NE(std::string(error.what()).find("6700"), std::string::npos) << error.what();
  EXPECT_NE(std::string(error.what()).find("5800"), std::string::npos) << error.what();
}

TEST(CapacityTest, WhatIsTooMuchForTheMemoryGoesToADisk) {
  CapacityInput input = kInput;
  input.disk_bytes = 100'000;
  const Capacity all = plan_capacity(input, {.max_batch_size = 16});
  EXPECT_EQ(all.num_pages, 16 * 17);
  EXPECT_EQ(all.kv_memory_bytes, 4'000u);
  EXPECT_EQ(all.kv_disk_bytes, 27'200u);
  EXPECT_EQ(plan_capacity(input, {.kv_memory_bytes = 300, .max_batch_size = 1}).kv_memory_bytes, 300u);
  EXPECT_EQ(plan_capacity(input, {.max_batch_size = 2}).kv_disk_bytes, 0u) << "all of it fits in the memory";
  input.disk_bytes = 1'000;  // 8 pages, fewer than fit in the memory
  EXPECT_EQ(plan_capacity(input, {.max_batch_size = 16}).num_pages, 40);
  EXPECT_EQ(plan_capacity(input, {.max_batch_size = 16}).kv_disk_bytes, 0u);
  const Error error = error_of(input, {.context_length = 1000, .kv_memory_bytes = 300});
  EXPECT_EQ(error.code(), ErrorCode::does_not_fit);
  EXPECT_NE(std::string(error.what()).find("1700 bytes of disk"), std::string::npos) << error.what();
}

TEST(CapacityTest, ContextBeyondTheModelsNeedsAWindow) {
  EXPECT_EQ(error_of(kInput, {.context_length = 1025}).code(), ErrorCode::invalid_argument);
  EXPECT_EQ(plan_capacity(kInput, {.context_length = 1025, .window = 64}).context_length, 1025);
}

TEST(CapacityTest, WindowGetsThePagesWithWhichItGoesOnForEver) {
  // 2 pages of sinks, 16 of window, 4 of a step, 1 because neither end is aligned: more than the context's 17.
  const Capacity capacity = plan_capacity(kInput, {.window = 1024, .num_sink_tokens = 70, .max_batch_size = 1});
  EXPECT_EQ(capacity.num_pages, 2 + 16 + 4 + 1);
  EXPECT_EQ(capacity.context_length, 1024);
  EXPECT_EQ(plan_capacity(kInput, {.window = 64, .num_sink_tokens = 0, .max_batch_size = 1}).num_pages, 17);
  const Error error = error_of(kInput, {.window = 10'000});
  EXPECT_EQ(error.code(), ErrorCode::does_not_fit);
  EXPECT_NE(std::string(error.what()).find("window of 10000"), std::string::npos) << error.what();
}

TEST(CapacityTest, AskedKvMemoryBoundsThePages) {
  const Capacity capacity = plan_capacity(kInput, {.kv_memory_bytes = 550});
  EXPECT_EQ(capacity.num_pages, 5);
  EXPECT_EQ(capacity.context_length, 4 * 64);
  EXPECT_EQ(error_of(kInput, {.kv_memory_bytes = 5'001}).code(), ErrorCode::does_not_fit);
  EXPECT_EQ(error_of(kInput, {.kv_memory_bytes = 199}).code(), ErrorCode::does_not_fit);
}

TEST(CapacityTest, ModelThatDoesNotFitIsRefusedWithBothNumbers) {
  CapacityInput input = kInput;
  input.weight_bytes = 50'000;
  const Error error = error_of(input, {});
  EXPECT_EQ(error.code(), ErrorCode::does_not_fit);
  EXPECT_NE(std::string(error.what()).find("51100"), std::string::npos) << error.what();
  EXPECT_NE(std::string(error.what()).find("10000"), std::string::npos) << error.what();
}

TEST(CapacityTest, MemoryBeyondAllNumbersIsRefused) {
  CapacityInput input = kInput;
  const Error error = error_of(input, {.kv_memory_bytes = ~uint64_t{0} - 100});
  EXPECT_EQ(error.code(), ErrorCode::does_not_fit);
}

}  // namespace

}  // namespace qwin
