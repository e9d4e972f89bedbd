# SPDX-License-Identifier: Apache-2.0
"""What others rely on: the JSON shapes, exit codes, error lines and environment twins of every command of `qwin`."""

import json
import math
import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("QWIN_BINARY", str(ROOT / "build/release/qwin"))
TINY = ROOT / "tests/testdata/tiny"
MODEL = TINY / "qwen2_tied"
GGUF = TINY / "qwen2_tied_gguf_q8_0/model.gguf"
ALL = sorted(p / "model.gguf" if (p / "model.gguf").exists() else p for p in TINY.iterdir() if p.is_dir())
NUMBER = (int, float)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in [n for n in os.environ if n.startswith("QWIN_") and n != "QWIN_BINARY"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("QWIN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def qwin(*arguments, text="", code=0, env=None, **options):
    """Runs a command, requires its exit code, returns stdout and stderr."""
    done = subprocess.run([BINARY, *map(str, arguments)], input=text if isinstance(text, bytes) else text.encode(),
                          capture_output=True, timeout=60, env={**os.environ, **(env or {})}, **options)
    assert done.returncode == code, (arguments, done.returncode, done.stderr)
    return done.stdout.decode(), done.stderr.decode()


def as_json(*arguments, **options):
    out, _ = qwin(*arguments, **options)
    assert out.endswith("\n") and out.count("\n") == 1
    return json.loads(out)


def refused(*arguments, kind, **options):
    """The command fails, writes no result, and its last line, the only one about the fault, has the class."""
    out, err = qwin(*arguments, **{"code": 2, **options})
    lines = err.splitlines()
    assert out == "" and lines[-1].startswith(f"error: {kind}: "), err
    assert sum(line.startswith("error: ") for line in lines) == 1
    return lines


# --- usage ----------------------------------------------------------------------------------------------------------


def test_help_lists_every_command_and_explains_each():
    out, err = qwin("help")
    assert err == "" and qwin()[0] == out == qwin("--help")[0]
    for command in ("pull", "list", "show", "rm", "run", "summarize", "serve", "tokenize", "detokenize", "logits", "eval", "bench", "calibrate-heads", "check", "doctor"):
        assert f"  {command} " in out
        assert qwin(command, "--help")[0] == qwin("help", command)[0] != ""


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["run"], ["list", "x"], ["help", "nonsense"],
                                       ["doctor", "--nonsense"], ["run", MODEL, "hi", "--threads", "x"],
                                       ["run", MODEL, "a", "b", "c"], ["no\nsense"],
                                       ["run", MODEL, "hi", "--max-tokens", "99999999999"]])
def test_usage_errors_are_one_line(arguments):
    assert len(refused(*arguments, kind="invalid_argument")) == 1


def test_every_long_flag_names_its_environment_twin():
    for command in ("pull", "list", "show", "rm", "run", "summarize", "serve", "tokenize", "detokenize", "logits", "eval", "bench", "calibrate-heads", "check", "doctor"):
        for line in qwin(command, "--help")[0].splitlines():
            words = line.split()
            if words and words[0].startswith("--"):
                twin = "QWIN_" + words[0][2:].split("=")[0].upper().replace("-", "_")
                assert f"(Env:{twin})" in line, line


