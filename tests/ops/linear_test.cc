// SPDX-License-Identifier: Apache-2.0
// Linear layers in every stored type: against double arithmetic over the dequantized weights, and the same bits
// whatever the batch, the number of threads and the rung.
#include "ops/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "core/cpu_info.h"
#include "ops/stored_blocks.h"
#include "quant/quantize.h"

namespace qwin {

namespace {

// A weight in kernel form with the memory that holds it.
struct Weight {
  Weight(OpsContext& context, std::mt19937_64& random, DType dtype, size_t rows, size_t columns)
      : blocks(random, dtype, rows, columns), tiles(packed_weight_bytes(blocks.stored, packed_type(dtype))) {
    packed = context.float32() ? PackedWeight{.stored = blocks.stored}
                               : pack_weight(context.team, blocks.stored, packed_type(dtype), tiles.data());
  }

  StoredBlocks blocks;
  Buffer tiles;
  PackedWeight packed;
};

// x [num_tokens, columns] with an outlier here and there, in rows further apart than they are long.
struct Rows {
  Rows(std::mt19937_64& random, size_t tokens, size_t columns) : values(random_values(random, tokens * (columns + 7))) {
    for (size_t i = 0; i < values.size(); i += 301) values[i] *= 500;
    matrix = {values.data(), tokens, columns, columns + 7};
  }
  Matrix token(size_t t) const { return {matrix.row(t), 1, matrix.columns, matrix.stride}; }

