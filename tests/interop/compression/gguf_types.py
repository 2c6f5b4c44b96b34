#!/usr/bin/env python3
"""GGUF files of Q8_0, Q4_0 and Q4_K_M: what they lose, that llama.cpp computes the same with them, and what its own quantizer loses.

    pip install gguf numpy safetensors torch xllamacpp libgguf ik-llama-cpp-python    # the last two: oracles, where they are there
    cmake --build build --target trireme interop_tool
    python3 tests/interop/compression/gguf_types.py build/trireme build/tests/interop_tool MODEL TEXT [--bytes N] [--length N] [--folder DIR]

MODEL is a GGUF file, which is imported first, or a run. It is exported in fp32 and in each type, each read back by the export.

  size, perplexity, KL divergence and same-top share against the fp32 file, by trireme evaluate on TEXT
  llama.cpp   log-probabilities of the next tokens of TEXT: llama.cpp multiplies by activations in 8 bits; on average it is from ours
              with exact activations not further than NOISE_BOUND times ours with activations in 8 bits are
  quantizer   the same tensor types by llama.cpp's own llama-quantize (of ik_llama.cpp), beside ours
  encoders    the squared error of each type on the model's matrices is at most that of ggml's quantizer (libgguf), and the bytes of
              Q8_0 and Q4_0 are those of the gguf package

Exit status: 0 where all holds.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np
import torch
from safetensors.torch import load_file, save_file

sys.path.append(str(pathlib.Path(__file__).parents[1] / "models"))

import llama_cpp_scores

TYPES = ("q8_0", "q4_0", "q4_k_m")
SCORED = 64  # tokens that llama.cpp is asked for
NOISE_BOUND = 2  # times what activations in 8 bits change of ours, plus 0.01


class Failure(Exception):
    pass


def expect(holds, words):
    if not holds:
        raise Failure(words)


def run(command, limit=3000):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=limit,
                          env={**os.environ, "OMP_NUM_THREADS": "2"})
    if done.returncode != 0:
        raise Failure(f"{' '.join(map(str, command))}: exit {done.returncode}\n{(done.stdout + done.stderr)[-1500:]}")
    return done.stdout


def evaluated(arguments, file, text, base):
    against = ["--against", base, "--activations", "exact"] if base else []  # without: of numbers, which are exact
    return numbers(json.loads(run([arguments.program, "evaluate", file, "--text", text, "--seq-len", arguments.length, "--json", *against])))


def ours(tool, file, tokens, folder, activations):
    asked, out = folder / "asked.safetensors", folder / "out.safetensors"
    save_file({"tokens": torch.tensor([tokens], dtype=torch.int32)}, asked)
    run([tool, "logits", file, asked, out, activations])
    logits = load_file(out)["logits"][0].double().log_softmax(-1)
    return np.array([logits[i, tokens[i + 1]].item() for i in range(len(tokens) - 1)])


def beside_llama_cpp(tool, file, tokens, folder):
    first = 8
    exact, rounded = (ours(tool, file, tokens, folder, activations)[first - 1:] for activations in ("exact", "int8"))
    theirs = np.array(llama_cpp_scores.scores(file, tokens, first))
    noise, apart = np.abs(rounded - exact).mean(), np.abs(theirs - exact).mean()
    said = (f"{file.name}: log-probabilities of {len(exact)} tokens: llama.cpp is {apart:.4f} from ours on average, ours with activations in "
            f"8 bits {noise:.4f}; perplexity {np.exp(-exact.mean()):.4f}, in 8 bits {np.exp(-rounded.mean()):.4f}, llama.cpp "
            f"{np.exp(-theirs.mean()):.4f}")
    print(said, flush=True)
    expect(apart < NOISE_BOUND * noise + 0.01, said)


def by_their_quantizer(file, base, folder):
    """The types that `file` has, of the tensors of `base`, by llama-quantize; nothing where that is not there."""
    try:
        import ik_llama_cpp
    except ImportError:
        return None
    rules = ",".join(f"^{tensor.name.replace('.', chr(92) + '.')}$={tensor.tensor_type.name.lower().replace('_k', '_K')}"
                     for tensor in gguf.GGUFReader(file).tensors if tensor.tensor_type.name not in ("F32", "F16"))
    out = folder / f"{file.stem}.theirs.gguf"
    run([ik_llama_cpp.find_quantize_bin(), "--custom-q", rules, base, out, "Q4_K_M", "2"])
    types = [{t.name: t.tensor_type for t in gguf.GGUFReader(f).tensors} for f in (file, out)]
    expect(types[0] == types[1], f"llama-quantize chose other types: {[(k, v, types[1][k]) for k, v in types[0].items() if v != types[1][k]][:4]}")
    return out


def compare_encoders(base, file):
    """Of our file, the squared errors beside those of ggml's own quantizer."""
    import libgguf
    originals = {tensor.name: np.array(tensor.data, dtype=np.float32) for tensor in gguf.GGUFReader(base).tensors}
    sums = {}
    for tensor in gguf.GGUFReader(file).tensors:
        kind, x = tensor.tensor_type, originals[tensor.name]
        if kind.name in ("F32", "F16"):
            continue
        bytes_ = np.asarray(tensor.data)
        if kind.name in ("Q8_0", "Q4_0"):
            expect(np.array_equal(bytes_, gguf.quants.quantize(x, kind)), f"{tensor.name}: other bytes than gguf.quants'")
        theirs = np.asarray(libgguf.quantize_rows(x, kind)).reshape(bytes_.shape)
        errors = [((gguf.quants.dequantize(b, kind) - x).astype(np.float64) ** 2).sum() for b in (bytes_, theirs)]
        expect(errors[0] <= errors[1] * (1 + 1e-6), f"{tensor.name} as {kind.name}: squared error {errors[0]:.6g}, ggml {errors[1]:.6g}")
        total = sums.setdefault(kind.name, np.zeros(4))
        total += [*errors, (x.astype(np.float64) ** 2).sum(), 1]
    for name, (mine, theirs, whole, count) in sums.items():
        print(f"{file.name}: {int(count)} tensors of {name}: relative squared error {mine / whole:.4e}, ggml's quantizer "
              f"{theirs / whole:.4e}", flush=True)


