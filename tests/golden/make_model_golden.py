#!/usr/bin/env python3
"""Writes gpt2_tiny.safetensors and llama_tiny.safetensors: what Hugging Face's models and PyTorch's AdamW compute.

Both are references that Trireme did not write: logits, loss, every gradient, and ten optimizer steps of a
small GPT-2 and a small Llama with grouped-query attention. Everything is computed in float64 (also where the
Llama of transformers asks for float32) and stored as float32, so the files are exact to the last bits of what
is compared with them. Tensor names are Trireme's; weights are [out, in].

The gradient of a key bias is zero (softmax does not see a constant added to all scores), so AdamW turns its
rounding error into steps of up to the learning rate: those biases must not be compared after a step. The same
model in float32 PyTorch comes within 2e-6 of the gradients and within 4e-6 of the weights after ten steps
(norm of the difference over the norm, the worst tensor).

  python3 -m venv --system-site-packages venv            # on Debian: python3-torch is found
  venv/bin/pip install 'transformers==4.36.2' safetensors
  venv/bin/python tests/golden/make_model_golden.py      # writes beside this script
"""
import contextlib
import copy
import pathlib
import types

import torch
import transformers
from safetensors.torch import save_file
from transformers.models.llama import modeling_llama

HIDDEN, HEADS, KV_HEADS, LAYERS, VOCAB, POSITIONS = 32, 4, 2, 2, 61, 16
BATCH, LENGTH, STEPS, IGNORED = 2, 13, 10, -1
MASK64 = (1 << 64) - 1


def hashed(name, index):
    """A fixed value in [-1, 1) for each (name, index): FNV-1a of the name, mixed with the index (splitmix64)."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK64
    h = (h + (index + 1) * 0x9E3779B97F4A7C15) & MASK64
    h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & MASK64
    return ((h ^ (h >> 31)) >> 40) / 2.0**23 - 1.0


def recipe(name, shape):
    """Initial values: gains near 1, everything else uniform with a standard deviation of 0.087."""
    count = torch.Size(shape).numel()
    values = torch.tensor([hashed(name, i) for i in range(count)], dtype=torch.float64).reshape(shape)
    values = 1 + 0.1 * values if name.endswith("gain") else 0.15 * values
    return values.to(torch.float32).double()  # representable in float32


def tokens_and_targets():
    ids = [int((hashed("tokens", i) + 1) / 2 * VOCAB) for i in range(BATCH * (LENGTH + 1))]
    rows = torch.tensor(ids).reshape(BATCH, LENGTH + 1)
    tokens, targets = rows[:, :-1].clone(), rows[:, 1:].clone()
    targets[1, 4] = IGNORED
    return tokens, targets


class Piece:
    """A Trireme tensor as a part of a Hugging Face one: optionally some columns, optionally transposed, plus `shift`."""

    def __init__(self, parameter, columns=None, transpose=False, shift=0.0):
        self.parameter, self.columns, self.transpose, self.shift = parameter, columns, transpose, shift

    def of(self, whole):
        part = whole if self.columns is None else whole[..., self.columns]
        return part.t() if self.transpose else part


def gpt2():
    config = transformers.GPT2Config(
        vocab_size=VOCAB, n_positions=POSITIONS, n_embd=HIDDEN, n_layer=LAYERS, n_head=HEADS,
        activation_function="gelu_new", layer_norm_epsilon=1e-5,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, tie_word_embeddings=True)
    model = transformers.GPT2LMHeadModel(config).double()
    body = model.transformer
    pieces = {"embedding.tokens.weight": Piece(body.wte.weight),
              "embedding.positions.weight": Piece(body.wpe.weight)}

    def norm(name, module):
        pieces[f"{name}.gain"], pieces[f"{name}.bias"] = Piece(module.weight), Piece(module.bias)

    def linear(name, module, columns=None):  # Conv1D holds [in, out]
        pieces[f"{name}.weight"] = Piece(module.weight, columns, transpose=True)
        pieces[f"{name}.bias"] = Piece(module.bias, columns)

    for i, block in enumerate(body.h):
        norm(f"layers.{i}.attention_norm", block.ln_1)
        for part, which in enumerate(("query", "key", "value")):
            columns = slice(part * HIDDEN, (part + 1) * HIDDEN)
            linear(f"layers.{i}.attention.{which}", block.attn.c_attn, columns)
        linear(f"layers.{i}.attention.output", block.attn.c_proj)
        norm(f"layers.{i}.ffn_norm", block.ln_2)
        linear(f"layers.{i}.ffn.up", block.mlp.c_fc)
        linear(f"layers.{i}.ffn.down", block.mlp.c_proj)
    norm("final_norm", body.ln_f)
    return model, body, pieces


def llama():
    config = transformers.LlamaConfig(
        vocab_size=VOCAB, max_position_embeddings=POSITIONS, hidden_size=HIDDEN, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, intermediate_size=48, rms_norm_eps=1e-5,
        rope_theta=10000.0, tie_word_embeddings=False)
    model = transformers.LlamaForCausalLM(config).double()
    body = model.model
    pieces = {"embedding.tokens.weight": Piece(body.embed_tokens.weight)}
    for i, block in enumerate(body.layers):
        attention, mlp, name = block.self_attn, block.mlp, f"layers.{i}"
        dim = HIDDEN // HEADS
        attention.rotary_emb.inv_freq = 10000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        attention.rotary_emb._set_cos_sin_cache(POSITIONS, "cpu", torch.float64)
        pieces[f"{name}.attention_norm.gain"] = Piece(block.input_layernorm.weight)
        for which, module in (("query", attention.q_proj), ("key", attention.k_proj),
                              ("value", attention.v_proj), ("output", attention.o_proj)):
            pieces[f"{name}.attention.{which}.weight"] = Piece(module.weight)
        pieces[f"{name}.ffn_norm.gain"] = Piece(block.post_attention_layernorm.weight)
        for which, module in (("gate", mlp.gate_proj), ("up", mlp.up_proj), ("down", mlp.down_proj)):
            pieces[f"{name}.ffn.{which}.weight"] = Piece(module.weight)
    pieces["final_norm.gain"] = Piece(body.norm.weight)
    pieces["head.weight"] = Piece(model.lm_head.weight)
    return model, body, pieces


@contextlib.contextmanager
def in_float64():
    """transformers' Llama casts its norms and softmax to torch.float32: lets that name mean float64 there."""
    wide = types.ModuleType("torch")
    wide.__dict__.update(torch.__dict__)
    wide.float32 = torch.float64
    modeling_llama.torch = wide
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
    modeling_llama.torch = torch


