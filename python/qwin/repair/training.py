# SPDX-License-Identifier: Apache-2.0
"""Repair itself: norms and biases (and scales, if asked) follow the gradient of the KL divergence from the teacher, over all layers
at once. What is judged and kept is a running average over the steps: a piece of text says little about a single value, so each
step goes astray, but not always to the same side (Polyak averaging)."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qwin.errors import Error
from qwin.repair.lessons import Lessons
from qwin.repair.network import Network

CHUNK = 128  # positions whose logits are in memory at once


@dataclass(frozen=True)
class Settings:
    learning_rate: float = 1e-3
    epochs: int = 1
    pieces_per_step: int = 1
    held_out_share: float = 0.06
    steps_per_check: int = 40
    patience: int = 3  # checks without a gain before it stops
    average: float = 0.93  # what is left of the running average after a step
    seed: int = 1


def default_learning_rate(hidden_size: int) -> float:
    """.001 for the 0.5B (896 channels) and .0003 for the 1.5B (1,536), where .001 made held-out text 11 % worse."""
    return 1e-3 * min(1.0, (896 / hidden_size) ** 2)


class TeacherKl(torch.autograd.Function):
    """Sum over positions of KL from the teacher, over its most likely ids and one bucket for all others.

    The gradient is found with the logits, chunk by chunk: all logits of a text at once would need a gigabyte.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, head: Tensor, top_ids: Tensor, top_logprobs: Tensor) -> Tensor:
        """states [positions, hidden_size] float32, head [vocabulary, hidden_size] bfloat16, the others [positions, top]"""
        total = torch.zeros((), dtype=torch.float64)
        grad = torch.empty_like(states) if ctx.needs_input_grad[0] else None
        for begin in range(0, len(states), CHUNK):
            end = min(begin + CHUNK, len(states))
            x, ids, p_log = states[begin:end].bfloat16(), top_ids[begin:end], top_logprobs[begin:end]
            logits = (x @ head.t()).float()
            # bfloat16 rounds a product to 1 in 256: those that matter are done again.
            top = torch.einsum("ch,cth->ct", x.float(), head[ids].float())
            logits.scatter_(1, ids, top)
            q = logits.sub_(logits.logsumexp(-1, keepdim=True)).exp_()
            p, q_top = p_log.exp(), q.gather(1, ids)
            p_rest, q_rest = ((1 - t.sum(-1)).clamp_min(1e-7) for t in (p, q_top))
            total += (p * (p_log - q_top.log())).sum(dtype=torch.float64)
            total += (p_rest * (p_rest / q_rest).log()).sum(dtype=torch.float64)
            if grad is not None:
                q *= (1 - p_rest / q_rest)[:, None]
                q.scatter_(1, ids, q_top - p)
                grad[begin:end] = (q.bfloat16() @ head).float()
        if grad is not None:
            ctx.save_for_backward(grad)
        return total.float()

    @staticmethod
    def backward(ctx: Any, grad_total: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.saved_tensors[0] * grad_total, None, None, None


@dataclass
class State:
    """What a run that was stopped goes on with."""

    step: int = 0
    best_kl: float = math.inf
    best: dict[str, Tensor] = field(default_factory=dict)
    first_kl: float = math.inf
    checks_without_gain: int = 0
    seconds: float = 0.0
    average: dict[str, Tensor] = field(default_factory=dict)


class Training:
    def __init__(self, network: Network, lessons: Lessons, settings: Settings, checkpoint: Path) -> None:
        self.network, self.lessons, self.settings, self.checkpoint = network, lessons, settings, checkpoint
        held_out = max(2, round(settings.held_out_share * len(lessons.ids)))
        self.train_pieces, self.held_out = np.arange(len(lessons.ids) - held_out), np.arange(len(lessons.ids))[-held_out:]
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.parameters, lr=settings.learning_rate, betas=(0.9, 0.95))
        self.num_steps = settings.epochs * (len(self.train_pieces) // settings.pieces_per_step)
        self.state = State(average=copy.deepcopy(self._learning()))

    def run(self, report: Callable[[str], None]) -> State:
        """Trains to the end or until held-out text gains no more, and leaves the network as it was at its best."""
        self._resume(report)
        begun = time.monotonic() - self.state.seconds
        if self.state.step == 0:
            self.state.first_kl = self._check()
            self._keep(self.state.first_kl)
            report(f"before: KL {self.state.first_kl:.5f} on {self.held_out.size} held-out pieces; {self.num_steps} steps to go")
        losses: list[float] = []
        for pieces in self._batches():
            losses.append(self._step(pieces))
            self.state.step += 1
            if self.state.step % self.settings.steps_per_check == 0 or self.state.step == self.num_steps:
                kl = self._check()
                self.state.seconds = time.monotonic() - begun
                report(f"step {self.state.step} of {self.num_steps}: KL {np.mean(losses):.5f} in training, {kl:.5f} held out, "
                       f"{self.state.seconds:.0f} s")  # fmt: skip
                losses.clear()
                self._keep(kl)
                self._save()
                if self.state.checks_without_gain >= self.settings.patience:
                    report("held-out text gains no more")
                    break
        self._restore(self.state.best)
        return self.state

    def _batches(self) -> Iterator[np.ndarray[Any, Any]]:
        """The rest of all epochs' batches; the order depends on the seed alone."""
        size, step = self.settings.pieces_per_step, 0
        for epoch in range(self.settings.epochs):
            order = np.random.default_rng((self.settings.seed, epoch)).permutation(self.train_pieces)
            for begin in range(0, len(order) - size + 1, size):
                step += 1
                if step > self.state.step:
                    yield order[begin : begin + size]

    def _kl(self, pieces: np.ndarray[Any, Any]) -> Tensor:
        """Mean over the pieces' positions."""
        ids = torch.from_numpy(self.lessons.ids[pieces]).long()
        states = self.network(ids).flatten(0, 1)
        top_ids = torch.from_numpy(self.lessons.top_ids[pieces]).long().flatten(0, 1)
        top_logprobs = torch.from_numpy(self.lessons.top_logprobs[pieces]).flatten(0, 1)
        total: Tensor = TeacherKl.apply(states, self.network.head, top_ids, top_logprobs)
        return total / len(states)

    def _step(self, pieces: np.ndarray[Any, Any]) -> float:
        done = self.state.step / self.num_steps
        warm = min(1.0, (self.state.step + 1) / 10)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * warm * (0.05 + 0.95 * (1 + math.cos(math.pi * done)) / 2)
        self.optimizer.zero_grad(set_to_none=True)
        kl = self._kl(pieces)
        torch.autograd.backward(kl)
        value = float(kl.detach())
        if not math.isfinite(value):
            raise Error(f"KL is {value} at step {self.state.step}; use a smaller --learning-rate")
        self.optimizer.step()
        kept = min(self.settings.average, (self.state.step + 1) / (self.state.step + 4))  # soon forgets where it began
        for name, now in self._learning().items():
            self.state.average[name].mul_(kept).add_(now, alpha=1 - kept)
        return value

    def _check(self) -> float:
        """Of the average."""
        now = copy.deepcopy(self._learning())
        self._restore(self.state.average)
        with torch.no_grad():
            kl = float(np.mean([float(self._kl(self.held_out[i : i + 1])) for i in range(self.held_out.size)]))
        self._restore(now)
        return kl

    def _keep(self, kl: float) -> None:
        if kl < self.state.best_kl:
            self.state.best_kl, self.state.checks_without_gain = kl, 0
            self.state.best = copy.deepcopy(self.state.average)
        else:
            self.state.checks_without_gain += 1

    def _learning(self) -> dict[str, Tensor]:
        return {name: p.detach() for name, p in self.network.named_parameters() if p.requires_grad}

    def _restore(self, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, p in self.network.named_parameters():
                if name in values:
                    p.copy_(values[name])

    def _save(self) -> None:
        partial = self.checkpoint.with_suffix(".part")
        torch.save({"settings": self.settings.__dict__, "pieces": len(self.lessons.ids), "state": self.state.__dict__,
                    "now": self._learning(), "optimizer": self.optimizer.state_dict()}, partial)  # fmt: skip
        partial.replace(self.checkpoint)

    def _resume(self, report: Callable[[str], None]) -> None:
        if not self.checkpoint.exists():
            return
        saved = torch.load(self.checkpoint, weights_only=True)
        if saved["settings"] != self.settings.__dict__ or saved["pieces"] != len(self.lessons.ids):
            raise Error(f"{self.checkpoint} is of a run with other settings; delete it, or give those again")
        self.state = State(**saved["state"])
        self._restore(saved["now"])
        self.optimizer.load_state_dict(saved["optimizer"])
        report(f"going on after step {self.state.step}")
