// SPDX-License-Identifier: Apache-2.0
// Cuts text into pieces as Qwen2's pattern does, without a regular-expression engine: one pass, no recursion, no look
// further back than the piece. The pieces of a text, joined, are the text.
#pragma once

#include <cstddef>
#include <string_view>

namespace qwin {

// The pattern next_piece_end() is, as tokenizer.json writes it.
inline constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// The end of the piece that begins at `begin`. Requires: begin < text.size().
size_t next_piece_end(std::string_view text, size_t begin);

}  // namespace qwin
