#!/usr/bin/env python3
"""Training steps of the models of training_step_bench by PyTorch: torch.compile, bf16 autocast over fp32 weights,
fused attention, fused AdamW, clipping. Prints and writes JSON: case, tokens a second, milliseconds a step. As there, the
device is waited for after every eighth step only. A case that does not fit says so; the others go on.

To be fair each model is measured with the attention that PyTorch chooses and with cuDNN's, and GPT-2 with its 50,257 words
and with 50,304: rows of logits of odd length are slow, and training_step_bench pads them.

  pytorch_step.py [--json FILE] [--only TEXT] [--seconds 1] [--budget N]

  --budget N    begins no case after N seconds; what is left says so
"""
import argparse
import contextlib
import json
import time

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn import functional as F


class Gpt2Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads = c["heads"]
        width = c["hidden"]
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, _):
        batch, length, width = x.shape
        q, k, v = (t.view(batch, length, self.heads, -1).transpose(1, 2)
                   for t in self.qkv(self.norm1(x)).split(width, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


def rotate(x, table):
    a, b = x.chunk(2, dim=-1)
    cos, sin = table
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)


class LlamaBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.kv_heads, self.dim = c["heads"], c["kv_heads"], c["hidden"] // c["heads"]
        width, kv_width = c["hidden"], self.kv_heads * self.dim
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
        self.qkv = nn.Linear(width, width + 2 * kv_width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * c["ffn"], bias=False)
        self.down = nn.Linear(c["ffn"], width, bias=False)

    def forward(self, x, table):
        batch, length, width = x.shape
        kv_width = self.kv_heads * self.dim
        q, k, v = (t.view(batch, length, -1, self.dim).transpose(1, 2)
                   for t in self.qkv(self.norm1(x)).split((width, kv_width, kv_width), dim=2))
        q, k = rotate(q, table), rotate(k, table)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.llama = c["family"] == "llama"
        width, length = c["hidden"], c["seq_len"]
        self.tokens = nn.Embedding(c["vocab"], width)
        if self.llama:
            dim = width // c["heads"]
            angles = torch.outer(torch.arange(length), 500000.0 ** (-torch.arange(0, dim, 2) / dim))
            self.register_buffer("cos", angles.cos(), persistent=False)
            self.register_buffer("sin", angles.sin(), persistent=False)
        else:
            self.positions = nn.Embedding(length, width)
        self.blocks = nn.ModuleList((LlamaBlock if self.llama else Gpt2Block)(c) for _ in range(c["layers"]))
        self.norm = nn.RMSNorm(width, eps=1e-5) if self.llama else nn.LayerNorm(width)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids, targets):
        x = self.tokens(ids)
        table = None
        if self.llama:
            table = (self.cos, self.sin)
        else:
            x = x + self.positions(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x, table)
        return self.head(x, targets)

    def head(self, x, targets):
        logits = F.linear(self.norm(x), self.tokens.weight)  # the head is tied in all three models
        return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), targets.view(-1))


MODELS = {
    "gpt2_124m_16x1024/bf16": dict(family="gpt2", layers=12, hidden=768, heads=12, vocab=50257, batch=16, seq_len=1024),
    "llama3_1b_4x2048/bf16": dict(family="llama", layers=16, hidden=2048, heads=32, kv_heads=8, ffn=8192,
                                  vocab=128256, batch=4, seq_len=2048),
    "gpt2_1.5b_4x1024/bf16": dict(family="gpt2", layers=48, hidden=1600, heads=25, vocab=50257, batch=4, seq_len=1024),
}


def cases():
    """Names and settings, what is expected to be fastest first: a time limit may end the others."""
    for name, model in MODELS.items():
        for vocab in (50304, 50257) if model["family"] == "gpt2" else (model["vocab"],):
            for attention in ("cudnn", "default"):
                yield f"{name}, vocabulary {vocab}, {attention} attention", dict(model, case=name, vocab=vocab, attention=attention)


def compiled_model(model, layers):
    """The model as one graph, or of very deep ones the head and the block, once for all blocks: the whole would take minutes."""
    if layers <= 24:
        return torch.compile(model)
    for block in model.blocks:
        block.compile()
    model.head = torch.compile(model.head)
    return model


def measure(c, seconds):
    attention = sdpa_kernel(SDPBackend.CUDNN_ATTENTION) if c["attention"] == "cudnn" else contextlib.nullcontext()
    with attention:
        return measure_steps(c, seconds)


def measure_steps(c, seconds):
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    model = Model(c).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    compiled = compiled_model(model, c["layers"])
    ids = torch.randint(50257, (c["batch"], c["seq_len"] + 1), device="cuda")
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()

    def step():
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = compiled(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    for _ in range(5):
        step()
    torch.cuda.synchronize()
    begin, steps, spent = time.perf_counter(), 0, 0
    while spent < seconds:
        for _ in range(8):
            loss = step()
        torch.cuda.synchronize()
        steps += 8
        spent = time.perf_counter() - begin
    if not torch.isfinite(loss):
        raise RuntimeError("the loss is not finite")
    return {"tokens_per_s": steps * c["batch"] * c["seq_len"] / spent, "ms": spent / steps * 1e3,
            "case": c["case"], "compiled": "whole" if compiled is not model else "blocks"}


def write(path, results):
    if path:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--budget", type=float, default=float("inf"))
    args = parser.parse_args()
    results = {"peer": f"PyTorch {torch.__version__}", "device": torch.cuda.get_device_name(), "cases": {}}
    begin = time.perf_counter()
    for name, case in cases():
        if args.only not in name:
            continue
        if time.perf_counter() - begin > args.budget:
            results["cases"][name] = {"error": f"not begun: {args.budget:.0f} s are over"}
            continue
        try:
            results["cases"][name] = measure(case, args.seconds)
        except RuntimeError as error:  # out of memory, or no kernel of cuDNN for these sizes
            results["cases"][name] = {"error": " ".join(str(error).split())[:300]}
        torch.compiler.reset()
        torch.cuda.empty_cache()
        print(name, json.dumps(results["cases"][name]), flush=True)
        write(args.json, results)  # after each: a time limit may end the next
    write(args.json, results)
    if not any("tokens_per_s" in result for result in results["cases"].values()):
        raise SystemExit("pytorch_step: no case could be measured")


if __name__ == "__main__":
    main()