def test_results_that_cannot_be_written_are_a_failure():
    with open("/dev/full", "wb") as full:
        done = subprocess.run([BINARY, "doctor"], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1 and done.stderr.startswith(b"error: io: ")


# --- the store ------------------------------------------------------------------------------------------------------


def test_list_show_and_rm_of_a_local_model(home):
    assert as_json("list", "--json") == []
    assert qwin("list")[0] == ""
    folder = home / "models/someone/tiny"
    folder.mkdir(parents=True)
    shutil.copy(GGUF, folder / "model.gguf")
    (model,) = as_json("list", "--json")
    assert set(model) == {"name", "path", "bytes", "format"}
    assert model["bytes"] == GGUF.stat().st_size and model["format"] == "gguf"
    assert as_json("show", model["name"], "--json")["path"] == model["path"]
    assert as_json("rm", model["name"], "--json") == {"name": model["name"], "removed": True}
    assert as_json("list", "--json") == []
    refused("rm", model["name"], kind="invalid_argument")


def test_names_stay_in_the_store():
    for command in ("pull", "rm"):
        refused(command, "../x", kind="path")
    for command in ("show", "run", "serve", "tokenize", "logits"):
        refused(command, "nonsense", kind="invalid_argument")
    refused("pull", "nonsense", kind="invalid_argument")


def test_pull_without_a_network_fails_at_run_time():
    refused("pull", "hf:owner/name", "--retries", "0", kind="network", code=1,
            env={"HF_ENDPOINT": "http://127.0.0.1:9"})


@pytest.mark.parametrize("model", ALL, ids=lambda p: p.relative_to(TINY).parts[0])
def test_show_and_check_of_every_kind_of_model(model):
    facts = as_json("show", model, "--json")
    types = {"name": str, "path": str, "format": str, "architecture": str, "parameters": int, "tensor_bytes": int,
             "bits_per_weight": NUMBER, "tensor_types": dict, "num_layers": int, "hidden_size": int,
             "intermediate_size": int, "num_heads": int, "num_kv_heads": int, "head_dim": int, "vocab_size": int,
             "tie_word_embeddings": bool, "context": int, "layer_window": list, "rope": dict, "chat_template": bool,
             "eos_token_ids": list, "generation": dict}
    for key, kind in types.items():
        assert isinstance(facts[key], kind), key
    assert len(facts["layer_window"]) == facts["num_layers"]
    checked = as_json("check", model, "--json")
    assert checked["parameters"] == facts["parameters"] and checked["warnings"] == []
    assert qwin("check", model)[1] == ""


# --- run ------------------------------------------------------------------------------------------------------------

GREEDY = ("--temperature", "0", "--max-tokens", "6", "--json")


def test_run_gives_the_shape():
    result = as_json("run", MODEL, "hi", *GREEDY)
    assert list(result) == ["text", "token_ids", "prompt_tokens", "finish_reason", "timings", "attention"]
    assert set(result["timings"]) == {"ttft_ms", "prefill_tokens_per_second", "decode_tokens_per_second"}
    assert all(isinstance(v, NUMBER) for v in result["timings"].values())
    assert result["finish_reason"] == "length" and len(result["token_ids"]) == 6
    ids = as_json("tokenize", MODEL, "--chat", "--json", text='[{"role": "user", "content": "hi"}]')["token_ids"]
    assert result["prompt_tokens"] == len(ids)
    assert result["text"] == as_json("detokenize", MODEL, "--json", text=json.dumps(result))["text"]


def test_run_writes_the_answer_alone_to_stdout():
    text = as_json("run", MODEL, "hi", *GREEDY)["text"]
    out, err = qwin("run", MODEL, "hi", *GREEDY[:-1])
    assert out.rstrip("\n") == text.rstrip("\n") and "\r" not in err
    assert qwin("run", MODEL, "hi", *GREEDY, env={"QWIN_LOG": "warn"})[1] == ""


def test_run_reads_what_is_piped_in_and_the_system_message():
    assert (as_json("run", MODEL, *GREEDY, text="hi")["token_ids"] ==
            as_json("run", MODEL, "hi", *GREEDY, text="ignored")["token_ids"])
    with_system = as_json("run", MODEL, "hi", "--system", "x", *GREEDY)["prompt_tokens"]
    chat = '[{"role": "system", "content": "x"}, {"role": "user", "content": "hi"}]'
    assert with_system == len(as_json("tokenize", MODEL, "--chat", "--json", text=chat)["token_ids"])
    assert as_json("run", MODEL, "hi", "--raw", *GREEDY)["prompt_tokens"] == 2
    refused("run", MODEL, *GREEDY, kind="invalid_argument")
    refused("run", MODEL, *GREEDY, text=b"\xff", kind="invalid_argument")
    refused("run", MODEL, b"\xff".decode("utf-8", "surrogateescape"), kind="invalid_argument")


def test_logprobs_are_natural_logarithms_best_first():
    result = as_json("run", MODEL, "hi", "--raw", "--logprobs", "3", *GREEDY)
    prompt = as_json("tokenize", MODEL, "--json", text="hi")["token_ids"]
    line = json.dumps({"token_ids": prompt, "top": 3})
    logits = as_json("logits", MODEL, text=line)
    first = result["logprobs"][0]
    assert len(result["logprobs"]) == len(result["token_ids"])
    assert [t["token_id"] for t in first["top"]] == logits["top_ids"][-1]
    assert first["token_id"] == result["token_ids"][0] == logits["top_ids"][-1][0]
    for entry, logit in zip(first["top"], logits["top_logits"][-1], strict=True):
        assert math.isclose(entry["logprob"], logit - logits["lse"][-1], abs_tol=1e-4)
    assert as_json("run", MODEL, "hi", "--logprobs", "0", *GREEDY)["logprobs"][0]["top"] == []


def test_seeds_repeat_and_threads_and_kernels_change_nothing():
    hot = ("--temperature", "5", "--top-k", "0", "--top-p", "1", "--max-tokens", "12", "--json")
    ids = [as_json("run", MODEL, "hi", *hot, "--seed", seed)["token_ids"] for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]
    greedy = as_json("run", MODEL, "hi", *GREEDY)["token_ids"]
    assert as_json("run", MODEL, "hi", *GREEDY, "--threads", "1")["token_ids"] == greedy
    for isa in ("reference", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "amx"):
        assert as_json("run", MODEL, "hi", *GREEDY, env={"QWIN_CPU_ISA": isa})["token_ids"] == greedy
    refused("run", MODEL, "hi", env={"QWIN_CPU_ISA": "best"}, kind="invalid_argument")
    refused("doctor", env={"QWIN_CPU_ISA": "best"}, kind="invalid_argument")


def test_the_answer_ends_before_a_stop_string():
    text = as_json("run", MODEL, "abc", "--raw", *GREEDY)["text"]
    for stop in {text[2:4], text[-1]}:
        result = as_json("run", MODEL, "abc", "--raw", *GREEDY, "--stop", stop)
        assert result["finish_reason"] == "stop" and result["text"] == text[:text.index(stop)]
        out, _ = qwin("run", MODEL, "abc", "--raw", *GREEDY[:-1], "--stop", stop)
        assert stop not in out.rstrip("\n")


def test_a_full_context_ends_with_length_and_a_window_goes_on():
    arguments = ("run", MODEL, "hi", "--raw", "--ignore-eos", "--temperature", "0", "--max-tokens", "200", "--json")
    out, err = qwin(*arguments, "--ctx", "20")
    result = json.loads(out)
    assert result["finish_reason"] == "length" and result["prompt_tokens"] + len(result["token_ids"]) == 20
    assert "the context of 20 tokens is full" in err
    assert len(as_json(*arguments, "--window", "16", "--sinks", "4")["token_ids"]) == 200
    long = ("run", MODEL, "hi " * 100, "--raw", *GREEDY)
    refused(*long, kind="context_length_exceeded")
    assert as_json(*long, "--window", "16", "--sinks", "4")["prompt_tokens"] > 128
    assert as_json(*long, "--overflow", "window")["attention"]["type"] == "sliding_window"


def test_the_plan_of_attention_is_shown():
    arguments = ("run", MODEL, "hi", "--raw", *GREEDY)
    assert as_json(*arguments)["attention"] == {"type": "full"} == as_json(*arguments, "--window", "0")["attention"]
    assert as_json(*arguments, "--attention", "hybrid")["attention"] == {  # as documented
        "type": "hybrid", "window": 1024, "num_sink_tokens": 64, "memory_top_k": 384, "hybrid_from": 8192}
    plan = as_json(*arguments, "--attention", "hybrid", "--window", "64", "--memory-top-k", "8", "--hybrid-from", "64")
    assert plan["attention"] == {
        "type": "hybrid", "window": 64, "num_sink_tokens": 64, "memory_top_k": 8, "hybrid_from": 64}


def test_keys_and_values_may_lie_on_a_disk(tmp_path):
    disk = ("--kv-memory", "1", "--kv-dir", Path(BINARY).parent)  # not tmp_path, which may lie in memory
    arguments = ("run", MODEL, "hi " * 30, "--raw", *GREEDY)
    out, err = qwin(*arguments, *disk)
    assert "in memory" in err and "on disk" in err
    assert json.loads(out)["token_ids"] == as_json(*arguments)["token_ids"]
    assert refused(*arguments, "--kv-dir", tmp_path / "nowhere", kind="io")[-1].count("nowhere")
    document = tmp_path / "text.txt"
    document.write_text(TEXT)
    assert qwin("summarize", document, *ASK, *disk)[0] == qwin("summarize", document, *ASK, "--no-journal")[0]


@pytest.mark.parametrize("flags", [
    ("--max-tokens", "0"), ("--max-tokens", "-1"), ("--temperature", "-1"), ("--temperature", "nan"), ("--top-p", "0"),
    ("--top-k", "-2"), ("--min-p", "2"), ("--repetition-penalty", "0"), ("--seed", "-1"),
    ("--seed", "18446744073709551616"), ("--stop", ""), ("--logprobs", "21"), ("--threads", "-1"),
    ("--threads", "100000"), ("--ctx", "-1"), ("--ctx", "129"), ("--ctx", "1000000000"), ("--window", "-1"),
    ("--sinks", "-1"), ("--attention", "sparse"), ("--memory-top-k", "-1"), ("--hybrid-from", "-1"), ("--overflow", "cut"),
    ("--attention", "hybrid", "--window", "0"), ("--attention", "sliding_window", "--window", "0"), ("--kv-type", "q4")])
def test_flags_out_of_range_are_refused_before_loading(flags):
    assert len(refused("run", MODEL, "hi", *flags, kind="invalid_argument")) == 1


def test_environment_twins_act_like_flags():
    env = {"QWIN_MAX_TOKENS": "6", "QWIN_TEMPERATURE": "0", "QWIN_RAW": "1", "QWIN_LOGPROBS": "2", "QWIN_JSON": "true",
           "QWIN_CTX": "64", "QWIN_KV_TYPE": "f32", "QWIN_THREADS": "1", "QWIN_STOP": "zzz"}
    out, err = qwin("run", MODEL, "hi", env=env)
    result = json.loads(out)
    assert result["prompt_tokens"] == 2 and len(result["token_ids"]) == 6 and len(result["logprobs"][0]["top"]) == 2
    assert "context 64 of 128" in err and "KV f32" in err and "1 thread," in err
    assert qwin("run", MODEL, "hi", env={**env, "QWIN_JSON": "0"})[0][0] != "{"
    refused("run", MODEL, "hi", env={"QWIN_THREADS": "x"}, kind="invalid_argument")


def test_a_model_too_big_for_the_memory_is_refused():
    limited = f"ulimit -v 100000; exec '{BINARY}' run '{MODEL}' hi --threads 1 --window 1000000 --kv-type f32"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    last = done.stderr.decode().splitlines()[-1]
    assert done.returncode == 1 and last.startswith("error: too_large: ") and done.stdout == b""
    assert " needs " in last and " bytes" in last and " available" in last


# --- tokens and logits ----------------------------------------------------------------------------------------------


def test_tokenize_and_detokenize():
    assert as_json("tokenize", MODEL, "--json", text="hi") == {"token_ids": [71, 72]}
    assert as_json("tokenize", MODEL, "--json", "--special", text="<|im_end|>") == {"token_ids": [302]}
    assert len(as_json("tokenize", MODEL, "--json", text="<|im_end|>")["token_ids"]) > 1
    refused("tokenize", MODEL, text=b"\xff", kind="invalid_argument")
    assert as_json("detokenize", MODEL, "--json", text='{"token_ids": [71, 72, 242]}') == {"text": "hi\ufffd"}
    for text in ("", "[1]", "{}", '{"token_ids": [-1]}', '{"token_ids": [1.5]}', '{"token_ids": [2147483648]}'):
        refused("detokenize", MODEL, text=text, kind="invalid_argument")


def test_logits_are_one_object_a_line():
    out, _ = qwin("logits", MODEL, text='{"token_ids":[1,2,3],"top":2}\n\n{"token_ids":[5],"top":320}\n')
    first, second = map(json.loads, out.splitlines())
    assert list(first) == ["top_ids", "top_logits", "lse"]
    assert [len(first[k]) for k in first] == [3, 3, 3] and [len(row) for row in first["top_ids"]] == [2, 2, 2]
    row = second["top_logits"][0]
    assert sorted(second["top_ids"][0]) == list(range(320)) and row == sorted(row, reverse=True)
    assert math.isclose(second["lse"][0], math.log(sum(map(math.exp, row))), rel_tol=1e-6)


@pytest.mark.parametrize("line", [
    '{"token_ids":[],"top":1}', '{"token_ids":[1],"top":0}', '{"token_ids":[1],"top":-1}', '{"token_ids":[1],"top":321}',
    '{"token_ids":[320],"top":1}', '{"token_ids":[-1],"top":1}', '{"token_ids":["1"],"top":1}', '{"token_ids":[1]}',
    '{"token_ids":[1],"top":1.5}', '{"token_ids":[99999999999999999999],"top":1}', "[]", "nonsense", "[" * 100000])
def test_logits_refuses_other_lines(line):
    refused("logits", MODEL, text=line, kind="invalid_argument")


# --- eval, check, doctor --------------------------------------------------------------------------------------------


def test_eval_perplexity(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("some words to predict " * 20)  # longer than the context
    result = as_json("eval", MODEL, "--perplexity", text, "--json")
    assert result["perplexity"] > 1 and result["tokens"] > 128
    refused("eval", MODEL, kind="invalid_argument")
    text.write_bytes(b"\xff\xff\xff")
    refused("eval", MODEL, "--perplexity", text, kind="invalid_argument")
    for path in ("/nonexistent", tmp_path):
        refused("eval", MODEL, "--perplexity", path, kind="io")
    refused("eval", MODEL, "--kld", "/nonexistent", kind="io")


def test_check_tells_the_class_in_one_line(tmp_path):
    whole = GGUF.read_bytes()
    bad = {"bad_magic": b"GGML" + whole[4:], "bad_version": whole[:4] + b"\x09\0\0\0" + whole[8:],
           "too_large": whole[:8] + b"\xff" * 8 + whole[16:], "out_of_file": whole[:-1]}
    for kind, content in bad.items():
        path = tmp_path / kind
        path.write_bytes(content)
        assert len(refused("check", path, kind=kind)) == 1
        refused("run", path, "hi", kind=kind)
    (tmp_path / "empty").touch()
    for path in (tmp_path / "empty", tmp_path, "/dev/zero", "/nonexistent"):
        assert len(refused("check", path, kind="io")) == 1
    refused("check", GGUF, "--sha256", "0" * 64, kind="checksum")


def test_a_tensor_in_two_shards_is_refused_whichever_comes_first(tmp_path):
    names = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2)]
    for i, (source, target) in enumerate((names, names[::-1])):
        model = shutil.copytree(TINY / "qwen2_sharded_f16", tmp_path / str(i))
        shutil.copy(model / source, model / target)
        refused("check", model, kind="missing_tensor")


