#!/usr/bin/env python3
"""Makes tiny random models of every family by transformers, and what it computes with them in float64.

    pip install torch transformers safetensors tokenizers
    python3 tests/interop/models/tiny_models.py FOLDER [--small] [NAME...]

FOLDER/NAME/ has what save_pretrained writes (float32), a byte-level tokenizer (not with --small), and reference.safetensors:
tokens, targets (-1: ignored), and of transformers' model in float64 the logits, the mean loss, and the gradient of every
stored tensor as grad/NAME. Key-value heads are fewer than heads, heads have a size of their own where the family allows it,
gains and biases are random, and sequences are longer than windows and the positions that RoPE is stretched from.
"""
import argparse
import contextlib
import copy
import json
import pathlib
import sys
import tempfile
import types
import zlib

import torch
import transformers
from safetensors.torch import load_file, save_file

BATCH, LENGTH, IGNORED = 2, 13, -1
# Of RoPE's frequencies some turn within 8 positions and some do not.
THETA, ORIGINAL, WINDOW = 20.0, 8, 5
VOCAB = {False: 304, True: 32}  # of which 300 have tokens; small


class Sizes:
    def __init__(self, small):
        self.vocab = VOCAB[small]
        self.hidden, self.heads, self.kv_heads, self.head_dim, self.ffn, self.layers = \
            (16, 4, 2, 6, 20, 2) if small else (32, 4, 2, 12, 48, 4)
        # llama.cpp has these constants built in: the small models, which it never sees, have others.
        self.query_scalar, self.no_rope_every, self.experts_every = (10, 2, 2) if small else (self.head_dim, 4, 1)

    def common(self, **more):
        """Of configurations with the names of Llama's."""
        return dict(vocab_size=self.vocab, hidden_size=self.hidden, num_hidden_layers=self.layers, intermediate_size=self.ffn,
                    num_attention_heads=self.heads, num_key_value_heads=self.kv_heads, max_position_embeddings=32,
                    rms_norm_eps=1e-5, tie_word_embeddings=False, **ENDS, **more)

    def own_heads(self, **more):
        return self.common(head_dim=self.head_dim, **more)


# The last four are there because llama.cpp looks for them in models that are called phi3.
SPECIAL = ["<|end|>", "<|start|>", "</s>", "<unk>", "<s>", "<|endoftext|>"]
ENDS = dict(pad_token_id=None, bos_token_id=None, eos_token_id=0)


def rope(kind="default", theta=THETA, **more):
    return {"rope_type": kind, "rope_theta": theta, **more}


def llama(s, parameters, **more):
    return transformers.LlamaConfig(**{**s.own_heads(rope_parameters=parameters), **more})


def layer_types(s, full):
    return ["full_attention" if full(i) else "sliding_attention" for i in range(s.layers)]


def gemma3(s, pattern, layers, **scaling):
    s.layers = layers
    return transformers.Gemma3TextConfig(**{
        **s.own_heads(), "tie_word_embeddings": True, "sliding_window": WINDOW, "query_pre_attn_scalar": s.query_scalar,
        "layer_types": layer_types(s, lambda i: (i + 1) % pattern == 0),
        "rope_parameters": {"sliding_attention": rope(theta=7.0), "full_attention": rope(**scaling)}})


