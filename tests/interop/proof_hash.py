#!/usr/bin/env python3
"""Recomputes the proof hash of a checkpoint from its safetensors files alone (docs/checkpoints.md), with numpy.

  python3 tests/interop/proof_hash.py RUN/checkpoints/step-00001000

Compares it with the one in manifest.json. Shares no code with the program, and looks at nothing else of the manifest
than that and the shapes of the tensors. Exit status: 0 where they are equal, 1 where not.
"""
import json
import pathlib
import struct
import sys

import numpy as np

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
BITS = {"F64": "<u8", "I64": "<u8", "F32": "<u4", "I32": "<u4", "BF16": "<u2", "F16": "<u2", "U8": "u1", "F8_E4M3": "u1",
        "F8_E5M2": "u1"}


def key(number, name):
    """SplitMix64's last steps on the number and the name's 64-bit FNV-1a."""
    fnv = 0xCBF29CE484222325
    for byte in name.encode():
        fnv = (fnv ^ byte) * 0x100000001B3 & MASK
    z = (number + 1) * GOLDEN & MASK ^ fnv
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def sum_of(name, index, bits):
    """The sum modulo 2^128 over elements: `index` in the whole tensor, `bits` as unsigned numbers."""
    u = np.uint64
    x = (u(key(0, name)) + index.astype(u) * u(GOLDEN)) ^ bits.astype(u)
    x = x * u(0xBF58476D1CE4E5B9)
    x ^= x >> u(32)
    x = x * u(0x94D049BB133111EB)
    x ^= x >> u(29)
    y = x + u(key(1, name))
    y = (y ^ (y >> u(31))) * u(0xD6E8FEB86659FD93)
    low = int((x & u(0xFFFFFFFF)).sum(dtype=u)) + (int((x >> u(32)).sum(dtype=u)) << 32)
    return (low + (int(y.sum(dtype=u)) << 64)) % (1 << 128)


def indices(shape, offset, extent):
    """Of the elements of a box, row-major in the whole tensor."""
    index = np.zeros((1,) * len(shape), np.uint64)
    stride = 1
    for d in reversed(range(len(shape))):
        along = (np.arange(extent[d], dtype=np.uint64) + np.uint64(offset[d])) * np.uint64(stride)
        index = index + along.reshape([-1 if i == d else 1 for i in range(len(shape))])
        stride *= shape[d]
    return index.reshape(-1)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    manifest = json.loads((folder / "manifest.json").read_text())
    np.seterr(over="ignore")
    total, elements = 0, 0
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8:8 + length])
        offsets = json.loads(header.pop("__metadata__")["DCP_SHARDING_INFO"])
        for name, entry in header.items():
            begin, end = (8 + length + x for x in entry["data_offsets"])
            bits = np.frombuffer(data[begin:end], BITS[entry["dtype"]])
            index = indices(manifest["tensors"][name]["shape"], offsets[name]["saved_offsets"], entry["shape"])
            total += sum_of(name, index, bits)
            elements += bits.size
    proof = f"{total % (1 << 128):032x}"
    print(f"{elements} elements, proof hash {proof}, manifest.json {manifest['proof']}")
    sys.exit(proof != manifest["proof"])


if __name__ == "__main__":
    main()
