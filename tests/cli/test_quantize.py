# SPDX-License-Identifier: Apache-2.0
"""`qwin quantize` and `--bits`: the file, what its model answers, and what is left when it is stopped."""

import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import time

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("QWIN_BINARY", str(ROOT / "build/release/qwin"))
TINY = ROOT / "tests/testdata/tiny"
VOCAB = 320
IDS = [[i * 37 % 290 for i in range(24)]]


def qwin(*arguments, text="", code=0):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("QWIN_")}
    done = subprocess.run([BINARY, *map(str, arguments)], input=text, capture_output=True, text=True, env=environment)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture
def model(span_model):
    return span_model


def logits(model, *options):
    lines = "\n".join(json.dumps({"token_ids": ids, "top": VOCAB}) for ids in IDS)
    return [json.loads(line) for line in qwin("logits", model, *options, text=lines).splitlines()]


def divergence(reference, tested):
    """Mean KL of the full distributions."""
    total = []
    for a, b in zip(reference, tested):
        for ids_a, top_a, lse_a, ids_b, top_b, lse_b in zip(
            a["top_ids"], a["top_logits"], a["lse"], b["top_ids"], b["top_logits"], b["lse"]
        ):
            p, q = np.empty(VOCAB), np.empty(VOCAB)
            p[ids_a], q[ids_b] = np.array(top_a) - lse_a, np.array(top_b) - lse_b
            total.append((np.exp(p) * (p - q)).sum())
    return np.mean(total)


@pytest.mark.parametrize("profile, bits, worst", [("q4", 5.2, 0.05), ("q4-ffn8", 7.6, 0.03), ("q8", 8.3, 0.001)])
def test_profiles_keep_the_model(model, tmp_path, profile, bits, worst):
    out = tmp_path / "out.gguf"
    report = json.loads(qwin("quantize", model, out, "--profile", profile, "--json"))
    assert report["path"] == str(out) and report["bytes"] == out.stat().st_size
    assert 4.2 < report["bits_per_weight"] < bits
    assert {t["type"] for t in report["tensors"]} == {"q4": {"F32", "Q4", "Q5"}, "q4-ffn8": {"F32", "Q4", "Q8"}, "q8": {"F32", "Q8"}}[profile]
    assert all(t["relative_error"] < 0.01 for t in report["tensors"])
    json.loads(qwin("check", out, "--json"))
    shown = json.loads(qwin("show", out, "--json"))
    assert shown["format"] == "gguf" and abs(shown["bits_per_weight"] - report["bits_per_weight"]) < 0.01
    kl = divergence(logits(model), logits(out))
    assert 0 < kl < worst, kl


@pytest.mark.parametrize("bits", [4, 8])
def test_quantizing_while_loading_is_quantizing_to_a_file(model, tmp_path, bits):
    out = tmp_path / "out.gguf"
    qwin("quantize", model, out, "--bits", bits, "--head", "q5" if bits == 4 else "q8")
    from_file, loaded = logits(out), logits(model, "--bits", bits)
    assert divergence(logits(model), loaded) > 0
    # The embedding alone differs: it is read from the source, where it has all its bits.
    assert divergence(loaded, from_file) < (1e-3 if bits == 8 else 2e-2)


def test_gguf_files_and_own_files_are_sources_too(model, tmp_path):
    once, twice = tmp_path / "once.gguf", tmp_path / "twice.gguf"
    qwin("quantize", model, once, "--profile", "q8")
    qwin("quantize", once, twice, "--profile", "q8", "--threads", 1)
    assert divergence(logits(once), logits(twice)) < 1e-6
    gguf = TINY / "qwen2_tied_gguf_q8_0/model.gguf"  # rows of 64: every tensor stays as it is
    qwin("quantize", gguf, twice)
    assert logits(gguf) == logits(twice)
    assert qwin("tokenize", gguf, "--json", text="The answer") == qwin("tokenize", twice, "--json", text="The answer")


def test_threads_do_not_change_a_byte(model, tmp_path):
    one, three = tmp_path / "one.gguf", tmp_path / "three.gguf"
    qwin("quantize", model, one, "--threads", 1)
    qwin("quantize", model, three, "--threads", 3)
    assert one.read_bytes() == three.read_bytes()


def test_coarser_groups_lose_more(model, tmp_path):
    error = {}
    for group in (32, 64, 128):
        report = json.loads(qwin("quantize", model, tmp_path / "out.gguf", "--group", group, "--json"))
        error[group] = sum(t["relative_error"] for t in report["tensors"] if t["type"] == "Q4")
    assert error[32] < error[64] < error[128]


