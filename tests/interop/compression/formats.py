#!/usr/bin/env python3
"""Files of quantized weights between this program and others: transformers with compressed-tensors, llm-compressor, and
unpackers of GPTQ and AWQ in NumPy that share no code with it.

    pip install torch transformers compressed-tensors llmcompressor safetensors numpy
    python3 tests/interop/compression/formats.py build/trireme FOLDER [--model DIR_OR_GGUF --text FILE]

A tiny Llama goes through every format and spec; with --model that one too, through compressed-tensors, and the perplexity of the
text's beginning is compared. Prints what was compared and how far it was apart. Exit status 1 where more than it may be.
"""

import argparse
import json
import math
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import torch
import transformers
from safetensors import safe_open

failures = []


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nexit {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def judge(what, apart, allowed):
    print(f"{what:70} {apart:.2e} apart, {allowed:.0e} allowed", flush=True)
    if not apart <= allowed:
        failures.append(what)


def fresh(path):
    shutil.rmtree(path, ignore_errors=True)
    return path


def tiny_llama(folder, tied):
    torch.manual_seed(1)
    config = transformers.LlamaConfig(vocab_size=256, hidden_size=128, intermediate_size=256, num_hidden_layers=2,
                                      num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
                                      tie_word_embeddings=tied, initializer_range=0.08)
    transformers.LlamaForCausalLM(config).save_pretrained(fresh(folder))
    return folder


def tensors_of(folder):
    tensors = {}
    for file in sorted(pathlib.Path(folder).glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            for name in opened.keys():
                tensors[name] = opened.get_tensor(name)
    return tensors


def decoded(trireme, folder):
    """The directory of numbers, in fp32, that the program makes of a quantized one."""
    imported, plain = fresh(folder.with_name(folder.name + ".run")), fresh(folder.with_name(folder.name + ".plain"))
    run(trireme, "import", folder, imported)
    run(trireme, "checkpoint", "export", imported, plain, "--format", "hf", "--dtype", "fp32")
    return plain


def logits_of(folder, vocabulary):
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(0, vocabulary, (2, 48), generator=generator)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model(tokens).logits.double()


def apart(a, b):
    return float((a - b).abs().max() / b.abs().max())


def compare_logits(what, folder, plain, allowed, vocabulary=256):
    judge(f"{what}: logits of transformers, their file and our decoding of it",
          apart(logits_of(folder, vocabulary), logits_of(plain, vocabulary)), allowed)


def unpacked(words, bits, order=None):
    """[R, C] of int32 to [R, C * 32 / bits], the lowest bits first."""
    per_word = 32 // bits
    fields = (words.astype(np.uint32)[:, :, None] >> (np.arange(per_word, dtype=np.uint32) * bits)) & (2**bits - 1)
    if order is not None:  # field j holds column order[j]
        fields = fields[:, :, np.argsort(order)]
    return fields.reshape(words.shape[0], -1).astype(np.int64)


def gptq_matrix(tensors, module, config):
    part = {end: tensors[f"{module}.{end}"].numpy() for end in ("qweight", "qzeros", "scales", "g_idx")}
    bits = part["qzeros"].shape[1] * 32 // part["scales"].shape[1]
    codes = unpacked(np.ascontiguousarray(part["qweight"].T), bits).T  # [in, out]
    zeros = unpacked(part["qzeros"], bits)
    if config["checkpoint_format"] == "gptq":
        zeros = (zeros + 1) & (2**bits - 1)
    groups = part["g_idx"]
    return (part["scales"].astype(np.float32)[groups] * (codes - zeros[groups]).astype(np.float32)).T


def awq_matrix(tensors, module, config):
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    codes = unpacked(tensors[f"{module}.qweight"].numpy(), 4, order)  # [in, out]
    zeros = unpacked(tensors[f"{module}.qzeros"].numpy(), 4, order)
    scales = tensors[f"{module}.scales"].numpy().astype(np.float32)
    group = config["group_size"] if config["group_size"] > 0 else codes.shape[0]
    groups = np.arange(codes.shape[0]) // group
    return (scales[groups] * (codes - zeros[groups]).astype(np.float32)).T


def compare_matrices(what, folder, plain, matrix):
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    tensors, numbers = tensors_of(folder), tensors_of(plain)
    modules = [name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight")]
    worst = max(float(np.abs(matrix(tensors, module, config) - numbers[f"{module}.weight"].numpy()).max()) for module in modules)
    judge(f"{what}: {len(modules)} matrices, unpacked by NumPy and decoded by us", worst, 0)


def exports(trireme, folder, run_directory, name):
    """Of a model of numbers, rounded to nearest."""
    for format_name in ("compressed-tensors", "gptq", "awq"):
        for bits in (4, 8):
            for group in (0, 32, 128):
                for symmetric in ("on", "off"):
                    if format_name == "awq" and bits == 8:
                        continue
                    what = f"{name} {format_name} int{bits} group {group} symmetric {symmetric}"
                    out = fresh(folder / f"{name}-{format_name}-{bits}-{group}-{symmetric}")
                    run(trireme, "checkpoint", "export", run_directory, out, "--format", format_name, "--bits", bits, "--group",
                        group, "--symmetric", symmetric, "--dtype", "fp32")
                    plain = decoded(trireme, out)
                    if format_name == "gptq":
                        compare_matrices(what, out, plain, gptq_matrix)
                    elif format_name == "awq":
                        compare_matrices(what, out, plain, awq_matrix)
                    else:
                        compare_logits(what, out, plain, 2e-6)


def packed_words(codes):
    """uint8 below 16, [R, C] -> int32 [R, ceil(C / 8)]."""
    padded = np.zeros((codes.shape[0], (codes.shape[1] + 7) // 8 * 8), np.uint32)
    padded[:, :codes.shape[1]] = codes
    fields = padded.reshape(codes.shape[0], -1, 8) << (np.arange(8, dtype=np.uint32) * 4)
    return np.bitwise_or.reduce(fields, axis=2).astype(np.uint32).view(np.int32)


def own_file(folder, run_directory):
    """Our own format as docs/compression-formats.md has it, written by NumPy: int4 in groups with zero points, int8, E4M3."""
    fresh(folder).mkdir()
    shutil.copy(run_directory / "config.ini", folder)
    draw, tensors, matrices, values = np.random.default_rng(3), {}, {}, {}
    with safe_open(run_directory / "model.safetensors", "np") as opened:
        numbers = {name: opened.get_tensor(name) for name in opened.keys()}
    for name, w in numbers.items():
        if w.ndim != 2:
            tensors[name] = w
            continue
        module, (outputs, inputs) = name.removesuffix(".weight"), w.shape
        kind = "int8" if "attention" in name else "fp8" if "down" in name else "int4"
        scales = draw.uniform(0.001, 0.02, (outputs, inputs // 32 if kind == "int4" else 1)).astype(np.float32)
        if kind == "int4":
            codes, zeros = draw.integers(0, 16, w.shape), draw.integers(0, 16, scales.shape)
            tensors[f"{module}.weight_packed"] = packed_words(codes.astype(np.uint8))
            tensors[f"{module}.weight_zero_point"] = np.ascontiguousarray(packed_words(zeros.T.astype(np.uint8)).T)
            tensors[f"{module}.weight_shape"] = np.array([outputs, inputs], np.int64)
            matrices[name] = {"type": "int", "bits": 4, "symmetric": False, "group": 32}
            values[name] = np.repeat(scales, 32, 1) * (codes - np.repeat(zeros, 32, 1)).astype(np.float32)
        elif kind == "int8":
            codes = draw.integers(-127, 128, w.shape).astype(np.int8)
            tensors[name] = codes
            matrices[name] = {"type": "int", "bits": 8, "symmetric": True, "group": 0}
            values[name] = scales * codes.astype(np.float32)
        else:
            scales /= 64
            codes = torch.from_numpy(draw.uniform(-400, 400, w.shape).astype(np.float32)).to(torch.float8_e4m3fn)
            tensors[name] = codes
            matrices[name] = {"type": "float", "bits": 8, "symmetric": True, "group": 0}
            values[name] = scales * codes.float().numpy()
        tensors[f"{module}.weight_scale"] = scales
    from safetensors.torch import save_file as save_torch
    as_torch = {name: t if isinstance(t, torch.Tensor) else torch.from_numpy(t) for name, t in tensors.items()}
    save_torch(as_torch, folder / "model.safetensors", metadata={
        "format": "trireme", "quantization": json.dumps({"version": 1, "activations": "exact", "matrices": matrices})})
    return values


def own_format(trireme, folder, run_directory):
    own = folder / "own"
    values = own_file(own, run_directory)
    out = folder / "own.safetensors"
    run(trireme, "checkpoint", "export", own, out, "--format", "trireme")
    with safe_open(out, "np") as opened:
        worst = max(float(np.abs(opened.get_tensor(name) - w).max()) for name, w in values.items())
    judge(f"our own format, written by NumPy: {len(values)} matrices decoded", worst, 0)
    compressed = fresh(folder / "own-compressed")
    print(run(trireme, "checkpoint", "export", own, compressed, "--format", "compressed-tensors", "--dtype", "fp32"), end="")
    compare_logits("our own format as compressed-tensors, mixed", compressed, decoded(trireme, compressed), 2e-6)


def llm_compressor(trireme, folder, model):
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import QuantizationModifier

    def weights(symmetric, group):
        return {"group_0": QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(
            num_bits=4, symmetric=symmetric, strategy="group", group_size=group))}

    recipes = {"W4A16": {"scheme": "W4A16", "targets": "Linear"}, "W4A16_ASYM": {"scheme": "W4A16_ASYM", "targets": "Linear"},
               "W4A16 group 32": {"config_groups": weights(True, 32)}, "W4A16_ASYM group 32": {"config_groups": weights(False, 32)},
               "W8A16": {"scheme": "W8A16", "targets": "Linear"}, "W8A8": {"scheme": "W8A8", "targets": "Linear"},
               "FP8_DYNAMIC": {"scheme": "FP8_DYNAMIC", "targets": "Linear"}}
    for name, recipe in recipes.items():
        out = fresh(folder / ("llmcompressor-" + name.replace(" ", "-")))
        loaded = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        oneshot(model=loaded, recipe=QuantizationModifier(ignore=["lm_head"], **recipe))
        loaded.save_pretrained(out, save_compressed=True)
        plain = decoded(trireme, out)
        # Weights alone: activations are quantized by transformers, and by us as --activations says.
        config = json.loads((out / "config.json").read_text())
        for group in config["quantization_config"]["config_groups"].values():
            group["input_activations"] = None
        (out / "config.json").write_text(json.dumps(config))
        compare_logits(f"llm-compressor {name}", out, plain, 2e-6)


def perplexity(folder, tokens, length):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    losses = []
    with torch.no_grad():
        for begin in range(0, len(tokens) - 1, length):
            window = torch.tensor([tokens[begin:begin + length + 1]])
            losses.append(torch.nn.functional.cross_entropy(model(window[:, :-1]).logits[0].double(), window[0, 1:], reduction="none"))
    return math.exp(torch.cat(losses).mean())


def real_model(trireme, folder, model, text):
    imported, out, length = fresh(folder / "real"), fresh(folder / "real-compressed"), 64
    run(trireme, "import", model, imported)
    print(run(trireme, "checkpoint", "export", imported, out, "--format", "compressed-tensors", "--group", 32, "--dtype", "fp32"), end="")
    beginning = folder / "beginning.txt"
    beginning.write_text(pathlib.Path(text).read_text()[:1500])
    ours = json.loads(run(trireme, "evaluate", out, "--text", beginning, "--seq-len", length, "--activations", "exact", "--json"))["text"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    tokens = tokenizer(beginning.read_text(), add_special_tokens=False)["input_ids"]
    theirs = perplexity(out, tokens, length)
    print(f"perplexity: ours {ours['perplexity']:.4f}, of transformers {theirs:.4f}")
    judge("a real model: perplexity", abs(ours["perplexity"] / theirs - 1), 1e-5)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trireme")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--model")
    parser.add_argument("--text")
    parser.add_argument("--only", choices=["exports", "own", "llmcompressor", "real"])
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    wanted = lambda part: arguments.only in (None, part)
    model = tiny_llama(arguments.folder / "tiny", False)
    run_directory = fresh(arguments.folder / "run")
    run(arguments.trireme, "import", model, run_directory)
    if wanted("own"):
        own_format(arguments.trireme, arguments.folder, run_directory)
    if wanted("exports"):
        exports(arguments.trireme, arguments.folder, run_directory, "tiny")
    if wanted("llmcompressor"):
        llm_compressor(arguments.trireme, arguments.folder, model)
    if arguments.model and wanted("real"):
        real_model(arguments.trireme, arguments.folder, arguments.model, arguments.text)
    if failures:
        sys.exit("failed: " + "; ".join(failures))


if __name__ == "__main__":
    main()
