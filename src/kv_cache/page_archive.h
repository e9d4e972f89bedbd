// SPDX-License-Identifier: Apache-2.0
// Where pages of the prefix cache live on beyond memory. What a page holds follows from the tokens in it and the page
// before it, so both together are its name.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "kv_cache/prefix_cache.h"

namespace qwin {

using PageDigest = std::array<uint8_t, 32>;

struct PageFetch {
  PageDigest digest;
  int32_t page;  // where it goes
};

class PageArchive {
 public:
  struct Match {
    PageDigest digest;
    int64_t num_tokens;  // that agree
  };

  virtual ~PageArchive() = default;
  // The name of "nothing yet", of this model under this plan.
  virtual PageDigest root(const CachePlan& plan) const = 0;
  virtual PageDigest child(const PageDigest& parent, std::span<const int32_t> tokens) const = 0;
  // The page after `parent` that agrees with most of `tokens`; tokens are compared, not only names.
  virtual std::optional<Match> find(const PageDigest& parent, std::span<const int32_t> tokens) = 0;
  // Reads K and V into the pages; says how many of the first ones are read. When anything is in doubt about the next,
  // it is as if the archive had never known it.
  virtual size_t load(std::span<const PageFetch> fetches) = 0;
  // Copies the page and returns; it is kept some time later, or not, when the archive is busy or broken.
  virtual void store(const PageDigest& parent, std::span<const int32_t> tokens, int32_t page) = 0;
};

}  // namespace qwin
