// SPDX-License-Identifier: Apache-2.0
// The specification of what a KV page holds: how a token enters it, what score a key gives, how values are added up.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/half.h"
#include "kernels/key_layout.h"

namespace qwin {

// K and V as numbers, float32 or binary16.
template <KvType kStoredType, typename Stored, float (*kLoad)(Stored), Stored (*kStore)(float)>
class NumberPage {
 public:
  static constexpr KvType kType = kStoredType;
  struct Query {
    Query(const AttentionArgs& args, const float* q) : q(q), softmax_scale(args.softmax_scale) {}
    const float* q;
    float softmax_scale;
  };

  NumberPage(const AttentionArgs& args, const std::byte* page) : NumberPage(args.head_dim, args.wide, page) {}
  NumberPage(int head_dim, const WideChannels&, const std::byte* page)
      : head_dim_(static_cast<size_t>(head_dim)), values_(reinterpret_cast<const Stored*>(page)) {}

  static void store(const float* k, const float* v, size_t head_dim, const WideChannels&, std::byte* page,
                    size_t slot) {
    auto* values = reinterpret_cast<Stored*>(page);
    for (size_t d = 0; d < head_dim; ++d) {
      values[key_number(head_dim, d, slot)] = kStore(k[d]);
      values[(kPageSize + slot) * head_dim + d] = kStore(v[d]);
    }
  }
  void copy_token(int slot, std::byte* page, int to_slot) const {
    auto* to = reinterpret_cast<Stored*>(page);
    for (size_t d = 0; d < head_dim_; ++d) {
      to[key_number(head_dim_, d, to_slot)] = values_[key_number(head_dim_, d, slot)];
      to[(kPageSize + to_slot) * head_dim_ + d] = values_[(kPageSize + slot) * head_dim_ + d];
    }
  }
  float key(size_t channel, int slot) const { return kLoad(values_[key_number(head_dim_, channel, slot)]); }
  float score(const Query& query, int slot) const {
    float dot = 0;
    for (size_t d = 0; d < head_dim_; ++d) dot = std::fma(query.q[d], key(d, slot), dot);
    return dot * query.softmax_scale;
  }
  void add_values(const float* p, float* acc) const {
    for (int slot = 0; slot < kPageSize; ++slot) {
      if (p[slot] == 0) continue;
      const Stored* v = values_ + static_cast<size_t>(kPageSize + slot) * head_dim_;
      for (size_t d = 0; d < head_dim_; ++d) acc[d] = std::fma(p[slot], kLoad(v[d]), acc[d]);
    }
  }

 private:
  size_t head_dim_;
  const Stored* values_;
};

inline float same_float(float x) { return x; }
using FloatPage = NumberPage<KvType::f32, float, same_float, same_float>;
using HalfPage = NumberPage<KvType::f16, uint16_t, half_to_float, float_to_half>;

// K and V as 8-bit codes with a scale a token; the query row in 16 bits; p, times the scale of V, in 8 bits a page.
class Q8Page {
 public:
  static constexpr KvType kType = KvType::q8;
  static constexpr float kMaxQuery = 32639;   // 127 * 256 + 127: both digits of the code fit 8 bits
  static constexpr float kMaxWide = 32512;    // 127 * 256
  static constexpr float kMinScale = 1e-30f;  // below it a reciprocal could be infinite: such a row is zero

  struct Query {
    Query(const AttentionArgs& args, const float* q) : codes(args.head_dim) {
      float max = 0;
      for (int d = 0; d < args.head_dim; ++d) max = std::fmax(max, std::fabs(q[d]));
      const float unit = max > kMinScale ? max / kMaxQuery : 0, inverse = max > kMinScale ? kMaxQuery / max : 0;
      const bool finite = all_finite(q, static_cast<size_t>(args.head_dim));
      scale = finite ? unit * args.softmax_scale : std::numeric_limits<float>::quiet_NaN();
      for (int d = 0; d < args.head_dim; ++d) codes[d] = finite ? static_cast<int>(std::nearbyint(q[d] * inverse)) : 0;
    }
    std::vector<int> codes;
    float scale;
  };

  Q8Page(const AttentionArgs& args, const std::byte* page) : Q8Page(args.head_dim, args.wide, page) {}
  Q8Page(int head_dim, const WideChannels& wide, const std::byte* page)
      : head_dim_(static_cast<size_t>(head_dim)), wide_(wide), page_(page) {}