def line(name, file, measured, base):
    print(f"| {name} | {file.stat().st_size / 1e6:.1f} MB | {measured['perplexity']:.4f} | {measured['perplexity'] / base - 1:+.2%} | "
          f"{measured['divergence']:.5f} | {measured['same_top']:.2%} |", flush=True)


def steps(arguments, folder):
    program, tool, model = arguments.program, arguments.tool, pathlib.Path(arguments.model)
    if model.is_file():
        run([program, "import", model, folder / "run"])
        model = folder / "run"
    text = folder / "text.txt"
    text.write_text(pathlib.Path(arguments.text).read_text()[20000:20000 + arguments.bytes])
    files = {}
    for kind in ("fp32", *TYPES):
        files[kind] = folder / f"{kind}.gguf"
        run([program, "checkpoint", "export", model, files[kind], "--dtype", kind])
    for kind in TYPES:
        try:
            compare_encoders(files["fp32"], files[kind])
        except ImportError:
            print("encoders are not compared: no libgguf", flush=True)
    if "llama" in arguments.parts:
        tokens = tokens_of(program, model, text, folder)[:SCORED]
        for kind in TYPES:
            beside_llama_cpp(tool, files[kind], tokens, folder)
    base = evaluated(arguments, files["fp32"], text, None)
    print("| file | size | perplexity | change | KL | same top |\n|---|---|---|---|---|---|")
    line("fp32", files["fp32"], base, base["perplexity"])
    for kind in TYPES:
        line(kind, files[kind], evaluated(arguments, files[kind], text, files["fp32"]), base["perplexity"])
        theirs = by_their_quantizer(files[kind], files["fp32"], folder) if kind == "q4_k_m" else None
        if theirs:
            line(f"{kind}, llama-quantize", theirs, evaluated(arguments, theirs, text, files["fp32"]), base["perplexity"])


def numbers(said):
    """Of trireme evaluate --json: perplexity, divergence and same-top share, the last two against the reference."""
    for part in (said, *(value for value in said.values() if isinstance(value, dict))):
        if "perplexity" in part:
            compared = "kl_divergence" in part
            return {"perplexity": part["perplexity"], "divergence": part["kl_divergence"]["mean"] if compared else 0,
                    "same_top": part["same_top_token"]["mean"] if compared else 1}
    raise Failure(f"no perplexity in {said}")


def tokens_of(program, model, text, folder):
    out = folder / "tokens"
    run([program, "data", "build", text, "--out", out, "--tokenizer", model / "tokenizer.json", "--valid-fraction", "0"])
    ids = np.fromfile(out / "train.tok", dtype=np.uint16)
    return ids[-(SCORED + 200):-100].tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("program", "tool", "model", "text"):
        parser.add_argument(name)
    parser.add_argument("--bytes", type=int, default=20000, help="of TEXT that are evaluated")
    parser.add_argument("--length", type=int, default=256, help="tokens of a window")
    parser.add_argument("--parts", default="llama", help="llama: beside llama.cpp too")
    parser.add_argument("--folder", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            steps(arguments, folder)
        except Failure as failure:
            sys.exit(f"gguf_types: FAILED: {failure}")


if __name__ == "__main__":
    main()
