#!/usr/bin/env python3
"""Compares reading and writing of GGUF files with ggml's Python package, bit for bit.

    pip install gguf numpy; cmake --build build --target interop_tool
    python3 tests/interop/gguf_files.py build/tests/interop_tool MODEL.gguf...

Every tensor of a type that trireme reads has the package's values, whole and put together of parts; copies as f32, f16, bf16
q8_0 and q4_0 open in the package with the same metadata and with the bytes that it quantizes to itself.
"""

import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np

READ = {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K"}


def values_of(tensor):
    return gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(-1)


def compare_values(tool, path):
    wrong = 0
    tensors = gguf.GGUFReader(path).tensors
    for tensor in tensors:
        if tensor.tensor_type.name not in READ:
            continue
        expected = values_of(tensor).tobytes()
        for command in ("gguf-values", "gguf-shards"):
            got = subprocess.run([tool, command, path, tensor.name], stdout=subprocess.PIPE, check=True).stdout
            if got != expected:
                wrong += 1
                print(f"{command}: {tensor.name} ({tensor.tensor_type.name}) differs")
    print(f"{path}: {len(tensors)} tensors, {wrong} differences")
    return wrong


def compare_copy(tool, path, kind):
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "copy.gguf"
        subprocess.run([tool, "gguf-copy", path, out, kind], check=True)
        source, copy = gguf.GGUFReader(path), gguf.GGUFReader(out)
        for key, field in source.fields.items():
            if not key.startswith("GGUF.") and copy.fields[key].contents() != field.contents():
                wrong += 1
                print(f"{kind}: {key} differs")
        for tensor, other in zip(source.tensors, copy.tensors):
            expected = gguf.quantize(values_of(tensor).reshape(tensor.shape[::-1]), other.tensor_type)
            if tensor.name != other.name or list(tensor.shape) != list(other.shape) or expected.tobytes() != other.data.tobytes():
                wrong += 1
                print(f"{kind}: {tensor.name} differs")
    print(f"{path} as {kind}: {wrong} differences")
    return wrong


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    tool = sys.argv[1]
    wrong = 0
    for path in sys.argv[2:]:
        wrong += compare_values(tool, path)
        wrong += sum(compare_copy(tool, path, kind) for kind in ("f32", "f16", "bf16", "q8_0", "q4_0"))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
