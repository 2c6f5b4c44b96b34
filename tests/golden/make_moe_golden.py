#!/usr/bin/env python3
"""Writes mixtral_tiny.safetensors: what Hugging Face's Mixtral computes, with both losses of its routers.

Model, logits, router logits and gradients are those of MixtralForCausalLM in float64 (as in
make_model_golden.py, whose recipe of weights and tokens this uses), stored as float32. The balance terms are
written here from the equations of docs/moe.md: for every sequence s of T tokens, of which n_s have targets that
count, and every router

    auxiliary loss   n_s * sum_e f_e P_e    f_e = E / (k T) * (choices of e in s), P_e = mean of p_e over s
    z-loss           n_s * mean of log(sum_e exp(logit_e))^2 over s

each times its factor, summed over routers and sequences, divided by the sum of n_s.

  venv/bin/python tests/golden/make_moe_golden.py        # the environment of make_model_golden.py
"""
import pathlib
import types

import torch
import transformers
from make_model_golden import (BATCH, HEADS, HIDDEN, IGNORED, KV_HEADS, LAYERS, LENGTH, POSITIONS, VOCAB, Piece,
                               recipe, tokens_and_targets)
from safetensors.torch import save_file
from transformers.models.mixtral import modeling_mixtral

EXPERTS, CHOICES, WIDTH = 5, 2, 24
AUX_LOSS, Z_LOSS = 0.02, 0.003


def mixtral():
    config = transformers.MixtralConfig(
        vocab_size=VOCAB, max_position_embeddings=POSITIONS, hidden_size=HIDDEN, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, intermediate_size=WIDTH, rms_norm_eps=1e-5,
        rope_theta=10000.0, num_local_experts=EXPERTS, num_experts_per_tok=CHOICES, sliding_window=None)
    model = transformers.MixtralForCausalLM(config).double()
    pieces = {"embedding.tokens.weight": Piece(model.model.embed_tokens.weight)}
    for i, block in enumerate(model.model.layers):
        attention, moe, name = block.self_attn, block.block_sparse_moe, f"layers.{i}"
        dim = HIDDEN // HEADS
        attention.rotary_emb.inv_freq = 10000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        attention.rotary_emb._set_cos_sin_cache(POSITIONS, "cpu", torch.float64)
        pieces[f"{name}.attention_norm.gain"] = Piece(block.input_layernorm.weight)
        for which, module in (("query", attention.q_proj), ("key", attention.k_proj),
                              ("value", attention.v_proj), ("output", attention.o_proj)):
            pieces[f"{name}.attention.{which}.weight"] = Piece(module.weight)
        pieces[f"{name}.ffn_norm.gain"] = Piece(block.post_attention_layernorm.weight)
        pieces[f"{name}.ffn.router.weight"] = Piece(moe.gate.weight)
        for e, expert in enumerate(moe.experts):
            for which, module in (("gate", expert.w1), ("up", expert.w3), ("down", expert.w2)):
                pieces[f"{name}.ffn.experts.{e}.{which}.weight"] = Piece(module.weight)
    pieces["final_norm.gain"] = Piece(model.model.norm.weight)
    pieces["head.weight"] = Piece(model.lm_head.weight)
    return model, pieces


def balance_terms(router_logits, targets):
    """(auxiliary loss, z-loss) of one router, sums over the sequences."""
    logits = router_logits.reshape(BATCH, LENGTH, EXPERTS)
    probabilities = logits.softmax(-1)
    chosen = torch.zeros_like(logits).scatter(-1, logits.topk(CHOICES, -1).indices, 1.0)
    num_targets = (targets != IGNORED).sum(1).double()
    f = chosen.sum(1) * EXPERTS / (CHOICES * LENGTH)
    aux = (num_targets * (f * probabilities.mean(1)).sum(-1)).sum()
    z = (num_targets * logits.logsumexp(-1).square().mean(1)).sum()
    return aux, z


def main():
    wide = types.ModuleType("torch")  # Mixtral casts norms and softmax to float32: lets these names mean float64
    wide.__dict__.update(torch.__dict__)
    wide.float32 = wide.float = torch.float64
    modeling_mixtral.torch = wide
    torch.set_default_dtype(torch.float64)
    model, pieces = mixtral()
    with torch.no_grad():
        for name, piece in pieces.items():
            piece.parameter.copy_(recipe(name, piece.parameter.shape))
    assert {id(p) for p in model.parameters()} == {id(piece.parameter) for piece in pieces.values()}
    tokens, targets = tokens_and_targets()
    inputs = []
    for block in model.model.layers:
        block.block_sparse_moe.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    result = model(tokens, output_router_logits=False)
    hidden = model.model(tokens, output_router_logits=True)
    logits = model.lm_head(hidden[0])
    assert logits.dtype == torch.float64 and torch.allclose(logits, result.logits.double(), atol=1e-5)
    loss = torch.nn.functional.cross_entropy(logits.reshape(-1, VOCAB), targets.reshape(-1), ignore_index=IGNORED)
    terms = [balance_terms(router, targets) for router in hidden.router_logits]
    num_targets = (targets != IGNORED).sum()
    aux = AUX_LOSS * sum(term[0] for term in terms) / num_targets
    z = Z_LOSS * sum(term[1] for term in terms) / num_targets
    (loss + aux + z).backward()
    norm = torch.sqrt(sum(p.grad.square().sum() for p in model.parameters()))

    out = {"tokens": tokens.int(), "targets": targets.int(), "logits": logits.detach().float()}
    for name, value in (("loss", loss), ("aux_loss", aux), ("z_loss", z), ("grad_norm", norm)):
        out[name] = value.detach().float().reshape(1)
    for name, piece in pieces.items():
        out[f"weight/{name}"] = piece.parameter.detach().float().clone()
        out[f"grad/{name}"] = piece.parameter.grad.float().clone()
    smallest = 1.0
    for i, router in enumerate(hidden.router_logits):
        probabilities = router.detach().softmax(-1)
        best = probabilities.topk(CHOICES + 1, -1)
        smallest = min(smallest, (best.values[:, :-1] - best.values[:, 1:]).min().item())
        gates = best.values[:, :CHOICES] / best.values[:, :CHOICES].sum(-1, keepdim=True)
        out[f"router/{i}/input"] = inputs[LAYERS + i].detach().reshape(-1, HIDDEN).float().clone()
        out[f"router/{i}/probabilities"] = probabilities.float()
        out[f"router/{i}/chosen"] = best.indices[:, :CHOICES].int().contiguous()
        out[f"router/{i}/gates"] = gates.float()
    path = pathlib.Path(__file__).resolve().parent / "mixtral_tiny.safetensors"
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    save_file(out, path, metadata={"made_by": f"tests/golden/make_moe_golden.py, {versions}"})
    path.chmod(0o644)
    print(path.name, f"{path.stat().st_size} bytes, loss {loss:.6f}, auxiliary {aux:.6f}, z {z:.6f}, gradient norm "
          f"{norm:.3f}; choices differ by {smallest:.1e} in probability or more")


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    main()
