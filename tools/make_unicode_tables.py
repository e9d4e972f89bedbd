#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/tokenizer/unicode_tables.cc: the character classes and NFC data of the Hugging Face tokenizers library.

That library mixes Unicode versions (classes: 16, NFC: 10 or older), so no Unicode library serves: every code point is put to
the oracle itself. Needs `pip install tokenizers`; run from the repository root.
"""

import sys
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
OTHER, LETTER, NUMBER, SPACE, NEWLINE = range(5)
NOT_INERT = 8
BLOCK = 128
HANGUL = range(0xAC00, 0xAC00 + 11172)
NFC, NFD = normalizers.NFC(), normalizers.NFD()


def members(pattern):
    """The code points that match `pattern`, a single-character class."""
    split = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    found = set()
    for start in range(0, len(CODE_POINTS), 4096):
        text = "".join(map(chr, CODE_POINTS[start : start + 4096]))
        for piece, _ in split.pre_tokenize_str(text):
            found.update(map(ord, piece))
    return found


def combining_classes():
    """Classes never change once assigned; whether the oracle knows a mark shows when it moves before U+0345 or after U+0334."""
    classes = {}
    for c in CODE_POINTS:
        combining = unicodedata.combining(chr(c))
        if combining == 0:
            continue
        low, high = "a\u0334", "\u0345"  # classes 1 and 240
        if combining < 240:
            known = NFD.normalize_str("a" + high + chr(c)) != "a" + high + chr(c)
        else:
            known = NFD.normalize_str("a" + chr(c) + low[1]) != "a" + chr(c) + low[1]
        if known:
            classes[c] = combining
    return classes


def decompositions():
    result = {}
    for c in CODE_POINTS:
        full = NFD.normalize_str(chr(c))
        if full != chr(c) and c not in HANGUL:
            result[c] = [ord(x) for x in full]
    return result


def compositions():
    """Pairs (a, b) -> c that the oracle composes; the candidates are the one-step canonical decompositions."""
    pairs = {}
    for c in CODE_POINTS:
        step = unicodedata.decomposition(chr(c))
        if not step or step.startswith("<") or c in HANGUL:
            continue
        parts = [int(x, 16) for x in step.split()]
        if len(parts) == 2 and NFC.normalize_str("".join(map(chr, parts))) == chr(c):
            pairs[tuple(parts)] = c
    return pairs


def check_contractions():
    """The scanner hard-codes the case-insensitive contractions: ASCII of either case, and U+017F for s."""
    split = pre_tokenizers.Split(Regex("(?i:'s|'t|'re|'ve|'m|'ll|'d)"), behavior="removed", invert=True)
    for first, second, want in [("", "", set("stmdSTMD\u017f")), ("", "e", set("rvRV")), ("r", "", set("eE")),
                                ("v", "", set("eE")), ("l", "", set("lL"))]:
        got = set()
        for c in CODE_POINTS:
            text = "'" + first + chr(c) + second
            if [p for p, _ in split.pre_tokenize_str(text)] == [text]:
                got.add(chr(c))
        assert got == want, (first, second, got ^ want)


def ranges(classes):
    result = []
    for c in sorted(classes):
        if result and result[-1][1] == c - 1 and result[-1][2] == classes[c]:
            result[-1][1] = c
        else:
            result.append([c, c, classes[c]])
    return result


def write_array(out, declaration, items):
    out.write(f"{declaration} = {{\n")
    line = ""
    for item in items:
        if len(line) + len(item) + 1 > 118:
            out.write(line + "\n")
            line = ""
        line += item + ","
    out.write(line + "\n};\n")


def main():
    check_contractions()
    letters, numbers, spaces = members(r"\p{L}"), members(r"\p{N}"), members(r"\s")
    assert not letters & numbers and not letters & spaces and not numbers & spaces
    classes, full, pairs = combining_classes(), decompositions(), compositions()
    seconds = {b for _, b in pairs} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))

    def kind(c):
        value = OTHER
        if c in letters:
            value = LETTER
        elif c in numbers:
            value = NUMBER
        elif c in (0x0A, 0x0D):
            value = NEWLINE
        elif c in spaces:
            value = SPACE
        if c in classes or c in seconds or (not 0xD800 <= c <= 0xDFFF and NFC.normalize_str(chr(c)) != chr(c)):
            value |= NOT_INERT
        return value

    blocks, index = [], []
    for start in range(0, 0x110000, BLOCK):
        block = tuple(kind(c) for c in range(start, start + BLOCK))
        if block not in blocks:
            blocks.append(block)
        index.append(blocks.index(block))
    assert len(blocks) <= 256

    pool, decomposition_rows = [], []
    for c, parts in sorted(full.items()):
        decomposition_rows.append(f"{{{c},{len(pool)},{len(parts)}}}")
        pool += parts
    with open("src/tokenizer/unicode_tables.cc", "w", encoding="ascii") as out:
        out.write("// SPDX-License-Identifier: Apache-2.0\n")
        out.write(f"// Generated by tools/make_unicode_tables.py from tokenizers {tokenizers.__version__}; do not edit.\n")
        out.write('// clang-format off\n#include "tokenizer/unicode_tables.h"\n\nnamespace qwin::unicode {\n\n')
        write_array(out, f"const uint8_t kBlockIndex[{len(index)}]", map(str, index))
        write_array(out, f"const uint8_t kBlocks[{len(blocks) * BLOCK}]", (str(v) for b in blocks for v in b))
        rows = [f"{{{a},{b},{v}}}" for a, b, v in ranges(classes)]
        write_array(out, f"static const CombiningRange kCombiningRows[{len(rows)}]", rows)
        write_array(out, f"static const Decomposition kDecompositionRows[{len(decomposition_rows)}]", decomposition_rows)
        write_array(out, f"const uint32_t kDecompositionPool[{len(pool)}]", map(str, pool))
        rows = [f"{{{a},{b},{c}}}" for (a, b), c in sorted(pairs.items())]
        write_array(out, f"static const Composition kCompositionRows[{len(rows)}]", rows)
        out.write("const std::span<const CombiningRange> kCombiningRanges(kCombiningRows);\n")
        out.write("const std::span<const Decomposition> kDecompositions(kDecompositionRows);\n")
        out.write("const std::span<const Composition> kCompositions(kCompositionRows);\n\n}  // namespace qwin::unicode\n")
    print(f"{len(letters)} letters, {len(numbers)} numbers, {sorted(map(hex, spaces))}; {len(blocks)} blocks, "
          f"{len(classes)} marks, {len(full)} decompositions, {len(pairs)} compositions", file=sys.stderr)


if __name__ == "__main__":
    main()