  static void store(const float* k, const float* v, size_t head_dim, const WideChannels& wide, std::byte* page,
                    size_t slot) {
    const KvPageLayout layout = kv_page_layout(KvType::q8, head_dim, static_cast<size_t>(wide.count));
    std::vector<bool> is_wide(head_dim);
    for (int w = 0; w < wide.count; ++w) {
      if (wide.channels[w] >= 0) is_wide[wide.channels[w]] = true;
    }
    float narrow_max = 0, wide_max = 0, v_max = 0;
    for (size_t d = 0; d < head_dim; ++d) {
      float& max = is_wide[d] ? wide_max : narrow_max;
      max = std::fmax(max, std::fabs(k[d]));
      v_max = std::fmax(v_max, std::fabs(v[d]));
    }
    // A token that is not finite: the scale of V carries the fault into every result that sees it.
    const bool finite = all_finite(k, head_dim) && all_finite(v, head_dim);
    const float k_scale = finite ? scale_of(std::fmax(narrow_max / 127.0f, wide_max / kMaxWide)) : 0;
    const float v_scale = finite ? scale_of(v_max / 127.0f) : 0;
    const float v_stored = finite ? v_scale : std::numeric_limits<float>::quiet_NaN();
    std::memcpy(page + layout.k_scales + 4 * slot, &k_scale, 4);
    std::memcpy(page + layout.v_scales + 4 * slot, &v_stored, 4);
    const size_t channels = head_dim + wide.count;
    for (size_t d = 0; d < head_dim; ++d) {
      const int code = code_of(k[d], k_scale, is_wide[d] ? kMaxWide : 127.0f);
      page[key_code(channels, d, slot)] = static_cast<std::byte>(code - 256 * high_digit(code) + 128);
      page[layout.v + v_offset(d, slot, head_dim)] = static_cast<std::byte>(code_of(v[d], v_scale, 127.0f));
    }
    for (int w = 0; w < wide.count; ++w) {
      const int code = wide.channels[w] < 0 ? 0 : code_of(k[wide.channels[w]], k_scale, kMaxWide);
      page[key_code(channels, head_dim + w, slot)] = static_cast<std::byte>(high_digit(code) + 128);
    }
  }

  void copy_token(int slot, std::byte* to, int to_slot) const {
    for (size_t d = 0; d < head_dim_ + wide_.count; ++d) to[k_offset(d, to_slot)] = page_[k_offset(d, slot)];
    for (size_t d = 0; d < head_dim_; ++d) {
      to[layout().v + v_offset(d, to_slot, head_dim_)] = page_[layout().v + v_offset(d, slot, head_dim_)];
    }
    for (const size_t scales : {layout().k_scales, layout().v_scales}) {
      std::memcpy(to + scales + 4 * to_slot, page_ + scales + 4 * slot, 4);
    }
  }
  float key(size_t channel, int slot) const {
    int code = digit(k_offset(channel, slot));
    for (int w = 0; w < wide_.count; ++w) {
      if (wide_.channels[w] == static_cast<int>(channel)) code += 256 * digit(k_offset(head_dim_ + w, slot));
    }
    return scale(layout().k_scales, slot) * static_cast<float>(code);
  }

  float score(const Query& query, int slot) const {
    int32_t low = 0, high = 0;
    for (size_t d = 0; d < head_dim_; ++d) low += query.codes[d] * digit(k_offset(d, slot));
    for (int w = 0; w < wide_.count; ++w) {
      if (wide_.channels[w] >= 0) high += query.codes[wide_.channels[w]] * digit(k_offset(head_dim_ + w, slot));
    }
    float dot = static_cast<float>(low);
    if (wide_.count > 0) dot = std::fma(static_cast<float>(high), 256.0f, dot);
    return dot * scale(layout().k_scales, slot) * query.scale;
  }

  void add_values(const float* p, float* acc) const {
    float weights[kPageSize], max = 0;
    for (int j = 0; j < kPageSize; ++j) {
      weights[j] = p[j] == 0 ? 0 : p[j] * scale(layout().v_scales, j);  // the scale of a slot not stored is anything
      max = weights[j] > max || std::isnan(weights[j]) ? weights[j] : max;
    }
    const float unit = max <= kMinScale ? 0 : max / 255.0f, inverse = max > kMinScale ? 255.0f / max : 0;
    int codes[kPageSize];
    for (int j = 0; j < kPageSize; ++j) {
      codes[j] = std::isnan(max) ? 0 : static_cast<int>(std::nearbyint(weights[j] * inverse));
    }
    for (size_t d = 0; d < head_dim_; ++d) {
      int32_t sum = 0;
      for (int j = 0; j < kPageSize; ++j) {
        sum += codes[j] * static_cast<int8_t>(page_[layout().v + v_offset(d, j, head_dim_)]);
      }
      acc[d] = std::fma(static_cast<float>(sum), unit, acc[d]);
    }
  }

 private:
  size_t k_offset(size_t channel, size_t slot) const { return key_code(head_dim_ + wide_.count, channel, slot); }
  static size_t v_offset(size_t d, size_t slot, size_t head_dim) { return (slot / 4 * head_dim + d) * 4 + slot % 4; }
  static int high_digit(int code) { return (code + 128) >> 8; }

  static bool all_finite(const float* x, size_t n) {
    return std::all_of(x, x + n, [](float v) { return std::isfinite(v); });
  }
  static float scale_of(float scale) { return scale > kMinScale ? scale : 0; }
  static int code_of(float x, float scale, float limit) {
    if (!(scale > 0)) return 0;
    return static_cast<int>(std::clamp(std::nearbyint(x * (1.0f / scale)), -limit, limit));
  }

  KvPageLayout layout() const { return kv_page_layout(KvType::q8, head_dim_, static_cast<size_t>(wide_.count)); }
  int digit(size_t offset) const { return static_cast<int>(page_[offset]) - 128; }
  float scale(size_t scales, int slot) const {
    float value;
    std::memcpy(&value, page_ + scales + 4 * static_cast<size_t>(slot), 4);
    return value;
  }

  size_t head_dim_;
  WideChannels wide_;
  const std::byte* page_;
};

template <typename Page>
void store_kv_reference(const float* k, const float* v, size_t head_dim, const WideChannels& wide, std::byte* page,
                        size_t slot) {
  Page::store(k, v, head_dim, wide, page, slot);
}

}  // namespace qwin
