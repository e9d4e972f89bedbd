# SPDX-License-Identifier: Apache-2.0
"""A Qwen2 or Qwen3 model in torch whose codes are fixed and whose norms, biases and, if asked, scales learn.

Matrices in bfloat16, all else in float32. A learning value is kept as what the file's is multiplied by (scales, norms) or
what is added to it (biases), in parts of its own size, so that one learning rate serves all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qwin.repair.model_file import SPAN, QuantizedFile, rounded_scales


class _ScaledProduct(torch.autograd.Function):
    """y [tokens, rows] = x [tokens, columns] (W times a factor a span)^T; W is made anew for the way back, not kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, base: Tensor, factors: Tensor) -> Tensor:
        ctx.save_for_backward(x, base, factors)
        return x @ _scaled(base, factors).t()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor]:
        x, base, factors = ctx.saved_tensors
        grad_x = grad @ _scaled(base, factors)
        products = (grad.t() @ x).mul_(base)
        return grad_x, None, products.view(*factors.shape, SPAN).sum(-1, dtype=torch.float32)


def _scaled(base: Tensor, factors: Tensor) -> Tensor:
    """base [rows, columns] bfloat16, factors [rows, columns / 128] float32."""
    out = torch.empty_like(base)
    torch.mul(base.view(*factors.shape, SPAN), factors[:, :, None], out=out.view(*factors.shape, SPAN))
    return out


class Linear(nn.Module):
    def __init__(self, file: QuantizedFile, name: str, scales_learn: bool) -> None:
        super().__init__()
        self.name = f"{name}.weight"
        self.bias_name = f"{name}.bias" if file.has(f"{name}.bias") else None
        self.base = torch.from_numpy(file.floats(self.name)).bfloat16()
        rows, columns = self.base.shape
        self.factors = nn.Parameter(torch.ones(rows, columns // SPAN)) if scales_learn and file.is_spans(self.name) else None
        if self.bias_name is not None:
            self.file_bias = torch.from_numpy(file.floats(self.bias_name))
            self.bias_unit = self.file_bias.square().mean().sqrt().clamp_min(1e-6)
            self.added = nn.Parameter(torch.zeros(rows))

    def bias(self) -> Tensor:
        return self.file_bias + self.bias_unit * self.added

    def forward(self, x: Tensor) -> Tensor:
        x = x.bfloat16()
        y: Tensor = x @ self.base.t() if self.factors is None else _ScaledProduct.apply(x, self.base, self.factors)
        return y if self.bias_name is None else y.float() + self.bias()


class Norm(nn.Module):
    def __init__(self, file: QuantizedFile, name: str, eps: float) -> None:
        super().__init__()
        self.name, self.eps = f"{name}.weight", eps
        self.file_weight = torch.from_numpy(file.floats(self.name))
        self.factors = nn.Parameter(torch.ones_like(self.file_weight))

    def weight(self) -> Tensor:
        return self.file_weight * self.factors

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), (x.shape[-1],), self.weight(), self.eps)


class Layer(nn.Module):
    def __init__(self, file: QuantizedFile, index: int, scales_learn: bool) -> None:
        super().__init__()
        shape = self.shape = file.shape()
        prefix = f"model.layers.{index}."

        def norm(name: str) -> Norm:
            return Norm(file, prefix + name, shape.rms_norm_eps)

        self.input_layernorm, self.post_attention_layernorm = norm("input_layernorm"), norm("post_attention_layernorm")
        has_qk_norm = file.has(f"{prefix}self_attn.q_norm.weight")
        self.q_norm = norm("self_attn.q_norm") if has_qk_norm else None
        self.k_norm = norm("self_attn.k_norm") if has_qk_norm else None

        def linear(name: str) -> Linear:
            return Linear(file, f"{prefix}{name}_proj", scales_learn)

        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (linear(f"self_attn.{n}") for n in "qkvo")
        self.gate_proj, self.up_proj, self.down_proj = (linear(f"mlp.{n}") for n in ("gate", "up", "down"))

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """hidden [texts, tokens, hidden_size]"""
        hidden = hidden + self.attention(self.input_layernorm(hidden), cos, sin).float()
        x = self.post_attention_layernorm(hidden).bfloat16()
        inner = F.silu(self.gate_proj(x.flatten(0, 1))) * self.up_proj(x.flatten(0, 1))
        return hidden + self.down_proj(inner).view(hidden.shape).float()

    def attention(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        texts, tokens, _ = x.shape
        rows = x.flatten(0, 1).bfloat16()

        def heads(projection: Linear, norm: Norm | None) -> Tensor:
            y = projection(rows).view(texts, tokens, -1, self.shape.head_dim).float()
            return (y if norm is None else norm(y)).transpose(1, 2)

        q = rotated(heads(self.q_proj, self.q_norm), cos, sin)
        k = rotated(heads(self.k_proj, self.k_norm), cos, sin)
        v = heads(self.v_proj, None)
        q_per_kv = self.shape.num_heads // self.shape.num_kv_heads
        k, v = (t.repeat_interleave(q_per_kv, dim=1) for t in (k, v))
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(seen.transpose(1, 2).reshape(texts * tokens, -1)).view(texts, tokens, -1)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE in halves: x [texts, heads, tokens, head_dim], cos and sin [tokens, head_dim / 2]."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Network(nn.Module):
    """Raises ModelFileError for what the file lacks."""

    def __init__(self, file: QuantizedFile, scales_learn: bool = False) -> None:
        super().__init__()
        self.shape = file.shape()
        self.embedding = torch.from_numpy(file.floats("model.embed_tokens.weight")).bfloat16()
        tied = not file.has("lm_head.weight")
        self.head = self.embedding if tied else torch.from_numpy(file.floats("lm_head.weight")).bfloat16()
        self.layers = nn.ModuleList(Layer(file, i, scales_learn) for i in range(self.shape.num_layers))
        self.norm = Norm(file, "model.norm", self.shape.rms_norm_eps)

    def forward(self, token_ids: Tensor) -> Tensor:
        """Token ids [texts, tokens] -> hidden states after the last norm [texts, tokens, hidden_size]."""
        hidden = self.embedding[token_ids].float()
        cos, sin = self.angles(token_ids.shape[1])
        for layer in self.layers:
            hidden = layer(hidden, cos, sin)
        states: Tensor = self.norm(hidden)
        return states

    def angles(self, tokens: int) -> tuple[Tensor, Tensor]:
        half = self.shape.head_dim // 2
        frequencies = self.shape.rope_theta ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = torch.arange(tokens, dtype=torch.float64)[:, None] * frequencies
        return angles.cos().float(), angles.sin().float()

    def learned(self, file: QuantizedFile) -> tuple[dict[str, Any], dict[str, Any]]:
        """Scales of spans and float tensors, as QuantizedFile.write() takes them."""
        scales, floats = {}, {}
        for module in self.modules():
            if isinstance(module, Linear):
                if module.factors is not None:
                    wanted = file.spans(module.name).scales * module.factors.detach().numpy()
                    scales[module.name] = rounded_scales(np.maximum(wanted, 0), file.tensors[module.name].type)
                if module.bias_name is not None:
                    floats[module.bias_name] = module.bias().detach().numpy()
            elif isinstance(module, Norm):
                floats[module.name] = module.weight().detach().numpy()
        return scales, floats
