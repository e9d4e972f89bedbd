# SPDX-License-Identifier: Apache-2.0
"""The Hugging Face tokenizer of a Qwen GGUF file, and random texts of every kind that have broken a tokenizer somewhere.

Shared by tools/make_tokenizer_testdata.py and tests/tokenizer/compare_with_hf.py. Needs `pip install tokenizers gguf`.
"""

import random
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4

EDGE_CASES = [
    "", " ", "  ", "   ", "\t", "\n", "\n\n", "\n\n\n", "\r\n", "\t\n", " \n \n", "\n =", "\u00a0", "\u3000\u3000a", "\u0085",
    "Hello world", " Hello world", "Hello World!", " this is qwin", "w048 7tuijk dsdfhu", "->", "(x):\n", "1234567", "don't",
    "\n \n", "I'M he'Ll WE'VE they'Re 'S 'sS '\u017f '\u017ft", "'", "''", "' s", " 's", "'\n", "'re're", "''re", "x'y",
    "нещо на Български", "កាន់តែពិសេសអាចខលចេញ", "🚀 (normal) 😶‍🌫️ (multiple emojis concatenated) ✅", "日本語のテキスト。", "中文，标点！１２３",
    "3", "33", "333", "Ⅷ ½ ² ٣٤", "e\u0301", "\u0301e", "a\u0323\u0307", "a\u0307\u0323", "\u1100\u1161\u11a8", "\uac00\u11a8",
    "\u0958", "\u2126 \u212b", "\ufb01 \ufb06", "\u0344", "\u1e9b\u0323", "\ud55c\uae00 \u1112\u1161\u11ab\u1100\u1173\u11af",
    "if __name__ == '__main__':\n    main()\n", "\tx = [1,2,3];\r\n\t\ty = {};\r\n", "a \t b", "a  \n  b", "a\n  b", " \r", "\v\f\r",
    "<|im_start|>user\nhi<|im_end|>\n", "<tool_call>{}</tool_call>", "<|im_end|", "<<|im_end|>>", "<|im_end|><|im_end|>",
    " <|im_end|> ", "<|im_\u200bend|>", "e<|im_end|>\u0301", "<|im_end|>'s", "x<tool_call>", "<|fim_prefix|>def", "<|IM_END|>",
    "\u0000", "a\u0000b", "\ufeffx", "\uffff", "\U0010ffff", "\u200d\u200d", "\u07fd\u0301", "a\u07fd\u0316", "=" * 60, " " * 99,
    "!" * 99 + "\n", "ab" * 70, "\u0301" * 40, "ſ's", "a'\u017fb", "http://a.b/c?d=e&f=g#h", "x_y__z", "CamelCase", "\U00010d4a\U000323b0",
]


def gguf_fields(path):
    import gguf

    reader = gguf.GGUFReader(path)
    texts = lambda key: [bytes(reader.fields[key].parts[i]).decode("utf-8") for i in reader.fields[key].data]
    types = [int(reader.fields["tokenizer.ggml.token_type"].parts[i][0]) for i in reader.fields["tokenizer.ggml.token_type"].data]
    return texts("tokenizer.ggml.tokens"), types, texts("tokenizer.ggml.merges")


def hf_tokenizer(tokens, types, merges, added=True):
    """As transformers builds it from the slow tokenizer; without `added`, no added token is recognised."""
    vocab = {token: i for i, (token, kind) in enumerate(zip(tokens, types)) if kind == NORMAL}
    model = BPE(vocab=vocab, merges=[tuple(m.split(" ")) for m in merges], fuse_unk=False, byte_fallback=False,
                continuing_subword_prefix="", end_of_word_suffix="")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    if added:
        for i, (token, kind) in enumerate(zip(tokens, types)):
            if kind in (CONTROL, USER_DEFINED):
                tokenizer.add_tokens([AddedToken(token, special=kind == CONTROL, normalized=False)])
                assert tokenizer.token_to_id(token) == i, token
    return tokenizer


