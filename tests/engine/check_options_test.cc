// SPDX-License-Identifier: Apache-2.0
#include "engine/check_options.h"

#include <gtest/gtest.h>

#include <limits>

namespace qwin {

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// What the detail begins with; empty when nothing is refused.
template <typename Check>
std::string refused(Check check) {
  try {
    check();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    const std::string detail = error.what();
    return detail.substr(0, detail.find(' '));
  }
  return "";
}

std::string refused_option(const EngineOptions& options) {
  return refused([&] { check_options(options); });
}
std::string refused_request(const Request& request) {
  return refused([&] { check_request(request); });
}

TEST(CheckOptionsTest, NamesWhatIsOutOfItsRange) {
  EXPECT_EQ(refused_option({}), "");
  EXPECT_EQ(refused_option({.num_threads = -1}), "num_threads");
  EXPECT_EQ(refused_option({.num_threads = 1025}), "num_threads");
  EXPECT_EQ(refused_option({.context_length = -5}), "context_length");
  EXPECT_EQ(refused_option({.window = int64_t{1} << 62}), "window");
  EXPECT_EQ(refused_option({.num_sink_tokens = -1}), "num_sink_tokens");
  EXPECT_EQ(refused_option({.max_batch_size = 0}), "max_batch_size");
  EXPECT_EQ(refused_option({.batch_timeout_seconds = kNan}), "batch_timeout_seconds");
  EXPECT_EQ(refused_option({.max_queue_length = -1}), "max_queue_length");
  EXPECT_EQ(refused_option({.max_step_seconds = kInfinity}), "max_step_seconds");
}

TEST(CheckRequestTest, NamesWhatIsOutOfItsRange) {
  EXPECT_EQ(refused_request({.prompt = {1}}), "");
  EXPECT_EQ(refused_request({.prompt = {1}, .window = -3}), "window");
  EXPECT_EQ(refused_request({.prompt = {1}, .window = std::numeric_limits<int64_t>::max()}), "window");
  EXPECT_EQ(refused_request({.prompt = {1}, .timeout_seconds = kNan}), "timeout_seconds");
}

}  // namespace

}  // namespace qwin
