// SPDX-License-Identifier: Apache-2.0
// Between gguf.cc, which reads one file, and gguf_split.cc, which puts the files of a split together.
#pragma once

#include "io/gguf.h"

namespace qwin {

// What the files of one model may still hold, all together.
struct GgufLimits {
  uint64_t keys = kMaxGgufKeys;
  uint64_t strings = kMaxGgufStrings;
};

// Reads one file into `out` and takes what it holds from `left`.
void read_gguf_part(FileSpan file, GgufLimits& left, GgufFile& out);

}  // namespace qwin
