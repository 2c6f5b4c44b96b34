#!/usr/bin/env python3
"""Opens a checkpoint with PyTorch's reader of sharded safetensors, as it is, and compares every tensor.

  python3 -m venv venv && venv/bin/pip install torch safetensors numpy
  venv/bin/python tests/interop/open_checkpoint.py RUN/checkpoints/step-00001000

torch.distributed.checkpoint's HuggingFaceStorageReader (torch 2.9 or later) loads all tensors whole; what it gives is
compared, bit for bit, with the parts put together by the header of each file.
Exit status: 0 where all are equal.
"""
import json
import pathlib
import struct
import sys

import torch
from torch.distributed.checkpoint import HuggingFaceStorageReader, load

TYPES = {"F64": torch.float64, "I64": torch.int64, "F32": torch.float32, "I32": torch.int32, "BF16": torch.bfloat16,
         "F16": torch.float16, "U8": torch.uint8, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}


def put_together(folder, shapes):
    """Each tensor by the bytes of its parts."""
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8:8 + length])
        offsets = json.loads(header.pop("__metadata__")["DCP_SHARDING_INFO"])
        for name, entry in header.items():
            begin, end = (8 + length + x for x in entry["data_offsets"])
            part = torch.frombuffer(bytearray(data[begin:end]), dtype=TYPES[entry["dtype"]]).reshape(entry["shape"])
            whole = tensors.setdefault(name, torch.zeros(shapes[name], dtype=part.dtype))
            place = tuple(slice(o, o + n) for o, n in zip(offsets[name]["saved_offsets"], entry["shape"]))
            whole[place] = part
    return tensors


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    shapes = {name: t["shape"] for name, t in json.loads((folder / "manifest.json").read_text())["tensors"].items()}
    expected = put_together(folder, shapes)
    reader = HuggingFaceStorageReader(str(folder))
    metadata = reader.read_metadata().state_dict_metadata
    wrong = [f"{name}: PyTorch sees {tuple(metadata[name].size) if name in metadata else 'nothing'}, not {tuple(shape)}"
             for name, shape in shapes.items() if name not in metadata or list(metadata[name].size) != shape]
    loaded = {name: torch.zeros(shape, dtype=expected[name].dtype) for name, shape in shapes.items()}
    load(loaded, storage_reader=reader, no_dist=True)
    bits = lambda t: t.contiguous().view(torch.uint8) if t.dim() else t.reshape(1).view(torch.uint8)
    wrong += [f"{name} differs" for name in shapes if not torch.equal(bits(loaded[name]), bits(expected[name]))]
    print(f"torch {torch.__version__}: {len(shapes)} tensors in {len(list(folder.glob('*.safetensors')))} files, "
          f"{sum(len(m.chunks) for m in metadata.values())} parts; {len(wrong)} wrong")
    for line in wrong[:20]:
        print("  " + line)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