def test_doctor_tells_the_machine():
    result = as_json("doctor", "--json")
    types = {"cpu": str, "isa": str, "isa_available": str, "cores": list, "threads": int, "huge_pages": str,
             "memory_bytes": int, "memory_available_bytes": int, "gpu": type(None), "advice": list,
             "hyper_threads": int, "cpu_quota": (type(None), float), "numa_nodes": list, "huge_page_test": dict}
    assert set(result) == set(types)
    assert all(isinstance(result[key], kind) for key, kind in types.items())
    assert as_json("doctor", "--json", env={"QWIN_CPU_ISA": "reference"})["isa"] == "reference"
    test = result["huge_page_test"]
    assert 0 <= test["got_bytes"] <= test["asked_bytes"]
    if result["huge_pages"] == "never":
        assert test["got_bytes"] == 0 and any("2 MiB pages are off" in line for line in result["advice"])
    assert {cpu for node in result["numa_nodes"] for cpu in node["cpus"]} <= os.sched_getaffinity(0)


def test_doctor_counts_only_the_processors_it_may_use():
    (one, *_) = sorted(os.sched_getaffinity(0))
    result = as_json("doctor", "--json", preexec_fn=lambda: os.sched_setaffinity(0, {one}))
    assert result["cores"] == [one] and result["threads"] == 1


