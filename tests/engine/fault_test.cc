// SPDX-License-Identifier: Apache-2.0
// Memory that runs out in the middle of a request: an allocation of the engine's thread fails, each in its turn. The
// request ends with an answer or an error, whoever comes later is told, and nothing crashes.
#include <gtest/gtest.h>

#include <cstdlib>
#include <future>
#include <new>

#include "engine/tiny_models.h"

namespace {

std::atomic<int64_t> countdown{-1};  // allocations of other threads than the test's until one fails; < 0: none does
thread_local bool is_test_thread = false;

void* allocate(size_t size) {
  if (!is_test_thread && countdown.load() >= 0 && countdown.fetch_sub(1) == 0) throw std::bad_alloc();
  if (void* const memory = std::malloc(std::max<size_t>(size, 1))) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(size_t size) { return allocate(size); }
void* operator new[](size_t size) { return allocate(size); }
// The standard library's sorting asks like this, and releases like all others.
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  try {
    return allocate(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace qwin {
namespace {

// The text, or nothing when the request failed.
std::optional<std::string> ask(Engine& engine, int64_t failing_allocation) {
  std::promise<std::optional<std::string>> answer;
  Request request{.prompt = std::vector<int32_t>(70, 5), .sampling = {.max_tokens = 8, .ignore_eos = true}};
  RequestEvents events{.on_end = [&](const GenerationResult& result, const std::exception_ptr& error) {
    answer.set_value(error ? std::nullopt : std::optional(result.text));
  }};
  countdown = failing_allocation;
  try {
    engine.submit(std::move(request), std::move(events));
  } catch (const Error&) {
    return std::nullopt;
  }
  std::optional<std::string> text = answer.get_future().get();
  countdown = -1;
  return text;
}

TEST(FaultTest, MemoryThatRunsOutEndsARequestAndNotTheProcess) {
  is_test_thread = true;
  std::unique_ptr<Engine> engine = load_tiny("qwen2_tied", CpuIsa::reference);
  const std::optional<std::string> expected = ask(*engine, -1);
  ASSERT_TRUE(expected);
  int num_failed = 0, num_broken = 0;
  for (int64_t allocation = 0; allocation < 200; allocation += 3) {
    const std::optional<std::string> text = ask(*engine, allocation);
    if (text) {
      EXPECT_EQ(text, expected) << "allocation " << allocation;
    } else {
      ++num_failed;
    }
    if (engine->stats().failure.empty()) continue;
    EXPECT_EQ(engine->stats().failure, "out of memory");
    EXPECT_FALSE(ask(*engine, -1)) << "a broken engine answers";
    ++num_broken;
    engine = load_tiny("qwen2_tied", CpuIsa::reference);
  }
  EXPECT_GT(num_failed, 0);
  EXPECT_GT(num_broken, 0);
  EXPECT_EQ(ask(*engine, -1), expected);
  is_test_thread = false;
}

}  // namespace
}  // namespace qwin