  std::vector<float> values;
  Matrix matrix;
};

std::vector<float> apply(OpsContext& context, const Weight& weight, const Matrix& x, const float* bias,
                         const float* residual) {
  LinearInput input(x.rows, x.columns);
  LinearScratch scratch(x.rows, x.columns, 1);
  const size_t rows = weight.packed.stored.rows;
  std::vector<float> out(x.rows * rows);
  input.set(context, x);
  const LinearPart part[] = {
      {.weight = &weight.packed, .bias = bias, .residual = residual, .out = {out.data(), x.rows, rows, rows}}};
  linear(context, input, scratch, part);
  return out;
}

// The activations as the integer path sees them: scale * code, or the outlier.
std::vector<double> seen_by_integers(const LinearInput& input, size_t token, size_t columns) {
  std::vector<double> x(columns);
  const QuantizedRows row = input.rows(token);
  for (size_t k = 0; k < columns; ++k) {
    const size_t at = k / kSpan * row.token_stride;
    x[k] = static_cast<double>(row.scales[at]) * row.codes[at * kSpan + k % kSpan];
  }
  for (size_t span = 0; span < input.num_spans(); ++span) {
    const auto put = [&](const Outlier& outlier) {
      if (span * kSpan + outlier.column < columns) x[span * kSpan + outlier.column] = outlier.value;
    };
    const size_t at = span * row.token_stride, block = span / kBlockSpans * row.token_stride * kBlockSpans;
    put(row.outliers[at]);
    for (size_t i = 0; i < row.extra_counts[block + span % kBlockSpans]; ++i) put(row.extras[at * kMaxExtras + i]);
  }
  return x;
}

size_t columns_for(DType dtype, size_t step) {
  const size_t block = dtype_info(dtype).block_elements;
  return block > 32 ? block * step : block == 32 ? 96 * step : 77 * step;
}

class LinearTest : public testing::TestWithParam<DType> {
 protected:
  DType dtype() const { return GetParam(); }
  std::mt19937_64 random_{5};
};

void expect_close(const std::vector<double>& x, const std::vector<float>& w, double out, double tolerance,
                  const std::string& where) {
  double exact = 0, magnitude = 0;
  for (size_t k = 0; k < w.size(); ++k) {
    exact += x[k] * w[k];
    magnitude += std::fabs(x[k] * w[k]);
  }
  ASSERT_NEAR(out, exact, tolerance * magnitude) << where;
}

// A stored row as the integer path holds it: types without codes are quantized to Q8_0 when packed.
std::vector<float> packed_row(const StoredBlocks& blocks, size_t n) {
  std::vector<float> row = blocks.row(n);
  if (dtype_info(blocks.stored.dtype).block_elements > 1) return row;
  const size_t columns = row.size(), padded = (columns + 31) / 32 * 32;
  row.resize(padded);
  std::vector<std::byte> quantized(padded / 32 * 34);
  quantize_q8_0(row.data(), padded, quantized.data());
  dequantize(DType::q8_0, quantized.data(), padded, row.data());
  row.resize(columns);
  return row;
}

// The integers are exact, so all error is that of a few float operations a span.
TEST_P(LinearTest, ReferenceEqualsDoubleArithmeticOverTheStoredWeights) {
  OpsContext context(CpuIsa::reference, 1, {});
  for (size_t step = 1; step <= 3; ++step) {
    const size_t columns = columns_for(dtype(), step), num_rows = 16 + 7 * step, tokens = 3;
    const Weight weight(context, random_, dtype(), num_rows, columns);
    const Rows rows(random_, tokens, columns);
    LinearInput input(tokens, columns);
    input.set(context, rows.matrix);
    const std::vector<float> out = apply(context, weight, rows.matrix, nullptr, nullptr);
    for (size_t t = 0; t < tokens; ++t) {
      const std::vector<double> x = seen_by_integers(input, t, columns);
      for (size_t n = 0; n < num_rows; ++n) {
        expect_close(x, packed_row(weight.blocks, n), out[t * num_rows + n], 1e-5,
                     "token " + std::to_string(t) + ", row " + std::to_string(n));
      }
    }
  }
}

std::vector<float> apply_with_remainder(OpsContext& context, const Weight& weight, const Matrix& x, const float* bias) {
  LinearInput input(2 * x.rows, x.columns);
  LinearScratch scratch(2 * x.rows, x.columns, 1);
  const size_t rows = weight.packed.stored.rows;
  std::vector<float> out(2 * x.rows * rows);
  const LinearPart part[] = {{.weight = &weight.packed, .bias = bias, .out = {out.data(), x.rows, rows, rows}}};
  linear_with_remainder(context, input, scratch, x, part);
  out.resize(x.rows * rows);
  return out;
}

// Against the values themselves, not what eight bits make of them; the remainder's remainder is below 2^-15 of a span.
TEST_P(LinearTest, WithTheRemainderTheInputItselfCounts) {
  OpsContext context(detect_cpu_isa(), 2, {});
  const size_t columns = columns_for(dtype(), 2), num_rows = 37, tokens = 3;
  const Weight weight(context, random_, dtype(), num_rows, columns);
  const Rows rows(random_, tokens, columns);
  const std::vector<float> bias = random_values(random_, num_rows);
  const std::vector<float> out = apply_with_remainder(context, weight, rows.matrix, bias.data());
  for (size_t t = 0; t < tokens; ++t) {
    const std::vector<double> x(rows.matrix.row(t), rows.matrix.row(t) + columns);
    for (size_t n = 0; n < num_rows; ++n) {
      expect_close(x, packed_row(weight.blocks, n), out[t * num_rows + n] - bias[n], 2e-4,
                   "token " + std::to_string(t) + ", row " + std::to_string(n));
    }
    EXPECT_EQ(apply_with_remainder(context, weight, rows.token(t), bias.data()),
              std::vector<float>(out.begin() + t * num_rows, out.begin() + (t + 1) * num_rows));
  }
}

TEST_P(LinearTest, Float32EqualsDoubleArithmetic) {
  OpsContext context(CpuIsa::float32, 1, {});
  const size_t columns = columns_for(dtype(), 2), num_rows = 37, tokens = 6;
  const Weight weight(context, random_, dtype(), num_rows, columns);
  const Rows rows(random_, tokens, columns);
  const std::vector<float> out = apply(context, weight, rows.matrix, nullptr, nullptr);
  for (size_t t = 0; t < tokens; ++t) {
    const std::vector<double> x(rows.matrix.row(t), rows.matrix.row(t) + columns);
    for (size_t n = 0; n < num_rows; ++n)
      expect_close(x, weight.blocks.row(n), out[t * num_rows + n], 1e-6,
                   "token " + std::to_string(t) + ", row " + std::to_string(n));
  }
}

TEST_P(LinearTest, ManyTokensGiveTheBitsOfOneTokenAtATime) {
  for (const CpuIsa isa : {CpuIsa::float32, detect_cpu_isa()}) {
    OpsContext context(isa, 2, {});
    const size_t columns = columns_for(dtype(), 1), num_rows = 53;
    const Weight weight(context, random_, dtype(), num_rows, columns);
    const Rows rows(random_, 130, columns);
    const std::vector<float> bias = random_values(random_, num_rows), residual = random_values(random_, 130 * num_rows);
    std::vector<float> alone;
    for (size_t t = 0; t < 130; ++t) {
      const std::vector<float> out = apply(context, weight, rows.token(t), bias.data(), residual.data() + t * num_rows);
      alone.insert(alone.end(), out.begin(), out.end());
    }
    for (const size_t tokens : {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 23, 31, 32, 33, 40, 64, 65, 130}) {
      const std::vector<float> out =
          apply(context, weight, rows.matrix.first_rows(tokens), bias.data(), residual.data());
      ASSERT_EQ(std::memcmp(out.data(), alone.data(), out.size() * sizeof(float)), 0)
          << cpu_isa_name(isa) << ", " << tokens << " tokens";
    }
  }
}

TEST_P(LinearTest, ThreadsAndRungsGiveTheSameBits) {
  const size_t columns = columns_for(dtype(), 3), num_rows = 90, tokens = 11;
  const Rows rows(random_, tokens, columns);
  std::vector<float> expected;
  for (const CpuIsa isa : {CpuIsa::reference, CpuIsa::avx2, CpuIsa::avx512, CpuIsa::avx512_vnni}) {
    if (isa > detect_cpu_isa()) break;
    for (const int threads : {1, 2, 3}) {
      OpsContext context(isa, threads, {});
      std::mt19937_64 random(99);
      const Weight weight(context, random, dtype(), num_rows, columns);
      const std::vector<float> out = apply(context, weight, rows.matrix, nullptr, nullptr);
      if (expected.empty()) expected = out;
      ASSERT_EQ(std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)), 0)
          << cpu_isa_name(isa) << ", " << threads << " threads";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(DTypes, LinearTest, testing::ValuesIn(kAllDTypes),
                         [](const auto& info) { return std::string(dtype_info(info.param).name); });

// q, k and v of different formats in one sweep, each with tiles that do not divide by the grain.
TEST(LinearPartsTest, PartsOfOneSweepEqualEachAlone) {
  std::mt19937_64 random(8);
  OpsContext context(detect_cpu_isa(), 2, {});
  const Weight q(context, random, DType::q4_k, 70, 512), k(context, random, DType::q6_k, 18, 512),
      v(context, random, DType::q8_0, 33, 512);
  const Rows rows(random, 70, 512);
  const std::vector<float> bias = random_values(random, 70);
  const Weight* weights[] = {&q, &k, &v};
  std::vector<float> outs[3];
  std::vector<LinearPart> parts;
  for (int i = 0; i < 3; ++i) {
    const size_t num_rows = weights[i]->packed.stored.rows;
    outs[i].resize(70 * num_rows);
    parts.push_back(
        {.weight = &weights[i]->packed, .bias = bias.data(), .out = {outs[i].data(), 70, num_rows, num_rows}});
  }
  LinearInput input(70, 512);
  LinearScratch scratch(70, 512, 3);
  input.set(context, rows.matrix);
  linear(context, input, scratch, parts);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(outs[i], apply(context, *weights[i], rows.matrix, bias.data(), nullptr)) << "part " << i;
}

TEST(LinearPartsTest, ResidualMayBeTheOutput) {
  std::mt19937_64 random(9);
  for (const CpuIsa isa : {CpuIsa::float32, CpuIsa::reference, detect_cpu_isa()}) {
    OpsContext context(isa, 2, {});
    const Weight weight(context, random, DType::q5_k, 41, 256);
    const Rows rows(random, 9, 256);
    std::vector<float> residual = random_values(random, 9 * 41);
    const std::vector<float> expected = apply(context, weight, rows.matrix, nullptr, residual.data());
    LinearInput input(9, 256);
    LinearScratch scratch(9, 256, 1);
    input.set(context, rows.matrix);
    const LinearPart part[] = {
        {.weight = &weight.packed, .residual = residual.data(), .out = {residual.data(), 9, 41, 41}}};
    linear(context, input, scratch, part);
    EXPECT_EQ(residual, expected);
  }
}

TEST(LinearPartsTest, GateUpIsSiluOfOneTimesTheOther) {
  std::mt19937_64 random(10);
  for (const CpuIsa isa : {CpuIsa::float32, CpuIsa::reference, detect_cpu_isa()}) {
    OpsContext context(isa, 2, {});
    const Weight gate(context, random, DType::q4_k, 100, 256), up(context, random, DType::q6_k, 100, 256);
    const Rows rows(random, 67, 256);
    LinearInput input(67, 256), down_input(67, 100);
    LinearScratch scratch(67, 256, 2);
    input.set(context, rows.matrix);
    std::vector<float> out(67 * 100), up_out(67 * 100);
    gate_up(context, input, scratch, gate.packed, up.packed, {out.data(), 67, 100, 100}, {up_out.data(), 67, 100, 100},
            down_input);
    const std::vector<float> g = apply(context, gate, rows.matrix, nullptr, nullptr),
                             u = apply(context, up, rows.matrix, nullptr, nullptr);
    std::vector<float> expected(67 * 100);
    for (size_t i = 0; i < expected.size(); ++i) {
      const double exact = g[i] / (1 + std::exp(-static_cast<double>(g[i]))) * u[i];
      expected[i] = static_cast<float>(exact);
      if (!context.float32()) continue;
      ASSERT_NEAR(out[i], exact, 2e-6 * std::fabs(exact) + 2e-38 * std::fabs(static_cast<double>(g[i]) * u[i])) << i;
    }
    if (context.float32()) continue;
    for (size_t t = 0; t < 67; ++t) {
      const std::vector<double> x = seen_by_integers(down_input, t, 100);
      for (size_t k = 0; k < 100; ++k) {
        const double exact = expected[t * 100 + k], step = down_input.rows(t).scales[0];
        ASSERT_NEAR(x[k], exact, 0.501 * step + 3e-6 * std::fabs(exact))
            << cpu_isa_name(isa) << " at " << t << ", " << k;
      }
    }
  }
}

// Spans of several tiles, the last one cut: the fused quantization equals that of the product itself.
TEST(LinearPartsTest, GateUpQuantizesWhatLinearWouldGive) {
  std::mt19937_64 random(11);
  OpsContext context(detect_cpu_isa(), 2, {});
  const size_t columns = 700;
  const Weight gate(context, random, DType::q4_k, columns, 256), up(context, random, DType::q5_0, columns, 256);
  for (const size_t tokens : {1, 5, 300}) {
    const Rows rows(random, tokens, 256);
    LinearInput input(tokens, 256), fused(tokens, columns), plain(tokens, columns);
    LinearScratch scratch(tokens, 256, 2);
    input.set(context, rows.matrix);
    gate_up(context, input, scratch, gate.packed, up.packed, {nullptr, tokens, columns, columns},
            {nullptr, tokens, columns, columns}, fused);
    std::vector<float> g = apply(context, gate, rows.matrix, nullptr, nullptr);
    const std::vector<float> u = apply(context, up, rows.matrix, nullptr, nullptr);
    for (size_t t = 0; t < tokens; ++t)
      context.kernels.silu_mul(&g[t * columns], &u[t * columns], columns, &g[t * columns]);
    plain.set(context, {g.data(), tokens, columns, columns});
    for (size_t t = 0; t < tokens; ++t)
      ASSERT_EQ(seen_by_integers(fused, t, columns), seen_by_integers(plain, t, columns)) << tokens << ", " << t;
  }
}

TEST(LinearPartsTest, NaNReachesTheOutputOfItsTokenAlone) {
  std::mt19937_64 random(12);
  for (const CpuIsa isa : {CpuIsa::float32, CpuIsa::reference, detect_cpu_isa()}) {
    OpsContext context(isa, 1, {});
    for (const DType dtype : {DType::q8_0, DType::q4_1, DType::q4_k, DType::q6_k}) {
      const Weight weight(context, random, dtype, 20, 256);
      Rows rows(random, 3, 256);
      rows.matrix.row(1)[200] = std::nanf("");
      const std::vector<float> out = apply(context, weight, rows.matrix, nullptr, nullptr);
      for (size_t i = 0; i < out.size(); ++i)
        ASSERT_EQ(std::isnan(out[i]), i / 20 == 1)
            << cpu_isa_name(isa) << ", " << dtype_info(dtype).name << " at " << i;
    }
  }
}

}  // namespace

}  // namespace qwin