def logits_of_body(model, body, tokens):
    return model.lm_head(body(tokens)[0])


def make(build, path, wide=in_float64, logits_of=logits_of_body, script="make_model_golden.py"):
    with wide():
        model, out = compute(build, logits_of)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    save_file(out, path, metadata={"made_by": f"tests/golden/{script}, {versions}"})
    path.chmod(0o644)
    losses, norms = out["losses"], out["grad_norms"]
    print(path.name, f"{path.stat().st_size} bytes, losses {losses[0]:.6f} .. {losses[-1]:.6f}, "
          f"gradient norms {norms.min():.3f} .. {norms.max():.3f}")

    # As shipped and in float32 the model must say the same, or the float64 detour changed its meaning.
    plain = type(model)(model.config)
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        difference = (plain(out["tokens"].long()).logits - out["logits"]).abs().max().item()
    print(f"  the unchanged float32 model differs by {difference:.1e} in its logits")
    assert difference < 1e-5


def compute(build, logits_of):
    model, body, pieces = build()
    with torch.no_grad():
        for name, piece in pieces.items():
            part = piece.of(piece.parameter)
            part.copy_(recipe(name, part.shape) - piece.shift)
    parameters = list(model.parameters())
    assert {id(p) for p in parameters} == {id(piece.parameter) for piece in pieces.values()}
    assert sum(p.numel() for p in parameters) == sum(p.of(p.parameter).numel() for p in pieces.values())
    initial = copy.deepcopy(model.state_dict())
    tokens, targets = tokens_and_targets()
    out = {"tokens": tokens.int(), "targets": targets.int()}

    def store(prefix, of):
        for name, piece in pieces.items():
            values = piece.of(of(piece.parameter).detach()) + (0 if prefix == "grad" else piece.shift)
            out[f"{prefix}/{name}"] = values.to(torch.float32).clone().contiguous()

    def forward():
        logits = logits_of(model, body, tokens)
        assert logits.dtype == torch.float64
        return logits, torch.nn.functional.cross_entropy(
            logits.reshape(-1, VOCAB), targets.reshape(-1), ignore_index=IGNORED)

    store("weight", lambda p: p)
    logits, loss = forward()
    loss.backward()
    store("grad", lambda p: p.grad)
    out["logits"], out["loss"] = logits.detach().to(torch.float32), loss.detach().to(torch.float32).reshape(1)

    optimizer = torch.optim.AdamW(
        [{"params": [p for p in parameters if p.dim() == 2], "weight_decay": 0.1},
         {"params": [p for p in parameters if p.dim() != 2], "weight_decay": 0.0}],
        lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    losses, norms = [], []
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        loss = forward()[1]
        loss.backward()
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, 1.0).item())
        optimizer.step()
        if step in (1, STEPS):
            store(f"after{step}", lambda p: p)
    out["losses"], out["grad_norms"] = (torch.tensor(x).to(torch.float32) for x in (losses, norms))
    model.load_state_dict(initial)
    return model, out


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    here = pathlib.Path(__file__).resolve().parent
    make(gpt2, here / "gpt2_tiny.safetensors")
    make(llama, here / "llama_tiny.safetensors")