def phi3(s, original=None):
    dims = s.hidden // s.heads
    parameters = rope()
    if original:
        parameters = rope("longrope", original_max_position_embeddings=original,
                          short_factor=[1.0 + 0.25 * i for i in range(dims // 2)],
                          long_factor=[1.3 + 0.75 * i for i in range(dims // 2)])
    return transformers.Phi3Config(**s.common(rope_parameters=parameters, sliding_window=None if original else WINDOW,
                                              original_max_position_embeddings=original or 32))


def neox(s, parallel):
    return transformers.GPTNeoXConfig(
        vocab_size=s.vocab, hidden_size=s.hidden, num_hidden_layers=s.layers, num_attention_heads=s.heads,
        intermediate_size=s.ffn, max_position_embeddings=32, use_parallel_residual=parallel, hidden_act="gelu",
        tie_word_embeddings=False, rope_parameters=rope(partial_rotary_factor=0.5), **ENDS)


def gpt2(s):
    return transformers.GPT2Config(vocab_size=s.vocab, n_positions=32, n_embd=s.hidden, n_layer=s.layers, n_head=s.heads,
                                   n_inner=s.ffn, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **ENDS)


def gemma1(s):
    return transformers.GemmaConfig(**{**s.own_heads(rope_parameters=rope()), "tie_word_embeddings": True,
                                       "hidden_act": "gelu_pytorch_tanh"})


def gemma2(s):
    return transformers.Gemma2Config(**{
        **s.own_heads(rope_parameters=rope(), sliding_window=WINDOW, query_pre_attn_scalar=s.query_scalar, attn_logit_softcapping=2.0,
                      final_logit_softcapping=3.0), "tie_word_embeddings": True})


CASES = {
    "gpt2": gpt2,
    "llama2": lambda s: llama(s, rope()),
    "llama3": lambda s: llama(s, rope("llama3", factor=3.7, low_freq_factor=0.25, high_freq_factor=1.1,
                                      original_max_position_embeddings=ORIGINAL), tie_word_embeddings=True),
    "llama-bias": lambda s: llama(s, rope(), attention_bias=True),
    "llama-linear": lambda s: llama(s, rope("linear", factor=2.5)),
    "llama-yarn": lambda s: llama(s, rope("yarn", factor=4.0, original_max_position_embeddings=16)),
    "llama-yarn-betas": lambda s: llama(s, rope("yarn", factor=4.0, beta_fast=1.0, beta_slow=0.1,
                                                original_max_position_embeddings=ORIGINAL)),
    "llama-yarn-given": lambda s: llama(s, rope("yarn", factor=4.0, beta_fast=1.0, beta_slow=0.1, attention_factor=1.3,
                                                truncate=False, original_max_position_embeddings=ORIGINAL)),
    "mistral": lambda s: transformers.MistralConfig(**s.own_heads(rope_parameters=rope(), sliding_window=WINDOW)),
    "mixtral": lambda s: transformers.MixtralConfig(**s.own_heads(
        rope_parameters=rope(), sliding_window=None, num_local_experts=4, num_experts_per_tok=2, router_aux_loss_coef=0.0)),
    "qwen2": lambda s: transformers.Qwen2Config(**s.common(
        rope_parameters=rope(), use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1)),
    "qwen3": lambda s: transformers.Qwen3Config(**s.own_heads(rope_parameters=rope())),
    "qwen3-moe": lambda s: transformers.Qwen3MoeConfig(**s.own_heads(
        rope_parameters=rope(), num_experts=4, num_experts_per_tok=2, moe_intermediate_size=12 * s.head_dim // 6,
        norm_topk_prob=True, decoder_sparse_step=s.experts_every, mlp_only_layers=[], router_aux_loss_coef=0.0)),
    "gemma": gemma1,
    "gemma2": gemma2,
    "gemma3": lambda s: gemma3(s, pattern=6, layers=7),
    "gemma3-scaled": lambda s: gemma3(s, pattern=2, layers=3, kind="linear", factor=2.5),
    "phi3": phi3,
    "phi3-long": lambda s: phi3(s, ORIGINAL),
    "phi3-short": lambda s: phi3(s, 16),
    "olmo2": lambda s: transformers.Olmo2Config(**s.common(rope_parameters=rope())),
    "smollm3": lambda s: transformers.SmolLM3Config(**{
        **s.common(rope_parameters=rope(), no_rope_layer_interval=s.no_rope_every), "tie_word_embeddings": True}),
    "neox": lambda s: neox(s, True),
    "neox-sequential": lambda s: neox(s, False),
}


def randomize(model, seed):
    """Gains around one (Gemma's hold the gain less 1), biases, and matrices that keep the size of what they multiply."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            values = torch.randn(p.shape, generator=generator)
            if p.dim() == 1:
                near_zero = name.endswith("bias") or "gemma" in type(model).__name__.lower()
                p.copy_(0.2 * values if near_zero else 1 + 0.2 * values)
            elif "embed" in name or "wte" in name or "wpe" in name:  # also a tied head
                p.copy_(0.3 * values)
            else:
                fan_in = p.shape[0] if "Conv1D" in type(owner_of(model, name)).__name__ else p.shape[-1]
                p.copy_(values / fan_in**0.5)


def owner_of(model, name):
    return model.get_submodule(name.rpartition(".")[0])


def tokens_and_targets(seed, vocab):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(vocab, (BATCH, LENGTH + 1), generator=generator)
    targets = rows[:, 1:].clone()
    targets[1, 4] = IGNORED
    return rows[:, :-1].clone(), targets


@contextlib.contextmanager
def in_float64(model):
    """Lets float32 mean float64 in the modules that compute this model: as a name, and as Tensor.float()."""
    wide = types.ModuleType("torch")
    wide.__dict__.update(torch.__dict__)
    wide.float32 = wide.float = torch.float64
    modules = {type(m).__module__ for m in model.modules() if type(m).__module__.startswith("transformers.")}
    modules |= {"transformers.modeling_rope_utils"}
    modules = [sys.modules[m] for m in modules if getattr(sys.modules[m], "torch", None) is torch]
    narrow = torch.Tensor.float
    for module in modules:
        module.torch = wide
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.Tensor.float = narrow
        for module in modules:
            module.torch = torch


def wide_model(model):
    """The same in float64: call it, and the model, in_float64()."""
    config = copy.deepcopy(model.config)
    config.dtype = torch.float64
    wide = type(model)(config).double()
    wide.load_state_dict(model.state_dict())
    odd = [n for n, t in [*wide.named_parameters(), *wide.named_buffers()] if t.is_floating_point() and t.dtype != torch.float64]
    assert not odd, odd
    return wide.eval()


def stored(model):
    """The model's parameters by their names in its files."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return {k: v for path in pathlib.Path(folder).glob("*.safetensors") for k, v in load_file(path).items()}


def reference_of(model, tokens, targets):
    with in_float64(model):
        wide = wide_model(model)
        logits = wide(input_ids=tokens).logits
        assert logits.dtype == torch.float64
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        loss.backward()
        of_files = copy.deepcopy(wide)
        with torch.no_grad():
            for p, q in zip(of_files.parameters(), wide.parameters()):
                p.copy_(q.grad)
        gradients = stored(of_files)
    return {"tokens": tokens.int(), "targets": targets.int(), "logits": logits.detach().float(),
            "loss": loss.detach().float().reshape(1), **{f"grad/{k}": v.float() for k, v in gradients.items()}}


def byte_tokenizer():
    """Byte-level BPE with a few merges and special tokens: 300 tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    words = "the then there these this that thing and an other others mother in into inner on one once of off".split()
    tokenizer.train_from_iterator([" ".join(words[i:] + words[:i]) for i in range(len(words))], trainer)
    assert tokenizer.get_vocab_size() == 300, tokenizer.get_vocab_size()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")


def make(folder, name, small):
    sizes = Sizes(small)
    config = CASES[name](sizes)
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    seed = zlib.crc32(name.encode())
    randomize(model, seed)
    tokens, targets = tokens_and_targets(seed, sizes.vocab if small else 300)
    reference = reference_of(model, tokens, targets)

    out = folder / name
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    if small:
        (out / "generation_config.json").unlink(missing_ok=True)
    else:
        byte_tokenizer().save_pretrained(out)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    save_file({k: v.contiguous() for k, v in reference.items()}, out / "reference.safetensors",
              metadata={"made_by": f"tests/interop/models/tiny_models.py, {versions}"})

    # As shipped and in float32 the model must say the same, or the float64 detour changed its meaning.
    with torch.no_grad():
        difference = (model(input_ids=tokens).logits - reference["logits"]).abs().max() / reference["logits"].abs().max()
    assert difference < 1e-5, (name, difference)
    written = {k for k in load_file(out / "model.safetensors")}
    assert written == {k[5:] for k in reference if k.startswith("grad/")}, name
    print(f"{name:17s} {sum(p.numel() for p in model.parameters()):7d} parameters, loss {reference['loss'].item():.6f}, "
          f"float32 differs by {difference:.1e} in its logits", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*", default=list(CASES), metavar="NAME")
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name in arguments.names:
        make(arguments.folder, name, arguments.small)


if __name__ == "__main__":
    main()
