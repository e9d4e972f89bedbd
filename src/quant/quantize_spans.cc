// SPDX-License-Identifier: Apache-2.0
#include "quant/quantize_spans.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include "core/half.h"
#include "quant/block_formats.h"
#include "qwin/error.h"

namespace qwin {
namespace {

constexpr int kGroup = 32;
constexpr int kLargestSub = 15;  // -16 is left to files of others: both signs reach as far

// Every kStep-th of kIq4Values, whose longer end is the negative one.
template <int kStep>
struct TableCodes {
  static constexpr float kFarthest = 127;
  static constexpr int kLast = 16 / kStep - 1;
  static constexpr int code(int quant) { return kIq4Values[kStep * quant]; }
  // Where between the values a number in units of half a step lies: place 2 * x + 256.
  static constexpr auto kNearest = [] {
    std::array<uint8_t, 512> nearest{};
    for (int place = 0; place < 512; ++place) {
      int index = 0;  // boundaries lie at multiples of a half: the middle of a place is on one side of each
      while (index < kLast && 2 * (place - 256) + 1 > 2 * (code(index) + code(index + 1))) ++index;
      nearest[static_cast<size_t>(place)] = static_cast<uint8_t>(index);
    }
    return nearest;
  }();

  static int quant(float x) {
    const float place = std::floor(2 * x) + 256;
    return kNearest[static_cast<size_t>(std::clamp(place, 0.0f, 511.0f))];
  }
  static float value(int quant) { return static_cast<float>(code(quant)); }
};
// -kZero … kZero - 1.
template <int kZero>
struct LinearCodes {
  static constexpr float kFarthest = kZero;
  static int quant(float x) {
    return static_cast<int>(std::clamp(std::floor(x + (kZero + 0.5f)), 0.0f, 2.0f * kZero - 1));
  }
  static float value(int quant) { return static_cast<float>(quant - kZero); }
};

template <typename Block>
struct BlockCodes;
template <>
struct BlockCodes<BlockQ3> : TableCodes<2> {};
template <>
struct BlockCodes<BlockQ4> : TableCodes<1> {};
template <>
struct BlockCodes<BlockQ5> : LinearCodes<16> {};
template <>
struct BlockCodes<BlockQ6> : LinearCodes<32> {};

// Columns that share a scale, and what their errors count.
struct Columns {
  const float* w;
  const float* importance;
  size_t count;
};

template <typename Codes>
float error_at(const Columns& c, float scale) {
  const float inverse = 1 / scale;
  float error = 0;
  for (size_t i = 0; i < c.count; ++i) {
    const float left = c.w[i] - scale * Codes::value(Codes::quant(c.w[i] * inverse));
    error += c.importance[i] * left * left;
  }
  return error;
}

// The best scale for the codes that `scale` gives: sum(I w q) / sum(I q q).
template <typename Codes>
float refit(const Columns& c, float scale) {
  const float inverse = 1 / scale;
  float wq = 0, qq = 0;
  for (size_t i = 0; i < c.count; ++i) {
    const float q = Codes::value(Codes::quant(c.w[i] * inverse));
    wq += c.importance[i] * c.w[i] * q;
    qq += c.importance[i] * q * q;
  }
  return qq > 0 ? wq / qq : scale;
}

// The scale, of either sign, with the smallest error; 0 where all weights are.
template <typename Codes>
float search_scale(const Columns& c) {
  const float largest =
      *std::max_element(c.w, c.w + c.count, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  if (std::fabs(largest) < 0x1p-100f) return 0;  // far below what a scale can say
  float best = 0, best_error = INFINITY;
  for (int step = 0; step < 8; ++step) {
    const float scale = largest / (-Codes::kFarthest * (0.80f + 0.04f * static_cast<float>(step)));
    for (const float signed_scale : {scale, -scale}) {
      const float fitted = refit<Codes>(c, signed_scale);
      const float error = error_at<Codes>(c, fitted);
      if (error < best_error) best = fitted, best_error = error;
    }
  }
  return best;
}

// The scale's 12 bits: in units of kHeadUnit an f16 without sign and last three bits, rounded to nearest.
uint32_t scale_bits(float scale) { return std::min<uint32_t>((float_to_half(scale / kHeadUnit) + 4u) >> 3, 0xf7f); }
float scale_of_bits(uint32_t bits) { return half_to_float(static_cast<uint16_t>(bits << 3)) * kHeadUnit; }

struct SpanScales {
  uint32_t bits = 0;  // of the common scale
  std::array<int, kSpanElements / kGroup> subs = {};
};

// Sub-scales for a common scale: the nearest to what each group wants, or a neighbour where that is better.
template <typename Codes>
float choose_subs(const std::array<Columns, 4>& groups, size_t count, const std::array<float, 4>& wanted, float scale,
                  std::array<int, 4>& subs) {
  float total = 0;
  for (size_t g = 0; g < count; ++g) {
    const float nearest = std::round(wanted[g] / scale);
    float best_error = INFINITY;
    for (int near = -1; near <= 1; ++near) {
      const float sub = std::clamp(nearest + static_cast<float>(near), float{-kLargestSub}, float{kLargestSub});
      if (sub == 0) continue;
      const float error = error_at<Codes>(groups[g], sub * scale);
      if (error < best_error) subs[g] = static_cast<int>(sub), best_error = error;
    }
    total += best_error;
  }
  return total;
}

// The common scale that fits the codes of all groups best.
template <typename Codes>
float refit_span(const std::array<Columns, 4>& groups, size_t count, float scale, const std::array<int, 4>& subs) {
  float wq = 0, qq = 0;
  for (size_t g = 0; g < count; ++g) {
    const auto sub = static_cast<float>(subs[g]);
    const float inverse = 1 / (sub * scale);
    for (size_t i = 0; i < groups[g].count; ++i) {
      const float q = sub * Codes::value(Codes::quant(groups[g].w[i] * inverse));
      wq += groups[g].importance[i] * groups[g].w[i] * q;
      qq += groups[g].importance[i] * q * q;
    }
  }
  return qq > 0 && wq > 0 ? wq / qq : scale;
}

template <typename Codes>
SpanScales search_span(const float* w, const float* importance, size_t group_size) {
  const size_t count = kSpanElements / group_size;
  std::array<Columns, 4> groups = {};
  std::array<float, 4> wanted = {};
  float largest = 0;
  for (size_t g = 0; g < count; ++g) {
    groups[g] = {w + g * group_size, importance + g * group_size, group_size};
    wanted[g] = search_scale<Codes>(groups[g]);
    largest = std::max(largest, std::fabs(wanted[g]));
  }
  SpanScales best;
  if (largest == 0) return best;
  float best_error = INFINITY, scale = largest / kLargestSub;
  for (int round = 0; round < 3; ++round) {
    const uint32_t bits = std::max(scale_bits(scale), 1u);
    std::array<int, 4> subs = {};
    const float error = choose_subs<Codes>(groups, count, wanted, scale_of_bits(bits), subs);
    if (error < best_error) {
      best_error = error;
      best.bits = bits;
      for (size_t g = 0; g < 4; ++g) best.subs[g] = subs[g * kGroup / group_size];
    }
    scale = refit_span<Codes>(groups, count, scale_of_bits(bits), subs);
  }
  return best;
}

uint32_t head_of(const SpanScales& scales) {
  uint32_t head = scales.bits << 20;
  for (size_t g = 0; g < scales.subs.size(); ++g) head |= (static_cast<uint32_t>(scales.subs[g]) & 31) << (5 * g);
  return head;
}

template <typename Codes>
uint32_t quantize_span(const float* w, size_t group_size, uint8_t* quants) {
  static constexpr auto kAlike = [] {
    std::array<float, kSpanElements> ones{};
    ones.fill(1);
    return ones;
  }();
  const SpanScales scales = search_span<Codes>(w, kAlike.data(), group_size);
  for (size_t g = 0; g < scales.subs.size(); ++g) {
    const float scale = scale_of_bits(scales.bits) * static_cast<float>(scales.subs[g]);
    const float inverse = scale == 0 ? 0 : 1 / scale;
    for (size_t i = g * kGroup; i < (g + 1) * kGroup; ++i)
      quants[i] = static_cast<uint8_t>(Codes::quant(w[i] * inverse));
  }
  return head_of(scales);
}

// Column i of the span becomes `value`: what is lost goes to the columns after it. Returns what it costs.
double settle(const OrderedSpan& span, size_t i, float value) {
  const float left = span.target[i] - value;
  const float lost = span.lost[i] = span.w[i] - value;
  const float* feedback = span.feedback + i * kSpanElements;
  for (size_t j = i + 1; j < kSpanElements; ++j) span.target[j] += lost * feedback[j];
  return static_cast<double>(span.importance[i]) * left * left;
}

// The common scale is chosen before the first column is rounded, sub-scales when their group's turn comes.
template <typename Codes>
uint32_t quantize_span_in_order(const OrderedSpan& span, size_t group_size, uint8_t* quants, double& cost) {
  SpanScales scales = search_span<Codes>(span.target, span.importance, group_size);
  const float common = scale_of_bits(scales.bits);
  for (size_t begin = 0; begin < kSpanElements; begin += group_size) {
    std::array<int, 4> sub = {};
    if (common > 0) {
      const std::array<Columns, 4> group = {{{span.target + begin, span.importance + begin, group_size}}};
      choose_subs<Codes>(group, 1, {search_scale<Codes>(group[0])}, common, sub);
    }
    for (size_t g = begin / kGroup; g < (begin + group_size) / kGroup; ++g) scales.subs[g] = sub[0];
    const float scale = common * static_cast<float>(sub[0]), inverse = scale == 0 ? 0 : 1 / scale;
    for (size_t i = begin; i < begin + group_size; ++i) {
      quants[i] = static_cast<uint8_t>(Codes::quant(span.target[i] * inverse));
      cost += settle(span, i, scale * Codes::value(quants[i]));
    }
  }
  return head_of(scales);
}

void pack_nibbles(const uint8_t* quants, uint8_t (&out)[64]) {
  for (size_t h = 0; h < 2; ++h) {
    for (size_t i = 0; i < 32; ++i)
      out[32 * h + i] = static_cast<uint8_t>((quants[64 * h + i] & 15) | quants[64 * h + 32 + i] << 4);
  }
}

// Bit `bit` of every quant: those of elements i, 16 + i, … in byte i.
void pack_bits(const uint8_t* quants, int bit, uint8_t (&out)[16]) {
  for (size_t i = 0; i < kSpanElements; ++i)
    out[i % 16] = static_cast<uint8_t>(out[i % 16] | (quants[i] >> bit & 1) << (i / 16));
}

// Into blocks of zeros but for their head.
void pack(const uint8_t* quants, BlockQ3& block) {
  for (size_t i = 0; i < kSpanElements; ++i)
    block.ql[i % 32] = static_cast<uint8_t>(block.ql[i % 32] | (quants[i] & 3) << (i / 32 * 2));
  pack_bits(quants, 2, block.qh);
}

void pack(const uint8_t* quants, BlockQ4& block) { pack_nibbles(quants, block.qs); }

void pack(const uint8_t* quants, BlockQ5& block) {
  pack_nibbles(quants, block.ql);
  pack_bits(quants, 4, block.qh);
}

void pack(const uint8_t* quants, BlockQ6& block) {
  pack_nibbles(quants, block.ql);
  for (size_t i = 0; i < 32; ++i) {
    int upper = 0;
    for (size_t g = 0; g < 4; ++g) upper |= quants[32 * g + i] >> 4 << (2 * g);
    block.qh[i] = static_cast<uint8_t>(upper);
  }
}

template <typename Block>
void quantize_block(const float* w, size_t group_size, Block* block) {
  uint8_t quants[kSpanElements];
  *block = {};
  block->head = quantize_span<BlockCodes<Block>>(w, group_size, quants);
  pack(quants, *block);
}

// 8 bits lose so little that the largest value may choose the scale.
float scale_q8(const float* w, BlockQ8* block) {
  float largest = 0;
  for (int i = 0; i < kSpanElements; ++i) largest = std::max(largest, std::fabs(w[i]));
  block->d = float_to_half(largest / 127);
  return half_to_float(block->d);
}

int8_t quant_q8(float w, float scale) {
  const float inverse = scale == 0 ? 0 : 1 / scale;
  return static_cast<int8_t>(std::clamp(std::round(w * inverse), -127.0f, 127.0f));
}

void quantize_block(const float* w, size_t, BlockQ8* block) {
  const float scale = scale_q8(w, block);
  for (int i = 0; i < kSpanElements; ++i) block->qs[i] = quant_q8(w[i], scale);
}

void check_span(const float* w, const char* type) {
  for (int i = 0; i < kSpanElements; ++i) {
    if (!(std::fabs(w[i]) < 60000.0f)) {
      throw Error(ErrorCode::non_finite, std::string("a weight is not finite or too large for ") + type);
    }
  }
}

template <typename Block>
double quantize_block_in_order(const OrderedSpan& span, size_t group_size, Block* block) {
  uint8_t quants[kSpanElements];
  double cost = 0;
  *block = {};
  block->head = quantize_span_in_order<BlockCodes<Block>>(span, group_size, quants, cost);
  pack(quants, *block);
  return cost;
}

double quantize_block_in_order(const OrderedSpan& span, size_t, BlockQ8* block) {
  const float scale = scale_q8(span.target, block);
  double cost = 0;
  for (size_t i = 0; i < kSpanElements; ++i) {
    block->qs[i] = quant_q8(span.target[i], scale);
    cost += settle(span, i, scale * static_cast<float>(block->qs[i]));
  }
  return cost;
}

template <typename Block>
double quantize_block_in_order(const OrderedSpan& span, size_t group_size, std::byte* dst, const char* type) {
  check_span(span.target, type);
  Block block;
  const double cost = quantize_block_in_order(span, group_size, &block);
  std::memcpy(dst, &block, sizeof(block));
  return cost;
}

template <typename Block>
void quantize_blocks(const float* src, size_t n, size_t group_size, std::byte* dst, const char* type) {
  for (size_t i = 0; i < n; i += kSpanElements, dst += sizeof(Block)) {
    check_span(src + i, type);
    Block block;
    quantize_block(src + i, group_size, &block);
    std::memcpy(dst, &block, sizeof(block));
  }
}

}  // namespace

void quantize_spans(DType type, const float* src, size_t n, size_t group_size, std::byte* dst) {
  const std::string name(dtype_info(type).name);
  if (n % kSpanElements != 0) {
    throw Error(ErrorCode::bad_shape, std::to_string(n) + " elements are not whole " + name + " blocks of 128");
  }
  if (group_size != 32 && group_size != 64 && group_size != 128) {
    throw Error(ErrorCode::invalid_argument, "groups of " + std::to_string(group_size) + "; use 32, 64 or 128");
  }
  switch (type) {
    case DType::q3: return quantize_blocks<BlockQ3>(src, n, group_size, dst, "Q3");
    case DType::q4: return quantize_blocks<BlockQ4>(src, n, group_size, dst, "Q4");
    case DType::q5: return quantize_blocks<BlockQ5>(src, n, group_size, dst, "Q5");
    case DType::q6: return quantize_blocks<BlockQ6>(src, n, group_size, dst, "Q6");
    case DType::q8: return quantize_blocks<BlockQ8>(src, n, group_size, dst, "Q8");
    default: throw Error(ErrorCode::bad_type, name + " is no type of span blocks");
  }
}

double quantize_span_in_order(DType type, const OrderedSpan& span, size_t group_size, std::byte* dst) {
  switch (type) {
    case DType::q3: return quantize_block_in_order<BlockQ3>(span, group_size, dst, "Q3");
    case DType::q4: return quantize_block_in_order<BlockQ4>(span, group_size, dst, "Q4");
    case DType::q5: return quantize_block_in_order<BlockQ5>(span, group_size, dst, "Q5");
    case DType::q6: return quantize_block_in_order<BlockQ6>(span, group_size, dst, "Q6");
    case DType::q8: return quantize_block_in_order<BlockQ8>(span, group_size, dst, "Q8");
    default: throw Error(ErrorCode::bad_type, std::string(dtype_info(type).name) + " is no type of span blocks");
  }
}

}  // namespace qwin
