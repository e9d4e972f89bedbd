# SPDX-License-Identifier: Apache-2.0
"""The full model teaches its quantized self: `python -m qwin.repair BASE QUANTIZED OUT`.

Norms and biases learn, with --scales the spans' scales, too; codes stay, so OUT is as large and as fast as QUANTIZED. A run
that was stopped goes on where it was when it is started again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from qwin.engine import Engine
from qwin.errors import Error, InvalidArgumentError

try:
    import torch
except ImportError:
    sys.exit("error: repair needs torch: pip install torch --index-url https://download.pytorch.org/whl/cpu")

from qwin.repair.lessons import Lessons, ask_teacher, pieces_of, write_texts
from qwin.repair.model_file import QuantizedFile
from qwin.repair.network import Network
from qwin.repair.training import Settings, Training, default_learning_rate


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Progress:
    """A line every few seconds."""

    def __init__(self) -> None:
        self.spoken = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        if done in (0, total) or time.monotonic() - self.spoken > 15:
            say(f"{what}: {done} of {total}")
            self.spoken = time.monotonic()


def make_lessons(args: argparse.Namespace, vocab_size: int) -> Lessons:
    progress = Progress()
    teacher = args.teacher or args.base
    texts: list[list[int]] = []
    with Engine(args.base, quantize_bits=args.writer_bits, num_threads=args.threads, prefix_cache=False) as writer:
        texts += [writer.tokenize(Path(file).read_text(encoding="utf-8"), parse_special=True) for file in args.text]
        missing = args.tokens - sum(map(len, texts))
        if missing > 0:
            texts += write_texts(writer, missing, args.seed, progress)
        separator = writer.tokenize("<|endoftext|>", parse_special=True)
    pieces = pieces_of(texts, separator, args.piece, args.seed)
    with Engine(teacher, num_threads=args.threads, prefix_cache=False) as engine:
        if engine.tokenize("<|endoftext|> \u4f60\u597d, tokenizer", parse_special=True) != separator + engine.tokenize(" \u4f60\u597d, tokenizer"):
            raise InvalidArgumentError(f"{teacher} has another tokenizer than {args.base}")
        return ask_teacher(engine, pieces, vocab_size, progress)


def lessons_for(args: argparse.Namespace, vocab_size: int, work: Path) -> Lessons:
    path = args.lessons or work / "lessons.npz"
    if path.exists():
        lessons = Lessons.load(path)
        if lessons.ids.max() >= vocab_size:
            raise InvalidArgumentError(f"{path} has token ids beyond the vocabulary of {args.quantized}")
        return lessons
    lessons = make_lessons(args, vocab_size)
    lessons.save(path)
    return lessons


def repair(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    file = QuantizedFile(args.quantized)
    work = args.out.with_name(args.out.name + ".repair")
    work.mkdir(parents=True, exist_ok=True)
    vocab_size, hidden_size = file.tensors["model.embed_tokens.weight"].shape
    lessons = lessons_for(args, vocab_size, work)
    rate = default_learning_rate(hidden_size) if args.learning_rate is None else args.learning_rate
    settings = Settings(learning_rate=rate, epochs=args.epochs, pieces_per_step=args.pieces_per_step, seed=args.seed)
    network = Network(file, args.scales)
    state = Training(network, lessons, settings, work / "checkpoint.pt").run(say)
    file.write(args.out, *network.learned(file))
    say(f"{args.out}: KL on held-out text {state.first_kl:.5f} -> {state.best_kl:.5f}, {state.seconds:.0f} s of training")
    if not args.keep:
        shutil.rmtree(work)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m qwin.repair", description="The full model teaches its quantized self: norms and biases learn.")
    parser.add_argument("base", help="the full model: a path or a name")
    parser.add_argument("quantized", type=Path, help="what `qwin quantize` made of it")
    parser.add_argument("out", type=Path, help="the repaired file; may be QUANTIZED")
    parser.add_argument("--teacher", help="a larger model with the same tokenizer teaches instead of BASE")
    parser.add_argument("--text", type=Path, action="append", default=[], metavar="FILE", help="text to learn from; may be repeated")
    parser.add_argument("--tokens", type=int, default=150_000, help="BASE writes what is missing of so many tokens (%(default)s)")
    parser.add_argument("--lessons", type=Path, metavar="FILE.npz", help="the teacher's answers: read, or made and kept, here")
    parser.add_argument("--scales", action="store_true", help="spans' scales learn, too: for millions of tokens and a small --learning-rate")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, help="in parts of each value (0.001; less where a token has more than 896 channels)")
    parser.add_argument("--piece", type=int, default=512, help="tokens of a piece of text (%(default)s)")
    parser.add_argument("--pieces-per-step", type=int, default=1)
    parser.add_argument("--writer-bits", type=int, choices=(4, 8), help="BASE writes quantized to so many bits: faster")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--keep", action="store_true", help="leave OUT.repair/ with lessons and checkpoint where it is")
    try:
        repair(parser.parse_args())
    except Error as error:
        say(f"error: {error.code}: {error}")
        return 2 if isinstance(error, InvalidArgumentError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