# --- bench ----------------------------------------------------------------------------------------------------------

BENCH = ("bench", MODEL, "-p", "5,20", "-n", "2", "-d", "0,9", "-b", "1,3", "--threads", "1", "--seed", "3")


def test_bench_reports_the_limits_and_every_test():
    report = as_json(*BENCH, "--json")
    assert set(report["machine"]) == {"cpu", "isa", "threads"} and report["machine"]["threads"] == 1
    assert set(report["limits"]) == {"int8_gmacs", "bf16_gmacs", "read_gb_s"}
    assert all(value > 0 for value in report["limits"].values())
    keys = ("test", "prompt", "depth", "batch")
    assert [tuple(r[k] for k in keys) for r in report["results"]] == [
        ("prefill", 5, 0, 1), ("prefill", 20, 0, 1), ("prefill", 5, 9, 1), ("prefill", 20, 9, 1),
        ("decode", 0, 0, 1), ("decode", 0, 0, 3), ("decode", 0, 9, 1), ("decode", 0, 9, 3)]
    for result in report["results"]:
        for key in ("tokens_per_second", "spread", "gb_s", "gmacs", "limit_share"):
            assert isinstance(result[key], NUMBER) and math.isfinite(result[key]) and result[key] >= 0


def test_bench_prints_a_table_and_its_flags_have_twins():
    out, err = qwin(*BENCH)
    assert [line.split()[0] for line in out.splitlines() if line] == [
        "machine", "limits", "test", "prefill", "prefill", "prefill", "prefill", "decode", "decode", "decode", "decode"]
    assert "\r" not in err
    report = as_json("bench", MODEL, "--json", env={"QWIN_PROMPT": "7", "QWIN_DEPTH": "0", "QWIN_BATCH": "1,2",
                                                   "QWIN_NEW_TOKENS": "1", "QWIN_ROUNDS": "3", "QWIN_THREADS": "1"})
    assert [(r["prompt"], r["batch"]) for r in report["results"]] == [(7, 1), (0, 1), (0, 2)]


