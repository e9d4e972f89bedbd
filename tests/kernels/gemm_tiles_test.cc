// SPDX-License-Identifier: Apache-2.0
// The integer GEMM of every rung equals the reference bit for bit: all formats, odd sizes, and integers at their limits
// (an 8-bit dot product by `maddubs` alone would saturate there).
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <tuple>

#include "core/cpu_info.h"
#include "kernels/kernel_cases.h"

namespace qwin {

namespace {

constexpr float kUntouched = -12345.0f;

bool same_bits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

// One GEMM of given size; run() gives the output with its padding.
class GemmCase {
 public:
  struct Size {
    int num_rows, num_tokens, num_spans;
  };
  GemmCase(Random& random, PackedFormat format, Size size, RowPattern row_pattern, WeightPattern weight_pattern)
      : format_(format),
        size_(size),
        input_(make_input(random, size.num_tokens, size.num_spans, row_pattern)),
        tiles_(make_tiles(random, format, size.num_rows, size.num_spans, weight_pattern)),
        sums_(input_, format),
        bias_(random_floats(random, static_cast<size_t>(size.num_rows))),
        residual_(random_floats(random, output_floats())) {}

  size_t num_tiles() const { return static_cast<size_t>(size_.num_rows + kTileRows - 1) / kTileRows; }

  enum class Extras { none, bias, bias_and_residual, residual_in_place };
  GuardedArray<float> run(const CpuKernels& kernels, Extras extras, size_t first_tile, size_t last_tile) const {
    GuardedArray<float> out =
        extras == Extras::residual_in_place ? residual_.clone() : GuardedArray<float>(output_floats());
    if (extras != Extras::residual_in_place) std::fill(out.begin(), out.end(), kUntouched);
    GuardedArray<float> scratch(gemm_scratch_floats(static_cast<size_t>(size_.num_tokens)));
    std::fill(scratch.begin(), scratch.end(), kUntouched);
    const GemmArgs args{
        .weights = reinterpret_cast<const std::byte*>(tiles_.data()),
        .tile_bytes = tile_bytes_of(format_, size_.num_spans),
        .num_spans = size_.num_spans,
        .num_tokens = size_.num_tokens,
        .x = input_.rows(),
        .zero_sums = sums_.zero_sums.data(),
        .min_sums = sums_.min_sums.data(),
        .bias = extras == Extras::bias || extras == Extras::bias_and_residual ? bias_.data() : nullptr,
        .residual = extras == Extras::residual_in_place   ? out.data()
                    : extras == Extras::bias_and_residual ? residual_.data()
                                                          : nullptr,
        .out = out.data(),
        .out_stride = out_stride(),
        .num_rows = size_.num_rows,
        .scratch = scratch.data(),
    };
    kernels.gemm_tiles[static_cast<int>(format_)](args, first_tile, last_tile);
    return out;
  }

 private:
  size_t out_stride() const { return static_cast<size_t>(size_.num_rows) + 3; }
  size_t output_floats() const {
    return (static_cast<size_t>(size_.num_tokens) - 1) * out_stride() + static_cast<size_t>(size_.num_rows);
  }

  PackedFormat format_;
  Size size_;
  QuantizedInput input_;
  GuardedArray<uint8_t> tiles_;
  GroupSums sums_;
  GuardedArray<float> bias_, residual_;
};

class GemmTilesTest : public testing::TestWithParam<std::tuple<CpuIsa, NamedFormat>> {
 protected:
  void expect_equal(const GemmCase& test_case, GemmCase::Extras extras, size_t first, size_t last) const {
    const GuardedArray<float> expected = test_case.run(reference_, extras, first, last);
    const GuardedArray<float> actual = test_case.run(kernels_, extras, first, last);
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_TRUE(same_bits(expected[i], actual[i]))
          << "at " << i << ": " << actual[i] << ", the reference says " << expected[i];
    }
  }

  PackedFormat format() const { return std::get<1>(GetParam()).format; }
  int span_step() const { return packed_layout(format()).spans_per_block(); }

