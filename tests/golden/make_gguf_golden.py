#!/usr/bin/env python3
"""Makes tests/golden/gguf_tiny.gguf and gguf_tiny.safetensors: tensors of every type that trireme reads, and their values in
fp32 as ggml's Python package computes them; and "encoded.q8_0", the values of "plain" as Q8_0.

    pip install gguf safetensors numpy && python3 tests/golden/make_gguf_golden.py
"""

import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
ROWS, COLUMNS = 3, 512
# Where the fp16 scales of a block lie, in bytes.
SCALES = {Type.Q8_0: [0], Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q4_K: [0, 2], Type.Q6_K: [208]}


def drawn_blocks(draw, kind):
    """Any bits but in the scales, which are finite."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = draw.integers(0, 256, (ROWS * COLUMNS // elements, size), dtype=np.uint8)
    for place in SCALES[kind]:
        scales = draw.normal(0, 0.05, len(blocks)).astype(np.float16)
        scales[0], scales[1] = 6e-8, -0.0  # subnormal, and zero
        blocks[:, place:place + 2] = scales.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(ROWS, -1)


def main():
    draw = np.random.default_rng(21)
    plain = draw.normal(0, 1, (ROWS, COLUMNS)).astype(np.float32)
    plain[0, :32], plain[0, 32:64], plain[1, :4] = 0, 1e-30, [65504 * 127, -0.0, 2.5, 1e-8]
    writer = gguf.GGUFWriter(HERE / "gguf_tiny.gguf", "llama")
    writer.add_name("tiny")
    writer.add_uint32("llama.block_count", 2)
    writer.add_float32("llama.rope.freq_base", 1e4)
    writer.add_bool("flag", True)
    writer.add_array("tokens", ["a", "Grüße", ""])
    writer.add_array("scores", [1.5, -2.0])
    expected = {"plain": plain}
    writer.add_tensor("plain", plain)
    for kind in (Type.F16, Type.BF16, *SCALES):
        raw = drawn_blocks(draw, kind) if kind in SCALES else gguf.quantize(np.clip(plain, -6e4, 6e4), kind)
        name = kind.name.lower()
        writer.add_tensor(name, raw, raw_dtype=kind)
        expected[name] = gguf.dequantize(raw, kind).reshape(ROWS, COLUMNS).astype(np.float32)
    writer.add_tensor("listed_only", draw.integers(0, 256, (1, 22), dtype=np.uint8), raw_dtype=Type.Q5_0)
    expected["encoded.q8_0"] = gguf.quantize(plain, Type.Q8_0)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    save_file(expected, HERE / "gguf_tiny.safetensors")


if __name__ == "__main__":
    main()