class Texts:
    """Endless random texts: 14 generators taken in turn, the same for the same seed."""

    def __init__(self, tokenizer, added_tokens, seed=7):
        self.random = random.Random(seed)
        self.added = added_tokens
        self.words = [w for w in (tokenizer.decode([i], skip_special_tokens=False) for i in range(tokenizer.get_vocab_size())) if w]
        self.vocab_chars = sorted(set("".join(self.words)))
        assigned = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF and unicodedata.category(chr(c)) != "Cn"]
        self.marks = [c for c in assigned if unicodedata.combining(c)]
        self.composites = [c for c in assigned if unicodedata.normalize("NFD", c) != c and not "가" <= c <= "힣"]
        self.spaces = list(" \t\n\r\v\f\u0085\u00a0\u1680\u2003\u2028\u3000\u200b")
        self.generators = [
            self.ascii_strip, self.apostrophe, self.added_strip, self.random_added, self.random_chars, self.random_unicodes,
            self.random_vocab_chars, self.random_vocab_words, self.combining, self.jamo, self.white_space, self.code, self.cjk_emoji,
            self.random_bytes,
        ]

    def __iter__(self):
        while True:
            for generator in self.generators:
                yield generator()

    def pick(self, items, low, high):
        return "".join(self.random.choices(items, k=self.random.randint(low, high)))

    def ascii_strip(self):
        r = self.random
        return r.choice(["", " ", "  ", "\n", "\t"]) + chr(r.randint(0, 127)) + chr(r.randint(0, 127)) + r.choice(["", " ", "\n", "  "])

    def apostrophe(self):
        parts = ["'", "’", "s", "S", "t", "re", "RE", "Ve", "m", "LL", "l", "d", "ſ", " ", "\n", "x", "1", "é", "''", "!"]
        return self.pick(parts, 1, 8)

    def added_strip(self):
        r = self.random
        strip = ["", " ", "  ", "\n", "\t \n", "a", "\u0301", "<", "|"]
        return r.choice(strip) + r.choice(self.added) + r.choice(strip) + r.choice(self.added + [""]) + r.choice(strip)

    def random_added(self):
        pieces = [token[: self.random.randint(1, len(token))] for token in self.added]
        return self.pick(self.added + pieces + [" ", "\n", "x", "<|", "|>"], 1, 8)

    def random_chars(self):
        chars = list(" \t\n\r") * 3 + [chr(c) for c in range(32, 127)] + list("éüñßøÅ«»€“”…–") + list("あ漢字가😀")
        return self.pick(chars, 1, 60)

    def random_unicodes(self):
        code_point = lambda: self.random.choice([self.random.randint(1, 0xD7FF), self.random.randint(0xE000, 0x323FF),
                                                 self.random.randint(0xE0000, 0x10FFFF), self.random.randint(1, 0x2FFF)])
        return "".join(chr(code_point()) for _ in range(self.random.randint(1, 24)))

    def random_vocab_chars(self):
        return self.pick(self.vocab_chars, 1, 40)

    def random_vocab_words(self):
        return self.pick(self.words, 1, 16)

    def combining(self):
        r = self.random
        bases = self.composites if r.random() < 0.5 else list("aeiouAOUsdक্か") + self.composites[:400]
        text = "".join(r.choice(bases) + self.pick(self.marks, 0, 5) for _ in range(r.randint(1, 6)))
        return text if r.random() < 0.5 else unicodedata.normalize(r.choice(["NFD", "NFC", "NFKD"]), text)

    def jamo(self):
        r = self.random
        kinds = [(0x1100, 0x1112), (0x1161, 0x1175), (0x11A8, 0x11C2), (0xAC00, 0xD7A3), (0x10FF, 0x11FF), (0x0300, 0x0345)]
        return "".join(chr(r.randint(*r.choice(kinds))) for _ in range(r.randint(1, 12)))

    def white_space(self):
        return self.pick(self.spaces + ["a", "1", "!", "'", "中"], 1, 30)

    def code(self):
        parts = ["    ", "\t", "\n", "\n\n", "\r\n", "if", " for", "(", ")", "[", "]", "{", "};", "->", "=>", "==", " = ", "0x1F", "1e-5",
                 "foo_bar", "FooBar", "#", "//", "/*", '"', "'", "\\n", "::", ".", ",", "return", " self", "<", ">", "&&", "$", "@", "^"]
        return self.pick(parts, 1, 30)

    def cjk_emoji(self):
        parts = ["你好", "世界", "，", "。", "我", "的", "中国", "日本語", "カタカナ", "한국어", "１２", "😀", "👩‍👩‍👧", "🇩🇪", "✌🏽", " ", "\n", "a", "1", "！", "「", "」"]
        return self.pick(parts, 1, 20)

    def random_bytes(self):
        raw = bytes(self.random.randint(0, 255) for _ in range(self.random.randint(1, 40)))
        return raw.decode("utf-8", errors="replace")
