#!/usr/bin/env python3
"""Which architecture for how much: small models of each kind trained on the same tokens of one text (docs/architectures.md).

    bible -f gen1:1-rev22:21 </dev/null >data/kjv.txt     # as launch/quickstart.sh makes it
    python3 tests/bench/architectures.py build/trireme --text data/kjv.txt --folder runs/architectures [--part train|speed|table]
        [--kinds 'dense;shared'] [--seeds 1,2,3] [--steps 256] [--turns 5]

Each kind and seed is a run below --folder whose figures are a JSON file in --folder/cells as soon as it is through; the same command
goes on with those that are missing. A seed draws the first weights and the order of samples. Speed is measured apart (--part speed),
all kinds in turns, when nobody trains: processor time of greedy texts less that of texts of one token, so that other programs of the
machine hardly count; memory is the largest resident one of the same process. --part table prints Markdown. All on one thread of the CPU.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

LLAMA = {"model.family": "llama", "model.layers": 6, "model.hidden": 128, "model.heads": 4, "model.ffn": 344,
         "model.max-positions": 2048}
TRAINING = {"data.tokenizer": "bpe", "data.bpe-vocab": 1024, "data.valid-fraction": 0.05, "train.seq-len": 256, "train.micro-batch": 8,
            "train.sample-tokens": 0, "train.eval-batches": 0, "train.eval-every": 0, "optimizer.lr": 3e-3, "optimizer.min-lr": 3e-4,
            "optimizer.warmup": 20, "run.threads": 1, "checkpoint.keep": 1, "run.device": "cpu"}
# Options over LLAMA's, and how texts are generated beside the usual way.
KINDS = {
    "dense": ({}, []),
    "mixture": ({"moe.experts": 8, "moe.top-k": 2, "moe.ffn": 172}, []),
    "shared": ({"model.share": "pairs"}, []),
    "shared, twice as deep": ({"model.layers": 12, "model.share": "pairs"}, []),
    "windowed": ({"model.window": 32, "model.window-pattern": 3}, []),
    "window with sinks": ({"model.patterns": "window=32 sinks=4"}, []),
    "early exit": ({"model.exits": "2,4", "exit.dropout": 0.1}, ["--speculate", 6, "--draft-model", "self"]),
    "deep and thin": ({"model.layers": 12, "model.hidden": 96, "model.kv-heads": 2, "model.ffn": 256}, []),
    "convolution": ({"model.convolution": 4}, []),
    "bottleneck": ({"model.layers": 8, "model.hidden": 192, "model.ffn": 128, "model.bottleneck": 64}, []),
}
FIRST_PROMPT = "Ge1:1 In the beginning God created the heaven and the earth."


def words_of(options):
    return [word for key, value in options.items() for word in (f"--{key}", str(value))]


def processor_seconds(command):
    """Output, processor time and largest resident bytes of a program."""
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        said = running.stdout.read()
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {running.returncode}\n{said[-3000:]}")
    return said, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def parameters_of(file):
    """Numbers in a safetensors file."""
    with open(file, "rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    count = 0
    for name, tensor in header.items():
        size = 1
        for n in tensor.get("shape", [0]) if name != "__metadata__" else [0]:
            size *= n
        count += size
    return count


class Table:
    def __init__(self, arguments):
        self.arguments = arguments
        self.folder = pathlib.Path(arguments.folder)
        (self.folder / "cells").mkdir(parents=True, exist_ok=True)
        self.seeds = [int(seed) for seed in arguments.seeds.split(",")]
        self.kinds = [kind for kind in KINDS if arguments.kinds in ("", kind) or kind in arguments.kinds.split(";")]
        if not self.kinds:
            sys.exit(f"--kinds {arguments.kinds}: kinds are {'; '.join(KINDS)}")

    def run_of(self, kind, seed):
        return self.folder / f"{kind.replace(', ', '-').replace(' ', '-')}-{seed}"

    def cell(self, kind, seed):
        return self.folder / "cells" / f"{self.run_of(kind, seed).name}.json"

    def speed_file(self, kind):
        return self.folder / "cells" / f"speed-{self.run_of(kind, 0).name[:-2]}.json"

    def train(self):
        for seed in self.seeds:
            for kind in self.kinds:
                if self.cell(kind, seed).exists():
                    continue
                found = self.train_one(kind, seed)
                self.cell(kind, seed).write_text(json.dumps(found, indent=1) + "\n")
                print(f"{kind}, seed {seed}: {found['loss']:.4f} nats, {found['processor_seconds']:.0f} s", file=sys.stderr, flush=True)

    def train_one(self, kind, seed):
        run = self.run_of(kind, seed)
        # All have the tokenizer of the first: equal tokens.
        tokenizer = self.folder / "tokenizer.json"
        own = {"data.tokenizer": tokenizer} if tokenizer.exists() else {}
        options = {**LLAMA, **TRAINING, **KINDS[kind][0], **own, "data.text": self.arguments.text, "train.steps": self.arguments.steps,
                   "train.seed": seed, "run.dir": run}
        if own:
            del options["data.bpe-vocab"]
        shutil.rmtree(run, ignore_errors=True)  # of an attempt that was interrupted, whose time nobody counted
        begin = time.time()
        _, seconds, _ = processor_seconds([self.arguments.program, "train", *words_of(options)])
        if not own:
            tokenizer.write_bytes((run / "tokenizer.json").read_bytes())
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        last = [line for line in lines if "val_loss" in line][-1]
        steady = lines[len(lines) // 2:]
        return {"kind": kind, "seed": seed, "loss": last["val_loss"], "tokens": last["tokens"],
                "parameters": parameters_of(run / "model.safetensors"), "bytes": os.path.getsize(run / "model.safetensors"),
                "flops_per_token": statistics.median(line["tflops"] * 1e12 / line["tok_s"] for line in steady),
                "training_bytes": max(line.get("mem_bytes", 0) for line in lines), "processor_seconds": seconds, "seconds": time.time() - begin}

    def generate(self, kind, seed, tokens):
        command = [self.arguments.program, "generate", self.run_of(kind, seed), FIRST_PROMPT, "--ignore-end", "--quiet", "--threads", 1,
                   "--device", "cpu", "--max-tokens", tokens, *KINDS[kind][1]]
        _, seconds, most = processor_seconds(command)
        return seconds, most

    def speed(self):
        seed, tokens = self.seeds[0], self.arguments.tokens
        kinds = [kind for kind in self.kinds if self.cell(kind, seed).exists()]
        rates, memory = {kind: [] for kind in kinds}, {}
        for turn in range(self.arguments.turns):
            for kind in kinds if turn % 2 == 0 else reversed(kinds):
                begin, _ = self.generate(kind, seed, 1)
                seconds, memory[kind] = self.generate(kind, seed, tokens)
                rates[kind].append((tokens - 1) / max(seconds - begin, 1e-9))
        for kind in kinds:
            found = {"kind": kind, "tokens_per_processor_second": rates[kind], "resident_bytes": memory[kind]}
            self.speed_file(kind).write_text(json.dumps(found, indent=1) + "\n")
            print(f"{kind}: {statistics.median(rates[kind]):.0f} tokens/s, {memory[kind] / 2**20:.1f} MiB", file=sys.stderr, flush=True)

    def table(self):
        print("| kind | validation loss, nats a token | parameters | file, MB | tokens/s | memory of generate, MiB | MFLOP a token in training "
              "| memory of training, MiB | processor s of training |\n|---|---|---|---|---|---|---|---|---|")
        for kind in self.kinds:
            cells = [json.loads(self.cell(kind, seed).read_text()) for seed in self.seeds if self.cell(kind, seed).exists()]
            if not cells:
                continue
            losses = [cell["loss"] for cell in cells]
            spread = f" ± {statistics.stdev(losses):.4f}" if len(losses) > 1 else ""
            speed, memory = "", ""
            if self.speed_file(kind).exists():
                found = json.loads(self.speed_file(kind).read_text())
                rates = found["tokens_per_processor_second"]
                speed = f"{statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})"
                memory = f"{found['resident_bytes'] / 2**20:.0f}"
            first = cells[0]
            seconds = statistics.median(cell["processor_seconds"] for cell in cells)
            print(f"| {kind} | {statistics.mean(losses):.4f}{spread} ({len(losses)}) | {first['parameters']:,} | {first['bytes'] / 1e6:.2f} | {speed} "
                  f"| {memory} | {first['flops_per_token'] / 1e6:.1f} | {first['training_bytes'] / 2**20:.0f} | {seconds:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--text", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--part", choices=("train", "speed", "table", "all"), default="all")
    parser.add_argument("--kinds", default="", help="some of them, with ; between")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=1500, help="of a text whose speed is measured, beyond the length of the training")
    arguments = parser.parse_args()
    table = Table(arguments)
    for part in ("train", "speed", "table"):
        if arguments.part in (part, "all"):
            getattr(table, part)()


if __name__ == "__main__":
    main()
