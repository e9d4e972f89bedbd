# SPDX-License-Identifier: Apache-2.0
"""qwin.repair: files of qwin's own types read and rewritten, gradients, and a quantized model that comes nearer to its base."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import qwin
from qwin.repair import model_file
from qwin.repair.model_file import QuantizedFile, rounded_scales

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("QWIN_BINARY", str(ROOT / "build/release/qwin"))
DOWN = "model.layers.1.mlp.down_proj.weight"


@pytest.fixture(scope="module", params=["q3", "q4", "q5", "q8"])
def quantized(request, span_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("quantized") / f"{request.param}.gguf"
    chosen = ("--use-plan", plan_of_type(span_model, path, request.param.upper())) if request.param in ("q3", "q5") else ("--profile", request.param)
    subprocess.run([BINARY, "quantize", span_model, path, *chosen], check=True, capture_output=True)
    return path


def plan_of_type(span_model, path, kind):
    """No profile has this type: a plan that was changed to nothing else."""
    plan, text = path.with_name("plan.json"), path.with_name("text.txt")
    text.write_text("The answer is in the file: the weights make the answer, and the keys are in the pages. " * 20)
    command = [BINARY, "quantize", span_model, path, "--plan", "--plan-text", text, "--save-plan", plan]
    subprocess.run(command, check=True, capture_output=True)
    plan.write_text(re.sub(r'("tensor": "[^"]+",\s+"type": )"Q\d"', rf'\1"{kind}"', plan.read_text()))
    return plan


def source_weights(span_model, name):
    data = (span_model / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    entry = json.loads(data[8 : 8 + length])[name]
    begin, end = entry["data_offsets"]
    return np.frombuffer(data[8 + length + begin : 8 + length + end], "<f4").reshape(entry["shape"])


@pytest.mark.parametrize("name", [DOWN, "model.embed_tokens.weight", "model.norm.weight", "model.layers.0.self_attn.k_proj.bias"])
def test_weights_are_read_as_they_were_written(quantized, span_model, name):
    file = QuantizedFile(quantized)
    source, read = source_weights(span_model, name), file.floats(name)
    assert read.shape == source.shape
    error = np.square(read - source).sum() / np.square(source).sum()
    assert error < {model_file.Q3: 3e-2, model_file.Q4: 1e-2, model_file.Q5: 3e-3}.get(file.tensors[name].type, 1e-3)
    assert error > 0 or source.ndim == 1


def test_likely_rows_come_with_their_residual(span_model, tmp_path):
    name, plan, text, out = "model.embed_tokens.weight", tmp_path / "plan.json", tmp_path / "text.txt", tmp_path / "out.gguf"
    text.write_text("The answer is in the file: the weights make the answer, and the keys are in the pages. " * 40)
    command = [BINARY, "quantize", span_model, out, "--calibrate", text]
    subprocess.run([*command, "--plan", "--save-plan", plan], check=True, capture_output=True)
    document = json.loads(plan.read_text())
    (head,) = (t for t in document["tensors"] if t["tensor"] == name)
    head |= next({k: o[k] for k in ("type", "residual_rows")} for o in head["options"] if o.get("residual_rows", 0) == 80)
    plan.write_text(json.dumps(document))
    report = subprocess.run([*command, "--use-plan", plan, "--json"], check=True, capture_output=True, text=True).stdout
    assert "model.embed_tokens.residual.weight" in {t["name"] for t in json.loads(report)["tensors"]}
    file = QuantizedFile(out)
    rows = file.residual_rows[name]
    assert len(rows) == 80 and (np.diff(rows) > 0).all()
    errors = np.square(file.floats(name) - source_weights(span_model, name)).sum(1) / np.square(source_weights(span_model, name)).sum(1)
    assert 10 * errors[rows].mean() < np.delete(errors, rows).mean()
    with qwin.Engine(out, num_threads=1) as engine:
        assert engine.generate("The answer is", max_tokens=4)


def test_the_same_values_give_the_same_bytes(quantized, tmp_path):
    file = QuantizedFile(quantized)
    scales = {name: file.spans(name).scales for name in file.tensors if file.is_spans(name)}
    floats = {name: file.floats(name) for name in file.tensors if not file.is_spans(name)}
    assert scales and floats
    for name, values in scales.items():
        assert (rounded_scales(values, file.tensors[name].type) == values).all()
    file.write(tmp_path / "copy.gguf", scales, floats)
    assert (tmp_path / "copy.gguf").read_bytes() == quantized.read_bytes()


def test_other_scales_and_norms_are_what_the_engine_reads(quantized, tmp_path):
    file, out = QuantizedFile(quantized), tmp_path / "out.gguf"
    scale, norm = {DOWN: 1.5 * file.spans(DOWN).scales}, {"model.norm.weight": 2 * file.floats("model.norm.weight")}
    file.write(out, scale, {})
    again = QuantizedFile(out)
    assert np.allclose(again.floats(DOWN), 1.5 * file.floats(DOWN), rtol=5e-3, atol=0)
    file.write(out, {}, norm)
    with qwin.Engine(quantized, num_threads=1) as before, qwin.Engine(out, num_threads=1) as after:
        ids = before.tokenize("The answer is in the file")
        assert np.allclose(after.prompt_logits(ids), 2 * before.prompt_logits(ids), rtol=0.05, atol=0.1)


def test_files_that_cannot_be_repaired_are_refused(tmp_path, quantized):
    not_own = ROOT / "tests/testdata/tiny/qwen2_tied_gguf_q8_0/model.gguf"
    with pytest.raises(qwin.ModelFileError, match="qwin quantize"):
        QuantizedFile(not_own)
    broken = tmp_path / "broken.gguf"
    for length in (0, 3, 30, 2000, quantized.stat().st_size - 10):
        broken.write_bytes(quantized.read_bytes()[:length])
        with pytest.raises(qwin.ModelFileError):
            QuantizedFile(broken)
    with pytest.raises(qwin.ModelFileError):
        QuantizedFile(tmp_path / "absent")


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.mark.long
def test_the_gradient_of_a_product_is_that_of_its_formula(torch):
    from qwin.repair.network import _ScaledProduct

    torch.manual_seed(1)
    x, base = torch.randn(20, 256).bfloat16(), torch.randn(48, 256).bfloat16()
    factors = (1 + 0.1 * torch.randn(48, 2)).requires_grad_()
    xs = x.clone().requires_grad_()
    weights = torch.randn(20, 48)
    (_ScaledProduct.apply(xs, base, factors).float() * weights).sum().backward()
    plain_x, plain = x.float().requires_grad_(), factors.detach().clone().requires_grad_()
    matrix = (base.float().view(48, 2, 128) * plain[:, :, None]).view(48, 256)
    ((plain_x @ matrix.t()) * weights).sum().backward()
    assert torch.allclose(factors.grad, plain.grad, atol=0.02 * plain.grad.abs().max())
    assert torch.allclose(xs.grad.float(), plain_x.grad, atol=0.02 * plain_x.grad.abs().max())


@pytest.mark.long
def test_the_gradient_of_kl_is_that_of_its_formula(torch):
    from qwin.repair.training import TeacherKl

    torch.manual_seed(2)
    head = torch.randn(500, 64).bfloat16()
    teacher = torch.randn(200, 500).mul(3).log_softmax(-1)
    top_logprobs, top_ids = teacher.topk(64, dim=-1)
    states = torch.randn(200, 64, requires_grad=True)
    total = TeacherKl.apply(states, head, top_ids, top_logprobs)
    total.backward()
    plain = states.detach().bfloat16().float().requires_grad_()
    q = (plain @ head.float().t()).log_softmax(-1)
    p_rest, q_rest = 1 - top_logprobs.exp().sum(-1), 1 - q.gather(1, top_ids).exp().sum(-1)
    expected = (top_logprobs.exp() * (top_logprobs - q.gather(1, top_ids))).sum() + (p_rest * (p_rest / q_rest).log()).sum()
    expected.backward()
    assert torch.allclose(total, expected, rtol=1e-3)
    assert torch.allclose(states.grad, plain.grad, atol=0.02 * plain.grad.abs().max())


@pytest.fixture(scope="module")
def lessons(torch, span_model):
    from qwin.repair.lessons import ask_teacher

    ids = np.random.default_rng(5).integers(0, 300, (40, 48)).astype(np.int32)
    with qwin.Engine(span_model, num_threads=1) as engine:
        return ask_teacher(engine, ids, 320, lambda *_: None)


def training(torch, quantized, lessons, folder, scales_learn=True):
    from qwin.repair.network import Network
    from qwin.repair.training import Settings, Training

    torch.set_num_threads(1)
    settings = Settings(learning_rate=3e-3, epochs=3, pieces_per_step=2, held_out_share=0.2, steps_per_check=6, patience=9)
    return Training(Network(QuantizedFile(quantized), scales_learn), lessons, settings, folder / "checkpoint.pt")


@pytest.fixture
def disturbed(quantized, tmp_path):
    """A quantized model whose scales are wrong by some 5 %."""
    if "q8" in quantized.name:
        pytest.skip("one type is enough")
    file, random = QuantizedFile(quantized), np.random.default_rng(7)
    scales = {name: file.spans(name).scales for name in file.tensors if "layers" in name and file.is_spans(name)}
    path = tmp_path / "disturbed.gguf"
    file.write(path, {name: s * random.normal(1, 0.05, s.shape).astype("f4") for name, s in scales.items()}, {})
    return path


def test_wider_models_learn_in_smaller_steps(torch):
    from qwin.repair.training import default_learning_rate

    assert default_learning_rate(64) == default_learning_rate(896) == 1e-3
    assert default_learning_rate(1536) == pytest.approx(3.4e-4, rel=0.01)


@pytest.mark.long
def test_repair_closes_part_of_the_gap_and_a_stopped_run_goes_on(torch, disturbed, lessons, tmp_path):
    (tmp_path / "whole").mkdir(), (tmp_path / "stopped").mkdir()
    whole = training(torch, disturbed, lessons, tmp_path / "whole")
    state = whole.run(lambda text: None)
    assert state.best_kl < 0.95 * state.first_kl
    file, out = QuantizedFile(disturbed), tmp_path / "out.gguf"
    file.write(out, *whole.network.learned(file))
    assert out.stat().st_size == disturbed.stat().st_size
    again = training(torch, out, lessons, tmp_path)  # what the file holds is what was learned
    assert again._check() == pytest.approx(state.best_kl, rel=0.05)

    def stop(text):
        if text.startswith("step 12 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training(torch, disturbed, lessons, tmp_path / "stopped").run(stop)
    resumed = training(torch, disturbed, lessons, tmp_path / "stopped")
    lines = []
    assert resumed.run(lines.append).best_kl == pytest.approx(state.best_kl, rel=1e-3)
    assert lines[0].startswith("going on after step 6")


@pytest.mark.long
def test_without_scales_only_norms_and_biases_learn(torch, disturbed, lessons, tmp_path):
    repaired = training(torch, disturbed, lessons, tmp_path, scales_learn=False)
    state = repaired.run(lambda text: None)
    assert state.best_kl < state.first_kl
    scales, floats = repaired.network.learned(QuantizedFile(disturbed))
    assert not scales and all("norm" in name or name.endswith("bias") for name in floats)


@pytest.mark.long
def test_what_is_kept_is_an_average_over_the_steps(torch, disturbed, lessons, tmp_path):
    run = training(torch, disturbed, lessons, tmp_path)
    name, pieces = "layers.1.post_attention_layernorm.factors", run.train_pieces[:2]
    seen = []
    for _ in range(3):
        run._step(pieces)
        seen.append(run._learning()[name].clone())
        run.state.step += 1
    expected = torch.ones_like(seen[0])
    for i, now in enumerate(seen):
        kept = (i + 1) / (i + 4)
        expected = kept * expected + (1 - kept) * now
    assert torch.allclose(run.state.average[name], expected, atol=1e-6) and not torch.allclose(expected, seen[-1], atol=1e-6)
    run._check()
    assert torch.equal(run._learning()[name], seen[-1])


@pytest.mark.long
def test_the_command_repairs_in_place_and_names_what_is_wrong(torch, span_model, disturbed, tmp_path):
    def run(*arguments):
        environment = os.environ | {"PYTHONPATH": str(Path(qwin.__file__).parents[1])}
        command = [sys.executable, "-m", "qwin.repair", *map(str, arguments), "--threads", "1", "--piece", "32"]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    file = tmp_path / "model.gguf"
    file.write_bytes(disturbed.read_bytes())
    done = run(span_model, file, file, "--tokens", 1500)
    assert done.returncode == 0, done.stderr
    assert "KL on held-out text" in done.stderr and file.read_bytes() != disturbed.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"model.gguf", "disturbed.gguf"}
    done = run(span_model, ROOT / "tests/testdata/tiny/qwen2_tied_gguf_q8_0/model.gguf", tmp_path / "out.gguf")
    assert done.returncode == 1 and "not a file of `qwin quantize`" in done.stderr
    (tmp_path / "text.txt").write_text("too short")
    done = run(span_model, file, tmp_path / "out.gguf", "--tokens", 1, "--text", tmp_path / "text.txt")
    assert done.returncode == 2 and "give more text" in done.stderr
