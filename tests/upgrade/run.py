#!/usr/bin/env python3
"""What version 0.1 left before checkpoints (config.ini, model.safetensors, scripts) serves today as docs/upgrade.md says.

Usage: run.py TRIREME
"""
import json
import math
import os
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
# What 0.1 said of the first weights of dense.ini after weights_of(), and what its lines of metrics.jsonl had.
VAL_LOSS = 5.644660942256451
KEYS = {"step", "time", "tokens", "loss", "grad_norm", "lr", "step_ms", "comm_wait_ms", "tok_s", "tflops", "mfu", "mfu_sure", "peak_tflops",
        "mem_bytes", "reserved_bytes", "loss_scale", "skips"}
FORMER_NAMES = {"model.load": "model.init-from"}


def fail(why):
    sys.exit(f"upgrade: {why}")


def run(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        fail(f"exit {done.returncode} of {' '.join(map(str, arguments))}:\n{done.stdout}{done.stderr}")
    return done.stdout


def weights_of():
    """The tensors of dense.ini's model by the names of 0.1, with numbers that have no pattern a layer could miss."""
    hidden, ffn = 32, 128
    shapes = {"embedding.tokens.weight": [257, hidden], "embedding.positions.weight": [16, hidden]}
    for i in range(2):
        at = f"layers.{i}."
        for name in ("attention.query", "attention.key", "attention.value", "attention.output"):
            shapes |= {f"{at}{name}.weight": [hidden, hidden], f"{at}{name}.bias": [hidden]}
        shapes |= {f"{at}ffn.up.weight": [ffn, hidden], f"{at}ffn.up.bias": [ffn], f"{at}ffn.down.weight": [hidden, ffn],
                   f"{at}ffn.down.bias": [hidden]}
        for name in ("attention_norm", "ffn_norm"):
            shapes |= {f"{at}{name}.gain": [hidden], f"{at}{name}.bias": [hidden]}
    shapes |= {"final_norm.gain": [hidden], "final_norm.bias": [hidden]}
    tensors, count = {}, 0
    for name, shape in shapes.items():
        numel = math.prod(shape)
        tensors[name] = (shape, [(1.0 if name.endswith("gain") else 0.0) + 0.1 * math.sin(0.7 * (count + i) ** 1.1) for i in range(numel)])
        count += numel
    return tensors


def write_weights(path):
    header, data = {"__metadata__": {"format": "trireme"}}, b""
    for name, (shape, values) in weights_of().items():
        begin = len(data)
        data += struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def keys_of(ini):
    section, keys = "", set()
    for line in ini.splitlines():
        if match := re.match(r"\[(\w+)\]", line):
            section = match[1]
        elif match := re.match(r"([\w-]+) =", line):
            keys.add(f"{section}.{match[1]}")
    return keys


def former_names(program, folder):
    for former, now in FORMER_NAMES.items():
        section, name = former.split(".")
        ini = folder / "former.ini"
        ini.write_text(f"[data]\ntext = {folder}/t.txt\n[{section}]\n{name} = {folder}/w.safetensors\n")
        for given, said in ((["--config", ini], f"former.ini:4: {former} is the former name of {now}"),
                            (["--data.text", folder / "t.txt", f"--{former}", folder / "w.safetensors"],
                             f"command line: --{former} is the former name of --{now}")):
            out = run(program, "train", "--dry-run", *given)
            if said not in out or "warning: " not in out:
                fail(f"no warning '{said}' in\n{out}")
            keys = keys_of(out[out.index("[model]"):])
            if now not in keys or former in keys:
                fail(f"config.ini has not {now} in place of {former}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = str(Path(sys.argv[1]).resolve())
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "t.txt").write_text("In the beginning God created the heaven and the earth.\n" * 60)
        write_weights(folder / "w.safetensors")
        for ini in ("dense.ini", "mixture.ini"):
            text = (HERE / ini).read_text().replace("@FOLDER@", str(folder))
            (folder / ini).write_text(text)
            out = run(program, "train", "--config", folder / ini, "--dry-run")
            expected = {FORMER_NAMES.get(key, key) for key in keys_of(text)}
            if missing := expected - keys_of(out[out.index("[model]"):]):
                fail(f"{ini}: options that are none any more: {missing}")
        run(program, "train", "--config", folder / "dense.ini", "--model.load", folder / "w.safetensors", "--run.dir", folder / "run")
        lines = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
        if abs(lines[0]["val_loss"] - VAL_LOSS) > 1e-5 * VAL_LOSS:
            fail(f"the weights of 0.1 have a loss of {lines[0]['val_loss']}, with 0.1 it was {VAL_LOSS}")
        if missing := KEYS - set(lines[1]):
            fail(f"metrics.jsonl has no {missing}")
        former_names(program, folder)
    print("upgrade: what 0.1 left serves")


if __name__ == "__main__":
    main()
