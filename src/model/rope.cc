// SPDX-License-Identifier: Apache-2.0
#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace qwin {
namespace {

// theta^(2i / head_dim) for each pair i, correctly rounded. [head_dim / 2]
std::vector<float> wavelengths(const ModelConfig& config) {
  std::vector<float> out(config.head_dim / 2);
  const double theta = static_cast<float>(config.rope_theta);
  for (uint32_t i = 0; i < out.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    out[i] = static_cast<float>(std::pow(theta, static_cast<double>(exponent)));
  }
  return out;
}

// The (fractional) pair that turns `rotations` times over the original context.
double correction_pair(const ModelConfig& config, double rotations) {
  const double turns = config.yarn.original_max_positions / (rotations * 2 * std::numbers::pi);
  return config.head_dim * std::log(turns) / (2 * std::log(config.rope_theta));
}

struct Ramp {
  double low, high;  // pairs up to low keep their frequency, from high on they are interpolated
};

Ramp yarn_ramp(const ModelConfig& config) {
  double low = correction_pair(config, config.yarn.beta_fast);
  double high = correction_pair(config, config.yarn.beta_slow);
  if (config.yarn.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, config.head_dim - 1.0);
  if (low == high) high += 0.001;
  return {low, high};
}

}  // namespace

RopeTable make_rope(const ModelConfig& config) {
  RopeTable rope;
  rope.inv_freq = wavelengths(config);
  if (!config.yarn.enabled) {
    for (float& f : rope.inv_freq) f = 1.0f / f;
    return rope;
  }
  rope.attention_scaling = static_cast<float>(config.yarn.attention_factor);
  const Ramp ramp = yarn_ramp(config);
  const float low = static_cast<float>(ramp.low), span = static_cast<float>(ramp.high - ramp.low);
  const float factor = static_cast<float>(config.yarn.factor);
  for (size_t i = 0; i < rope.inv_freq.size(); ++i) {
    const float wavelength = rope.inv_freq[i];
    const float keep = 1.0f - std::clamp((static_cast<float>(i) - low) / span, 0.0f, 1.0f);
    rope.inv_freq[i] = 1.0f / (factor * wavelength) * (1.0f - keep) + 1.0f / wavelength * keep;
  }
  return rope;
}

void fill_cos_sin(const RopeTable& rope, int64_t position, float* cos, float* sin) {
  const float p = static_cast<float>(position);
  for (size_t i = 0; i < rope.inv_freq.size(); ++i) {
    // The product rounds to float as in transformers; its cosine is taken in double, so the last bit is the same
    // everywhere.
    const double angle = p * rope.inv_freq[i];
    cos[i] = static_cast<float>(std::cos(angle)) * rope.attention_scaling;
    sin[i] = static_cast<float>(std::sin(angle)) * rope.attention_scaling;
  }
}

}  // namespace qwin
