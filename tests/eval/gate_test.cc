// SPDX-License-Identifier: Apache-2.0
#include "eval/gate.h"

#include <gmock/gmock.h>

#include <cmath>

#include "qwin/error.h"

namespace qwin {
namespace {

std::string fault_of(const std::string& conditions, const Divergence& measured) {
  try {
    Gate(conditions).check(measured);
  } catch (const Error& error) {
    return std::string(error_code_name(error.code())) + ": " + error.what();
  }
  return "";
}

const Divergence kMeasured{.positions = 100, .mean_kl = 0.03, .kl_p999 = 0.9, .top1 = 0.92};

TEST(GateTest, LetsThroughWhatMeetsEveryCondition) {
  for (const char* met : {"kld<=0.03", "p999<=0.9", "top1>=0.92", "kld<=1,p999<=2,top1>=0", "kld<=3e-2"})
    EXPECT_EQ(fault_of(met, kMeasured), "") << met;
}

TEST(GateTest, RefusesWithTheConditionAndTheFigures) {
  EXPECT_THAT(fault_of("kld<=0.0299", kMeasured), testing::StartsWith("gate_missed: kld<=0.0299 is missed: kld 0.03"));
  EXPECT_THAT(fault_of("p999<=0.89", kMeasured), testing::HasSubstr("p999 0.90000"));
  EXPECT_THAT(fault_of("top1>=0.93", kMeasured), testing::HasSubstr("top1 0.9200 over 100 positions"));
  EXPECT_THAT(fault_of("kld<=0.1,top1>=0.93", kMeasured), testing::StartsWith("gate_missed: top1>=0.93"));
}

TEST(GateTest, WhatIsNoNumberMeetsNothing) {
  Divergence broken = kMeasured;
  broken.mean_kl = std::nan("");
  EXPECT_THAT(fault_of("kld<=1", broken), testing::StartsWith("gate_missed"));
}

TEST(GateTest, NamesWhatItCannotRead) {
  for (const char* bad : {"", "kld", "kld<0.1", "kld>=0.1", "kld<=", "kld<=x", "kld<=-1", "kld<=nan", "kld<=0.1 ",
                          "top1>=1.5", "top1<=0.5", "ppl<=3", "kld<=0.1,", ",kld<=0.1"})
    EXPECT_THAT(fault_of(bad, {}), testing::StartsWith("invalid_argument: a gate's condition is")) << bad;
}

}  // namespace
}  // namespace qwin