def test_roofline_needs_no_model():
    report = as_json("bench", "--roofline", "--json", "--threads", "1")
    assert report["results"] == [] and report["limits"]["int8_gmacs"] > 0


def test_bench_of_the_tokenizer_reads_each_text(tmp_path):
    texts = [tmp_path / "a.txt", tmp_path / "b.txt"]
    texts[0].write_text("The keys, the file. " * 50)
    texts[1].write_text("\u4f60\u597d " * 50)
    report = as_json("bench", MODEL, "--tokenizer", ",".join(map(str, texts)), "--json")
    assert report["results"] == [] and [t["file"] for t in report["tokenizer"]] == ["a.txt", "b.txt"]
    for result, path in zip(report["tokenizer"], texts):
        ids = as_json("tokenize", MODEL, "--json", text=path.read_text())["token_ids"]
        assert result["bytes"] == path.stat().st_size and result["tokens"] == len(ids)
        assert result["encode_mb_s"] > 0 and result["pretokenize_mb_s"] > 0
    texts[0].write_bytes(b"\xff")
    refused("bench", MODEL, "--tokenizer", texts[0], kind="invalid_argument")


def test_bench_checks_the_memory_first():
    limit = 400 << 20
    lines = refused("bench", "--roofline", "--threads", "1", kind="too_large", code=1,
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
    assert str(512 << 20) in lines[-1]


def test_bench_refuses_what_it_cannot_measure():
    for arguments in (["bench"], ["bench", MODEL, "--roofline"], ["bench", MODEL, "--rounds", "2"],
                      ["bench", MODEL, "-b", "0"], ["bench", MODEL, "-p", "x"], ["bench", MODEL],
                      ["bench", MODEL, "-p", "8", "-d", "0", "--ctx", "9"],
                      ["bench", MODEL, "-p", "8", "-d", "0", "-n", "1", "-b", "999"]):
        refused(*arguments, kind="invalid_argument")


def test_what_may_be_given_several_times_takes_one_value_each():
    """The prompt may follow it."""
    answer = as_json("run", MODEL, "--raw", "--max-tokens", 2, "--stop", "xyz", "--stop", "zyx", "abc", "--json")
    assert answer == as_json("run", MODEL, "--raw", "abc", "--max-tokens", 2, "--json") | {"timings": answer["timings"]}


# --- global heads and tokens ------------------------------------------------------------------------------------------


def test_calibrate_heads_writes_what_global_heads_need(tmp_path):
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    config = json.loads((model / "config.json").read_text())
    config["max_position_embeddings"] = 2048
    (model / "config.json").write_text(json.dumps(config))
    text = tmp_path / "text.txt"
    text.write_text("".join(f"Sentence number {i} is here. " for i in range(200)))
    ask = ("run", model, "--raw", text.read_text()[:400], "--attention", "hybrid", "--window", 64, "--sinks", 0, "--hybrid-from", 0,
           "--max-tokens", 4, "--ignore-eos", "--json")
    refused(*ask, "--global-heads", 1, kind="invalid_argument")
    small = ("--tokens", 1024, "--window", 64, "--sinks", 0, "--memory-top-k", 4)
    heads = as_json("calibrate-heads", model, text, *small, "--json")
    assert heads["path"] == str(model / "qwin_heads.json") and heads["num_tokens"] == 1024
    assert len(heads["lost"]) == heads["num_layers"] * heads["num_kv_heads"] == 4
    assert all(0 <= lost < 1 for lost in heads["lost"]) and max(heads["lost"]) > 0
    assert as_json(*ask, "--global-heads", 4, "--memory-top-k", 0)["attention"]["global_heads"] == 4
    exact = as_json(*ask[:4], "--max-tokens", 4, "--ignore-eos", "--json")
    assert as_json(*ask, "--global-heads", 4)["token_ids"] == exact["token_ids"]
    marked = as_json(*ask, "--global-text", "number 1 is", "--memory-top-k", 0)["attention"]
    assert len(marked["global_spans"]) == 1
    refused(*ask, "--global-text", "not there", kind="invalid_argument")
    refused(*ask, "--global-messages", "answer", kind="invalid_argument")
    without = as_json("calibrate-heads", model, text, *small[:-1], 0, "--json")["lost"]  # no memory: more is lost
    assert all(a > b for a, b in zip(without, heads["lost"]))
    needed = "tokens; 6400 are needed, since window, sinks and memory show 3136"
    text.write_text("Two words")
    assert needed in refused("calibrate-heads", model, text, kind="invalid_argument")[-1]
    text.write_text("word " * 8000)
    few = refused("calibrate-heads", model, text, "--tokens", 1024, kind="invalid_argument")[-1]
    assert "at most 1024 tokens are to be read; 6400 are needed" in few


# --- documents ------------------------------------------------------------------------------------------------------

TEXT = "".join(f"Sentence number {i} is here. " for i in range(12))
ASK = ("--model", GGUF, "--raw", "--instruction", "Say what this says:", "--reduce-instruction", "All:", "--segment-tokens", 64, "--overlap", 8, "--max-tokens", 4, "--ignore-eos", "--temperature", 0)


def test_summarize_asks_every_segment(tmp_path, home):
    document = tmp_path / "text.md"
    document.write_text(TEXT)
    result = as_json("summarize", document, *ASK, "--json")
    assert set(result) == {"text", "method", "segments", "partial_answers", "finish_reason", "prompt_tokens", "cached_tokens",
                           "completion_tokens", "attention"}
    assert len(result["segments"]) == len(result["partial_answers"]) > 2
    assert all(segment["num_tokens"] <= 64 for segment in result["segments"])
    assert result["cached_tokens"] > 0  # what the prompts begin with
    out, err = qwin("summarize", "-", *ASK, text=TEXT)
    assert out == result["text"] + "\n" and "segments" in err
    assert list((home / "documents").iterdir()) == []  # nothing is left of what has ended
    assert as_json("summarize", document, *ASK, "--split") == {"segments": result["segments"]}
    document.write_text(TEXT[:40])
    one = as_json("summarize", document, *ASK, "--json", "--one-pass")
    assert one["method"] == "one_pass" and one["attention"]["type"] == "hybrid" and len(one["segments"]) == 1


def test_summarize_says_what_is_wrong(tmp_path):
    refused("summarize", kind="invalid_argument")
    refused("summarize", tmp_path / "absent", *ASK, kind="path")
    document = tmp_path / "text.txt"
    document.write_text(TEXT)
    refused("summarize", document, kind="invalid_argument")  # no model is there
    refused("summarize", document, *ASK, "--overlap", 64, kind="invalid_argument")
    document.write_bytes(b"\xc4\xe3\xba\xc3")
    refused("summarize", document, *ASK, kind="invalid_argument")
