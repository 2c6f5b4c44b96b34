#!/usr/bin/env python3
"""Cuts tiny models of several families with trireme compress, and compares what is left with transformers.

    pip install torch transformers safetensors tokenizers
    cmake --build build --target trireme interop_tool
    python3 tests/interop/compression/structured.py build/trireme build/tests/interop_tool [--folder DIR] [NAME...]

Of each case (../models/tiny_models.py has the models) the result is exported to transformers' format and loaded there as it is,
without a tensor missing or left over; sizes in config.json are those that were asked for, and logits equal ours to 1e-4 of the
largest. What config.json cannot say has to be refused (exit 2). Exit status: 0 where all holds.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import torch
import transformers
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "models"))
import tiny_models  # noqa: E402

BOUND = 1e-4
# The model, keys of the step, and what config.json says afterwards; of what is refused a word of the message.
CASES = {
    "gpt2-neurons-layers": ("gpt2", {"neurons": 31, "layers": 3}, {"n_inner": 31, "n_layer": 3}),
    "gpt2-heads": ("gpt2", {"heads": 3}, "layers, neurons"),
    "llama-kv-groups": ("llama2", {"kv-groups": 1}, {"num_key_value_heads": 1, "num_attention_heads": 2, "head_dim": 12}),
    "llama-heads": ("llama3", {"heads": 2}, {"num_key_value_heads": 2, "num_attention_heads": 2, "head_dim": 12}),
    "llama-neurons": ("llama2", {"neurons": "30%"}, {"intermediate_size": 32}),
    "llama-layers": ("llama2", {"layers": 2}, {"num_hidden_layers": 2}),
    "llama-bias-all": ("llama-bias", {"kv-groups": 1, "heads": 1, "neurons": 5, "layers": 2},
                       {"num_attention_heads": 1, "intermediate_size": 5, "num_hidden_layers": 2}),
    "qwen3-heads": ("qwen3", {"heads": 2, "layers": 3}, {"num_attention_heads": 2, "num_hidden_layers": 3}),
    "gemma2-neurons": ("gemma2", {"neurons": 20, "layers": 2}, {"intermediate_size": 20, "num_hidden_layers": 2}),
    "phi3-heads": ("phi3", {"heads": 2}, {"num_attention_heads": 2, "architectures": ["MistralForCausalLM"]}),
    "smollm3-neurons": ("smollm3", {"neurons": 16}, {"intermediate_size": 16}),
    "olmo2-heads": ("olmo2", {"heads": 2}, "over all heads"),
    "neox-neurons-layers": ("neox", {"neurons": 20, "layers": 2}, {"intermediate_size": 20, "num_hidden_layers": 2}),
    "mixtral-experts-neurons": ("mixtral", {"experts": 3, "neurons": 20}, {"num_local_experts": 3, "intermediate_size": 20}),
    "qwen3-moe-experts": ("qwen3-moe", {"experts": 2, "neurons": 12, "layers": 3},
                          {"num_experts": 2, "moe_intermediate_size": 12, "num_hidden_layers": 3}),
    "mixtral-too-few": ("mixtral", {"experts": 1}, "at least 2"),
}


class Failure(Exception):
    pass


def expect(holds, words):
    if not holds:
        raise Failure(words)


def run(*command, status=0):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode != status:
        raise Failure(f"{' '.join(map(str, command))}: exit {done.returncode}\n{(done.stdout + done.stderr)[-1500:]}")
    return done.stdout + done.stderr


def cut(arguments, folder, name):
    model, keys, expected = CASES[name]
    source = folder / "models" / model
    if not source.exists():
        tiny_models.make(folder / "models", model, False)
    out = folder / name
    step = [word for key, value in keys.items() for word in (f"--{key}", value)]
    command = [arguments.program, "compress", source, "--out", out, "--method", "cut", *step, "--threads", 1]
    if isinstance(expected, str):
        said = run(*command, status=2)
        expect(expected in said, f"'{expected}' is not in: {said[-800:]}")
        return "refused: " + next(line for line in said.splitlines() if expected in line)[:100]
    run(*command)
    exported = folder / f"{name}-hf"
    run(arguments.program, "checkpoint", "export", out, exported, "--format", "hf", "--dtype", "fp32")
    config = json.loads((exported / "config.json").read_text())
    wrong = {key: config.get(key) for key, value in expected.items() if config.get(key) != value}
    expect(not wrong, f"config.json has {wrong}, and not {expected}")
    loaded, info = transformers.AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32, attn_implementation="eager",
                                                                     output_loading_info=True)
    expect(not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), f"loaded with {info}")
    tokens, _ = tiny_models.tokens_and_targets(3, 300)
    save_file({"tokens": tokens.int()}, folder / "tokens.safetensors")
    run(arguments.tool, "logits", exported, folder / "tokens.safetensors", folder / "logits.safetensors", "exact")
    ours = load_file(folder / "logits.safetensors")["logits"].double()
    with torch.no_grad():
        theirs = loaded.eval()(input_ids=tokens).logits.double()
    apart = ((ours.reshape(theirs.shape) - theirs).abs().max() / theirs.abs().max()).item()
    expect(apart < BOUND, f"logits differ by {apart:.1e}")
    return f"{loaded.num_parameters():,} parameters, logits apart {apart:.1e}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("tool")
    parser.add_argument("--folder")
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(arguments.folder or temporary)
        for name in arguments.names or CASES:
            begin = time.time()
            try:
                said = cut(arguments, folder, name)
            except Failure as failure:
                failed += 1
                said = f"FAILED: {failure}"
            print(f"{name:26} {said} ({time.time() - begin:.0f} s)", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
