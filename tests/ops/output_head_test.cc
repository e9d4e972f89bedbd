// SPDX-License-Identifier: Apache-2.0
// The output head against linear() with and without the remainder: which ids are refined, and the same bits alone, in a
// batch and on every rung.
#include "ops/output_head.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/cpu_info.h"
#include "ops/stored_blocks.h"

namespace qwin {

namespace {

constexpr size_t kVocab = 1500, kColumns = 256, kTokens = 5;  // 93 tiles and a rest
constexpr size_t kTiles = (kVocab + kTileRows - 1) / kTileRows;

class OutputHeadTest : public testing::Test {
 protected:
  OutputHeadTest() : values_(kTokens * kColumns), x_{values_.data(), kTokens, kColumns, kColumns} {
    std::normal_distribution<float> normal;
    for (float& value : values_) value = normal(random_);
  }

  PackedWeight pack(OpsContext& context) {
    if (context.float32()) return {.stored = blocks_.stored};
    tiles_ = Buffer(packed_weight_bytes(blocks_.stored, packed_type(blocks_.stored.dtype)));
    return pack_weight(context.team, blocks_.stored, packed_type(blocks_.stored.dtype), tiles_.data());
  }
  std::vector<float> head(OpsContext& context, const PackedWeight& weight, const Matrix& x) {
    OutputHead head(kTokens, kVocab, residual_);
    LinearInput input(2 * kTokens, kColumns);
    LinearScratch scratch(2 * kTokens, kColumns, 2);
    std::vector<float> logits(x.rows * kVocab);
    head.run(context, input, scratch, x, weight, {logits.data(), x.rows, kVocab, kVocab});
    return logits;
  }
  std::vector<float> plain(OpsContext& context, const PackedWeight& weight, bool remainder) {
    LinearInput input(2 * kTokens, kColumns);
    LinearScratch scratch(2 * kTokens, kColumns, 1);
    std::vector<float> logits(2 * kTokens * kVocab);
    const LinearPart part[] = {{.weight = &weight, .out = {logits.data(), kTokens, kVocab, kVocab}}};
    if (remainder) {
      linear_with_remainder(context, input, scratch, x_, part);
    } else {
      input.set(context, x_);
      linear(context, input, scratch, part);
    }
    logits.resize(kTokens * kVocab);
    return logits;
  }

  std::mt19937_64 random_{7};
  StoredBlocks blocks_{random_, DType::q6_k, kVocab, kColumns};
  std::vector<float> values_;
  Matrix x_;
  Buffer tiles_;
  HeadResidual residual_;
};

float highest(const std::vector<float>& logits, size_t token, size_t tile) {
  const float* row = logits.data() + token * kVocab + tile * kTileRows;
  return *std::max_element(row, row + std::min<size_t>(kTileRows, kVocab - tile * kTileRows));
}

TEST_F(OutputHeadTest, RefinesTheTilesWithTheHighestLogitsAndNoOthers) {
  OpsContext context(detect_cpu_isa(), 2, {});
  const PackedWeight weight = pack(context);
  const std::vector<float> coarse = plain(context, weight, false), fine = plain(context, weight, true);
  const std::vector<float> logits = head(context, weight, x_);
  for (size_t t = 0; t < kTokens; ++t) {
    std::vector<size_t> order(kTiles);
    for (size_t i = 0; i < kTiles; ++i) order[i] = i;
    std::ranges::sort(order, std::greater<>(), [&](size_t tile) { return highest(coarse, t, tile); });
    for (size_t i = 0; i < kTiles; ++i) {
      const std::vector<float>& expected = i < OutputHead::kRefinedTiles ? fine : coarse;
      for (size_t id = order[i] * kTileRows; id < std::min((order[i] + 1) * kTileRows, kVocab); ++id)
        ASSERT_EQ(logits[t * kVocab + id], expected[t * kVocab + id]) << "token " << t << ", id " << id;
    }
  }
  EXPECT_NE(coarse, fine);
}

TEST_F(OutputHeadTest, AResidualIsAddedToItsRows) {
  const auto rows = std::make_shared<const std::vector<int32_t>>(std::vector<int32_t>{0, 17, 18, 700, 1499});
  const StoredBlocks blocks(random_, DType::q8_0, rows->size(), kColumns);
  for (const CpuIsa isa : {CpuIsa::float32, CpuIsa::reference}) {
    OpsContext context(isa, 2, allowed_cores());
    const PackedWeight weight = pack(context);
    residual_ = {};
    const std::vector<float> without = head(context, weight, x_);
    Buffer tiles(packed_weight_bytes(blocks.stored, DType::q8_0));
    const bool packed = !context.float32();
    residual_ = {.weight = packed ? pack_weight(context.team, blocks.stored, DType::q8_0, tiles.data())
                                  : PackedWeight{.stored = blocks.stored},
                 .rows = rows};
    const std::vector<float> with = head(context, weight, x_);
    std::vector<float> residual(kTokens * rows->size());
    LinearInput input(2 * kTokens, kColumns);
    LinearScratch scratch(2 * kTokens, kColumns, 1);
    const LinearPart part[] = {
        {.weight = &residual_.weight, .out = {residual.data(), kTokens, rows->size(), rows->size()}}};
    input.set(context, x_);
    linear(context, input, scratch, part);
    for (size_t t = 0; t < kTokens; ++t) {
      for (size_t i = 0; i < rows->size(); ++i) {
        const size_t at = t * kVocab + static_cast<size_t>((*rows)[i]);
        EXPECT_NEAR(with[at], without[at] + residual[t * rows->size() + i], packed ? 1.0 : 1e-4) << t << " " << i;
        EXPECT_GT(std::abs(residual[t * rows->size() + i]), 0.0f);
      }
      if (!packed) {
        EXPECT_EQ(with[t * kVocab + 1], without[t * kVocab + 1]);
      }
    }
  }
}

TEST_F(OutputHeadTest, ATokenAloneAndEveryRungGiveTheSameBits) {
  OpsContext best(detect_cpu_isa(), 2, {});
  const std::vector<float> expected = head(best, pack(best), x_);
  for (const CpuIsa isa : {CpuIsa::reference, detect_cpu_isa()}) {
    OpsContext context(isa, 1, {});
    const PackedWeight weight = pack(context);
    for (size_t t = 0; t < kTokens; ++t) {
      EXPECT_EQ(head(context, weight, {x_.row(t), 1, kColumns, kColumns}),
                std::vector<float>(expected.begin() + t * kVocab, expected.begin() + (t + 1) * kVocab));
    }
  }
}

TEST_F(OutputHeadTest, EqualLogitsRefineTheFirstTiles) {
  std::ranges::fill(values_, 0.0f);  // every logit is zero, and so is what is left
  OpsContext context(detect_cpu_isa(), 2, {});
  EXPECT_EQ(head(context, pack(context), x_), std::vector<float>(kTokens * kVocab, 0.0f));
}

TEST_F(OutputHeadTest, Float32NeedsNoRefinement) {
  OpsContext context(CpuIsa::float32, 2, {});
  const PackedWeight weight = pack(context);
  EXPECT_EQ(head(context, weight, x_), plain(context, weight, false));
}

}  // namespace

}  // namespace qwin