def test_what_is_wrong_is_named_and_leaves_nothing(model, tmp_path):
    out = tmp_path / "out.gguf"
    assert "invalid_argument" in qwin("quantize", model, out, "--profile", "q5", code=2)
    assert "invalid_argument" in qwin("quantize", model, out, "--profile", "q4", "--bits", 8, code=2)
    assert "invalid_argument" in qwin("quantize", model, out, "--group", 48, code=2)
    assert "share scales by 128" in qwin("quantize", model, out, "--bits", 8, "--group", 64, code=2)
    assert "invalid_argument" in qwin("quantize", model, out, "--head", "q3", code=2)
    assert "error: io: " in qwin("quantize", model, tmp_path / "absent/out.gguf", code=2)
    assert list(tmp_path.iterdir()) == []
    shutil.copy(TINY / "qwen2_tied_gguf_q8_0/model.gguf", out)
    before = out.read_bytes()
    assert "is the model that is read" in qwin("quantize", out, out, code=2)
    assert out.read_bytes() == before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopping_leaves_nothing(tmp_path, span_shapes, span_config, how):
    """The source is too large to be done at once, and made of zeros: a sparse file."""
    folder, rows = tmp_path / "model", 200000
    folder.mkdir()
    shutil.copy(TINY / "qwen2_tied/tokenizer.json", folder)
    (folder / "config.json").write_text(json.dumps(span_config | {"vocab_size": rows}))
    header, at = {}, 0
    for name, shape in span_shapes.items():
        shape = (rows, shape[1]) if name == "model.embed_tokens.weight" else shape
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 4 * int(np.prod(shape))]}
        at += 4 * int(np.prod(shape))
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        ones = np.random.default_rng(1).standard_normal(1 << 20).astype("<f4").tobytes()
        for _ in range(-(-at // len(ones))):
            file.write(ones)
        file.truncate(8 + len(text) + at)
    out = tmp_path / "out"
    out.mkdir()
    (out / "model.gguf").write_text("what was there")
    process = subprocess.Popen([BINARY, "quantize", str(folder), str(out / "model.gguf")], stderr=subprocess.PIPE)
    time.sleep(0.3)
    process.send_signal(how)
    process.communicate()
    assert process.returncode == (1 if how == signal.SIGINT else -how)
    assert [f.name for f in out.iterdir()] == ["model.gguf"]
    assert (out / "model.gguf").read_text() == "what was there"


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("The answer is in the file: the weights make the answer, and the keys are in the pages. " * 40)
    return path


def test_calibration_makes_good_in_later_columns_what_earlier_ones_lose(model, tmp_path, text):
    plain, calibrated = tmp_path / "plain.gguf", tmp_path / "calibrated.gguf"
    before = json.loads(qwin("quantize", model, plain, "--json"))
    report = json.loads(qwin("quantize", model, calibrated, "--calibrate", text, "--head", "q5", "--json"))
    assert plain.stat().st_size == calibrated.stat().st_size
    error = {t["name"]: t["relative_error"] for t in before["tensors"]}
    for tensor in report["tensors"]:
        if tensor["type"] == "Q4":  # few kinds of input: much of what is lost can be made good
            assert tensor["relative_error"] < 0.7 * error[tensor["name"]], tensor
    ids = json.loads(qwin("tokenize", model, "--json", text=text.read_text()))["token_ids"][:100]
    line = json.dumps({"token_ids": ids, "top": VOCAB})
    said = [[json.loads(qwin("logits", m, text=line))] for m in (model, plain, calibrated)]
    assert divergence(said[0], said[2]) < divergence(said[0], said[1]) / 2


def test_calibrated_q4_is_smaller_its_likely_tokens_lose_little(model, tmp_path, text):
    plain, calibrated = tmp_path / "plain.gguf", tmp_path / "calibrated.gguf"
    qwin("quantize", model, plain)
    report = json.loads(qwin("quantize", model, calibrated, "--calibrate", text, "--json"))
    assert report["bytes"] == calibrated.stat().st_size < plain.stat().st_size
    types = {t["name"]: t["type"] for t in report["tensors"]}
    residual = {"model.embed_tokens.residual.weight", "lm_head.residual.weight"} & set(types)
    assert residual and all(types[name] == types[name.replace(".residual", "")] == "Q4" for name in residual)
    ids = json.loads(qwin("tokenize", model, "--json", text=text.read_text()))["token_ids"][:100]
    line = json.dumps({"token_ids": ids, "top": VOCAB})
    said = [[json.loads(qwin("logits", m, text=line))] for m in (model, plain, calibrated)]
    assert divergence(said[0], said[2]) < divergence(said[0], said[1])
    assert "residual" in qwin("quantize", calibrated, tmp_path / "again.gguf", code=2)


@pytest.mark.parametrize("profile", ["q4", "q4-ffn8", "q8"])
def test_calibrated_files_do_not_depend_on_threads(model, tmp_path, text, profile):
    one, three = tmp_path / "one.gguf", tmp_path / "three.gguf"
    qwin("quantize", model, one, "--profile", profile, "--calibrate", text, "--threads", 1)
    qwin("quantize", model, three, "--profile", profile, "--calibrate", text, "--threads", 3)
    assert one.read_bytes() == three.read_bytes()


@pytest.mark.parametrize("options", [("--calibrate", "builtin"), ("--plan",)])
def test_the_text_that_comes_with_qwin_serves_as_its_file_does(model, tmp_path, options):
    builtin, by_file = tmp_path / "builtin.gguf", tmp_path / "file.gguf"
    file = ROOT / "src/compress/calibration_text.txt"
    qwin("quantize", model, builtin, *options)
    qwin("quantize", model, by_file, *(("--plan", "--plan-text", file) if options == ("--plan",) else ("--calibrate", file)))
    assert builtin.read_bytes() == by_file.read_bytes()


def test_a_calibration_text_must_be_long_enough(model, tmp_path, text):
    text.write_text("too short")
    assert "invalid_argument" in qwin("quantize", model, tmp_path / "out.gguf", "--calibrate", text, code=2)
    assert not (tmp_path / "out.gguf").exists()


def test_eval_compares_with_a_reference_model(model, tmp_path, text):
    out = tmp_path / "out.gguf"
    qwin("quantize", model, out)
    same, quantized = (
        json.loads(qwin("eval", m, "--perplexity", text, "--reference", model, "--json")) for m in (model, out)
    )
    assert same["mean_kl"] < 1e-3 < quantized["mean_kl"] < 0.1 and quantized["mean_kl"] < quantized["kl_p999"]
    assert same["reference_perplexity"] == quantized["reference_perplexity"] > 1
    alone = json.loads(qwin("eval", out, "--perplexity", text, "--json"))
    assert alone["perplexity"] == quantized["perplexity"] and alone["tokens"] == quantized["tokens"]
    assert same["top1"] > quantized["top1"] > 0.3
    assert "--perplexity FILE" in qwin("eval", out, "--reference", model, code=2)


def types_of(report):
    return {t["name"]: t["type"] for t in report["tensors"]}


def test_a_gate_refuses_what_is_too_far_and_leaves_nothing(model, tmp_path, text):
    out = tmp_path / "out.gguf"
    gate = ("--gate-text", text, "--json")
    met = json.loads(qwin("quantize", model, out, "--gate", "kld<=0.1,top1>=0.3", *gate))["gate"]
    told = json.loads(qwin("eval", out, "--perplexity", text, "--reference", model, "--json"))
    assert all(met[figure] == told[figure] for figure in ("mean_kl", "kl_p999", "top1", "positions"))
    before, listed = out.read_bytes(), sorted(tmp_path.iterdir())
    for missed in (f"kld<={met['mean_kl'] * 0.9}", f"p999<={met['kl_p999'] * 0.9}", "kld<=1,top1>=1"):
        complaint = qwin("quantize", model, out, "--gate", missed, *gate, code=1)
        assert f"error: gate_missed: {missed.split(',')[-1]}" in complaint and f"kld {met['mean_kl']:.6f}" in complaint
    assert out.read_bytes() == before and sorted(tmp_path.iterdir()) == listed
    out.unlink()
    qwin("quantize", model, out, "--gate", "kld<=0", *gate, code=1)
    assert not out.exists()
    assert "invalid_argument" in qwin("quantize", model, out, "--gate", "ppl<=3", *gate, code=2)
    assert "go together" in qwin("quantize", model, out, "--gate", "kld<=0.1", code=2)


def test_a_plan_spends_the_same_size_better(model, span_config, tmp_path, text):
    """Uniform 4 bits with a head of 6 beside a plan of no more bytes, which takes them to where they count."""
    out, plan = tmp_path / "out.gguf", tmp_path / "plan.json"
    size = ("--head", "q6")  # bits that count more elsewhere
    uniform = json.loads(qwin("quantize", model, out, *size, "--json"))
    uniform_kl = divergence(logits(model), logits(out))
    report = json.loads(qwin("quantize", model, out, *size, "--plan", "--plan-text", text, "--save-plan", plan, "--json"))
    assert report["bytes"] == out.stat().st_size <= uniform["bytes"]
    assert types_of(report) != types_of(uniform)
    assert divergence(logits(model), logits(out)) < uniform_kl
    saved = json.loads(plan.read_text())
    assert saved == report["plan"] and len(saved["tensors"]) == 7 * span_config["num_hidden_layers"] + 1
    assert all(types_of(report)[t["tensor"]] == t["type"] for t in saved["tensors"])
    again = tmp_path / "again.gguf"
    table = qwin("quantize", model, again, "--use-plan", plan)
    assert again.read_bytes() == out.read_bytes()
    assert "layer    q    k    v    o gate   up down" in table


def test_targets_are_kept(model, tmp_path, text):
    out, plan = tmp_path / "out.gguf", tmp_path / "plan.json"
    last = 0
    for bits in (4.6, 5.5, 7):
        chosen = ("--use-plan", plan) if last else ("--plan-text", text, "--save-plan", plan)
        report = json.loads(qwin("quantize", model, out, "--target-bpw", bits, *chosen, "--json"))
        assert last < report["bits_per_weight"] <= bits
        assert report["bits_per_weight"] > bits - 0.2
        last = report["bits_per_weight"]
    for target, most in (("0.25MB", 2.5e5), ("40%", 0.4 * report["bytes"] / report["fp16_share"])):
        size = json.loads(qwin("quantize", model, out, "--target-size", target, "--use-plan", plan, "--json"))["bytes"]
        assert 0.95 * most < size <= most
    assert "with the smallest types they take" in qwin("quantize", model, out, "--target-size", "10%", "--use-plan", plan, code=2)
    for bad in ("25", "x%", "-3MB", "3 MB", "0%"):
        assert "--target-size is 25%" in qwin("quantize", model, out, "--target-size", bad, "--use-plan", plan, code=2)


def test_plans_that_cannot_be_are_refused(model, tmp_path, text):
    out, plan = tmp_path / "out.gguf", tmp_path / "plan.json"
    assert "not both" in qwin("quantize", model, out, "--target-bpw", 5, "--target-size", "30%", "--plan-text", text, code=2)
    assert "--plan-text is for a plan" in qwin("quantize", model, out, "--plan-text", text, code=2)
    plan.write_text("{}")
    assert "no plan" in qwin("quantize", model, out, "--use-plan", plan, code=2)
    qwin("quantize", model, out, "--plan", "--plan-text", text, "--save-plan", plan)
    stored = json.loads(plan.read_text())
    stored["tensors"].pop()
    plan.write_text(json.dumps(stored))
    assert "the plan is for another model" in qwin("quantize", model, out, "--use-plan", plan, code=2)


def python_that_repairs(tmp_path, does):
    """Stands for a Python with torch: `$3`, `$4`, `$5` are the source, what was quantized and what to write."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit 0\necho "learning" >&2\n{does}\n')
    script.chmod(0o755)
    return script


def test_the_gate_judges_what_was_repaired(model, tmp_path, text):
    out = tmp_path / "out.gguf"
    better = tmp_path / "better.gguf"
    qwin("quantize", model, better, "--profile", "q8")
    gate = ("--gate", "kld<=0.001", "--gate-text", text)
    python = python_that_repairs(tmp_path, f'[ ! -e {out} ] && cp {better} "$5"')
    qwin("quantize", model, out, *gate, code=1)  # 4 bits alone miss it
    qwin("quantize", model, out, *gate, "--repair", "--python", python)
    assert out.read_bytes() == better.read_bytes()
    assert sorted(tmp_path.glob("out.gguf*")) == [out]
    out.unlink()
    python_that_repairs(tmp_path, 'cp "$4" "$5"')  # learned nothing
    assert "kld" in qwin("quantize", model, out, *gate, "--repair", "--python", python, code=1)
    assert not list(tmp_path.glob("out.gguf*"))


def test_a_repair_that_fails_can_go_on(model, tmp_path):
    out = tmp_path / "out.gguf"
    python = python_that_repairs(tmp_path, "exit 3")
    message = qwin("quantize", model, out, "--repair", "--python", python, code=2)
    assert "learning" in message and "status 3" in message and f"{out}.unrepaired" in message
    assert not out.exists()
    python_that_repairs(tmp_path, 'cp "$4" "$5"')
    qwin("quantize", model, out, "--repair", "--python", python)
    assert sorted(tmp_path.glob("out.gguf*")) == [out]
    qwin("quantize", out, out, "--repair", "--python", python, code=2)  # it is the model that is read


def test_repair_needs_a_python_that_has_it(model, tmp_path):
    out = tmp_path / "out.gguf"
    message = qwin("quantize", model, out, "--repair", "--python", "/nowhere/python", code=2)
    assert "-m qwin.repair" in message and "--python" in message
    assert not out.exists()
