#!/usr/bin/env python3
"""Writes qwen3_tiny, gemma2_tiny and mistral_tiny.safetensors, as make_model_golden.py does for older families.

These models came to transformers later than the release that the other script is for. Caps and windows are small, so
that they count in a small model.

  python3 -m venv venv && venv/bin/pip install torch transformers safetensors   # transformers 4.51 or later
  venv/bin/python tests/golden/make_family_golden.py                            # writes beside this script
"""
import contextlib
import pathlib
import types

import torch
import transformers
from transformers.models.gemma2 import modeling_gemma2
from transformers.models.mistral import modeling_mistral
from transformers.models.qwen3 import modeling_qwen3

from make_model_golden import HEADS, HIDDEN, KV_HEADS, LAYERS, POSITIONS, VOCAB, Piece, make

HEAD_DIM = 12
MODULES = modeling_qwen3, modeling_gemma2, modeling_mistral
SIZES = dict(vocab_size=VOCAB, max_position_embeddings=POSITIONS, hidden_size=HIDDEN, num_hidden_layers=LAYERS,
             num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, head_dim=HEAD_DIM, intermediate_size=48,
             rms_norm_eps=1e-6, attn_implementation="eager", use_cache=False, pad_token_id=None, bos_token_id=None,
             eos_token_id=None)


def pieces_of(model, norms, theta, shift=0.0):
    body = model.model
    dims = torch.arange(0, HEAD_DIM, 2, dtype=torch.float64)
    body.rotary_emb.inv_freq = theta ** (-dims / HEAD_DIM)
    pieces = {"embedding.tokens.weight": Piece(body.embed_tokens.weight)}
    for i, block in enumerate(body.layers):
        attention, mlp, name = block.self_attn, block.mlp, f"layers.{i}"
        for ours, theirs in norms.items():
            pieces[f"{name}.{ours}.gain"] = Piece(getattr(block, theirs).weight, shift=shift)
        for which, module in (("query", attention.q_proj), ("key", attention.k_proj),
                              ("value", attention.v_proj), ("output", attention.o_proj)):
            pieces[f"{name}.attention.{which}.weight"] = Piece(module.weight)
        for which in ("gate", "up", "down"):
            pieces[f"{name}.ffn.{which}.weight"] = Piece(getattr(mlp, f"{which}_proj").weight)
    pieces["final_norm.gain"] = Piece(body.norm.weight, shift=shift)
    return pieces


def qwen3():
    model = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(
        rope_theta=1e6, tie_word_embeddings=False, **SIZES)).double()
    pieces = pieces_of(model, {"attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}, 1e6)
    for i, block in enumerate(model.model.layers):
        pieces[f"layers.{i}.attention.query_norm.gain"] = Piece(block.self_attn.q_norm.weight)
        pieces[f"layers.{i}.attention.key_norm.gain"] = Piece(block.self_attn.k_norm.weight)
    pieces["head.weight"] = Piece(model.lm_head.weight)
    return model, model.model, pieces


def gemma2():
    model = transformers.Gemma2ForCausalLM(transformers.Gemma2Config(
        rope_theta=10000.0, hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=10, sliding_window=5,
        attn_logit_softcapping=2.0, final_logit_softcapping=3.0, tie_word_embeddings=True, **SIZES)).double()
    pieces = pieces_of(model, {
        "attention_norm": "input_layernorm", "attention_post_norm": "post_attention_layernorm",
        "ffn_norm": "pre_feedforward_layernorm", "ffn_post_norm": "post_feedforward_layernorm"}, 10000.0, shift=1.0)
    return model, model.model, pieces


def mistral():
    model = transformers.MistralForCausalLM(transformers.MistralConfig(
        rope_theta=10000.0, sliding_window=5, tie_word_embeddings=False, **SIZES)).double()
    pieces = pieces_of(model, {"attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}, 10000.0)
    pieces["head.weight"] = Piece(model.lm_head.weight)
    return model, model.model, pieces


@contextlib.contextmanager
def in_float64():
    """Lets float32 mean float64 in these models: as a name in their files, and as Tensor.float()."""
    wide = types.ModuleType("torch")
    wide.__dict__.update(torch.__dict__)
    wide.float32 = wide.float = torch.float64
    narrow = torch.Tensor.float
    for module in MODULES:
        module.torch = wide
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
    torch.Tensor.float = narrow
    for module in MODULES:
        module.torch = torch


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    here = pathlib.Path(__file__).resolve().parent
    for build in (qwen3, gemma2, mistral):
        make(build, here / f"{build.__name__}_tiny.safetensors", in_float64,
             lambda model, body, tokens: model(input_ids=tokens).logits, "make_family_golden.py")
