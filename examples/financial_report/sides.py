# SPDX-License-Identifier: Apache-2.0
"""One side of the comparison, in a process of its own: `sides.py {transformers,qwin} JSON` prints what it measured."""

import gc
import json
import os
import sys
import time
from pathlib import Path

FIGURES = (Path(__file__).parent / "figures.md").read_text(encoding="utf-8")
FOCUS = ["经营成果与盈利能力", "现金流与偿债能力", "研发投入与海外业务", "风险与下一年度展望"]


def chat(focus):
    return [
        {"role": "system", "content": "你是一名资深财务分析师。"},
        {
            "role": "user",
            "content": f"请根据下列数据撰写一份约五千字的年度财务分析报告，分章节展开，重点分析{focus}。\n\n{FIGURES}",
        },
    ]


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def load_transformers(model, threads):
    """The model as `from_pretrained` gives it, in the type of its checkpoint."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(threads)
    return AutoModelForCausalLM.from_pretrained(model).eval(), AutoTokenizer.from_pretrained(model)


def transformers_side(arguments):
    import torch

    model, tokenizer = load_transformers(arguments["model"], arguments["threads"])
    tokenizer.padding_side = "left"
    settings = {"do_sample": True, "temperature": 0.7, "repetition_penalty": 1.05}
    length = arguments["peer_tokens"]

    def write(chats, tokens):
        ids = tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        )
        start = time.perf_counter()
        output = model.generate(**ids, max_new_tokens=tokens, min_new_tokens=tokens, **settings)
        return time.perf_counter() - start, output[:, ids["input_ids"].shape[1] :]

    torch.manual_seed(0)
    write([chat(FOCUS[0])], 2)
    seconds, written = write([chat(FOCUS[0])], length)
    four_seconds, four = write([chat(focus) for focus in FOCUS], max(2, length // 4))
    return {
        "seconds": seconds,
        "tokens": length,
        "text": tokenizer.decode(written[0], skip_special_tokens=True),
        "four_seconds": four_seconds,
        "four_tokens": four.numel(),
        "memory": resident_bytes(),
    }


def qwin_side(arguments):
    import qwin

    model, tokenizer = load_transformers(arguments["model"], arguments["threads"])
    engine = qwin.Engine(
        model, tokenizer=tokenizer, attention_type="sliding_window", window_size=arguments["window"], quantize_bits=8,
        max_batch_size=4, num_threads=arguments["threads"], kv_memory=1 << 30,
    )  # fmt: skip
    del model
    gc.collect()
    settings = {"temperature": 0.7, "repetition_penalty": 1.05, "ignore_eos": True}
    engine.generate("你好", 2)

    # One report, until it has its characters.
    start = time.perf_counter()
    text, tokens = "", 0
    with engine.stream_generate(chat(FOCUS[0]), arguments["max_tokens"], stream_interval=0, seed=0, **settings) as stream:
        for chunk in stream:
            text += chunk["text"]
            tokens += len(chunk["token_ids"])
            if len(text) >= arguments["characters"]:
                break
    seconds = time.perf_counter() - start

    # Four at once.
    start = time.perf_counter()
    reports = engine.generate([chat(focus) for focus in FOCUS], arguments["batch_tokens"] or tokens, with_details=True, seed=0, **settings)
    return {
        "seconds": seconds,
        "tokens": tokens,
        "text": text,
        "four_seconds": time.perf_counter() - start,
        "four_tokens": sum(len(report.token_ids) for report in reports),
        "memory": resident_bytes(),
    }


if __name__ == "__main__":
    side = {"transformers": transformers_side, "qwin": qwin_side}[sys.argv[1]]
    print(json.dumps(side(json.loads(sys.argv[2])), ensure_ascii=False))