  const CpuKernels reference_ = make_cpu_kernels(CpuIsa::reference);
  const CpuKernels kernels_ = make_tested_kernels(std::get<0>(GetParam()));
  Random random_{20261};
};

TEST_P(GemmTilesTest, EqualsReferenceForEveryTokenCountAndPartialTile) {
  static constexpr int kRows[] = {1, 15, 16, 17, 24, 31, 40, 48};
  for (int tokens = 1; tokens <= 33; ++tokens) {
    const GemmCase::Size size{kRows[tokens % std::size(kRows)], tokens, 2};
    const GemmCase test_case(random_, format(), size, RowPattern::random, WeightPattern::random);
    SCOPED_TRACE(testing::Message() << size.num_rows << " rows, " << tokens << " tokens");
    expect_equal(test_case, static_cast<GemmCase::Extras>(tokens % 4), 0, test_case.num_tiles());
  }
}

TEST_P(GemmTilesTest, EqualsReferenceForEverySpanCount) {
  for (int spans = span_step(); spans <= 9; spans += span_step()) {
    for (const int tokens : {3, 11, 27}) {
      const GemmCase test_case(random_, format(), {19, tokens, spans}, RowPattern::random, WeightPattern::random);
      SCOPED_TRACE(testing::Message() << spans << " spans, " << tokens << " tokens");
      expect_equal(test_case, GemmCase::Extras::none, 0, test_case.num_tiles());
    }
  }
}

// The widths of the real models: hidden and intermediate sizes of Qwen2.5 0.5B and 1.5B.
TEST_P(GemmTilesTest, EqualsReferenceForTheWidthsOfTheModels) {
  for (const int columns : {896, 1536, 4864, 8960}) {
    const int spans = columns / kSpan;
    if (spans % span_step() != 0) continue;
    for (const int tokens : {1, 7, 18}) {
      const GemmCase test_case(random_, format(), {21, tokens, spans}, RowPattern::random, WeightPattern::random);
      SCOPED_TRACE(testing::Message() << columns << " columns, " << tokens << " tokens");
      expect_equal(test_case, GemmCase::Extras::none, 0, test_case.num_tiles());
    }
  }
}

// More tiles than pass together over a panel, and a range that begins among them.
TEST_P(GemmTilesTest, EqualsReferenceForManyTiles) {
  const GemmCase test_case(random_, format(), {(2 * kPanelTiles + 3) * kTileRows - 5, 27, 2}, RowPattern::random,
                           WeightPattern::random);
  expect_equal(test_case, GemmCase::Extras::bias, 0, test_case.num_tiles());
  expect_equal(test_case, GemmCase::Extras::residual_in_place, 3, 2 * kPanelTiles + 1);
}

TEST_P(GemmTilesTest, EqualsReferenceAtTheLimitsOfTheIntegers) {
  for (const RowPattern row : kRowPatterns) {
    for (const WeightPattern weight : kWeightPatterns) {
      for (const int tokens : {13, 27}) {
        const GemmCase test_case(random_, format(), {16, tokens, 2 * span_step()}, row, weight);
        SCOPED_TRACE(testing::Message() << "row pattern " << int(row) << ", weight pattern " << int(weight) << ", "
                                        << tokens << " tokens");
        expect_equal(test_case, GemmCase::Extras::none, 0, 1);
      }
    }
  }
}

// From 96 tokens on the tile unit takes them 16 or 32 at a time, whatever their number.
TEST_P(GemmTilesTest, EqualsReferenceForManyTokens) {
  for (const int tokens : {95, 96, 97, 111, 112, 113, 128, 145}) {
    const int spans = tokens % 2 == 0 ? 6 : 4;
    const GemmCase test_case(random_, format(), {17, tokens, spans}, RowPattern::random, WeightPattern::random);
    SCOPED_TRACE(testing::Message() << spans << " spans, " << tokens << " tokens");
    expect_equal(test_case, GemmCase::Extras::residual_in_place, 0, test_case.num_tiles());
  }
  for (const RowPattern row : kRowPatterns) {
    for (const WeightPattern weight : kWeightPatterns) {
      const GemmCase test_case(random_, format(), {16, 100, 2 * span_step()}, row, weight);
      SCOPED_TRACE(testing::Message() << "row pattern " << int(row) << ", weight pattern " << int(weight));
      expect_equal(test_case, GemmCase::Extras::none, 0, 1);
    }
  }
}

TEST_P(GemmTilesTest, EqualsReferenceForAnOutlierInEveryPlace) {
  const GemmCase test_case(random_, format(), {16, kSpan, span_step()}, RowPattern::random, WeightPattern::random);
  expect_equal(test_case, GemmCase::Extras::none, 0, 1);
}

TEST_P(GemmTilesTest, WritesOnlyTheTilesItWasGiven) {
  const GemmCase test_case(random_, format(), {61, 5, span_step()}, RowPattern::random, WeightPattern::random);
  expect_equal(test_case, GemmCase::Extras::bias, 1, 3);
  expect_equal(test_case, GemmCase::Extras::bias, 3, 4);
  expect_equal(test_case, GemmCase::Extras::bias, 2, 2);
}

INSTANTIATE_TEST_SUITE_P(Rungs, GemmTilesTest,
                         testing::Combine(testing::ValuesIn(tested_rungs()), testing::ValuesIn(kPackedFormats)),
                         [](const auto& info) {
                           return std::string(cpu_isa_name(std::get<0>(info.param))) + "_" +
                                  std::get<1>(info.param).name;
                         });

}  // namespace

}  // namespace qwin
