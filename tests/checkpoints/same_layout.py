"""Same layout: a run that is killed after any step and resumed ends bit for bit like one that was not."""
import random

from runs import MIXTURE, expect, expect_equal_runs

BATCH = ["--train.micro-batch", "1", "--train.global-batch", "4"]
CASES = {
    "fp32": (1, BATCH),
    "fp32-sync": (1, [*BATCH, "--checkpoint.async", "off"]),
    "bf16": (1, [*BATCH, "--train.precision", "bf16"]),
    "bf16-no-masters": (1, [*BATCH, "--train.precision", "bf16", "--train.master", "none"]),
    "fp16": (1, [*BATCH, "--train.precision", "fp16", "--train.loss-scale-interval", "3"]),
    "muon": (1, [*BATCH, "--optimizer.kind", "muon"]),
    "mixture": (1, [*BATCH, *MIXTURE]),
    "zero0": (2, BATCH),
    "zero1-bf16": (2, [*BATCH, "--zero", "1", "--train.precision", "bf16"]),
    "zero2": (2, [*BATCH, "--zero", "2"]),
    "zero3-bf16": (2, [*BATCH, "--zero", "3", "--train.precision", "bf16"]),
    "zero1-muon": (2, [*BATCH, "--zero", "1", "--optimizer.kind", "muon"]),
    "tensor": (2, [*BATCH, "--tp", "2"]),
    "context": (2, [*BATCH, "--cp", "2"]),
    "pipeline": (2, [*BATCH, "--pp", "2", "--parallel.schedule", "1f1b"]),
    "zero-bubble": (2, [*BATCH, "--pp", "2", "--parallel.schedule", "zb-h1", "--train.precision", "bf16"]),
    "experts": (2, [*BATCH, *MIXTURE, "--ep", "2", "--zero", "1"]),
    "three": (3, ["--train.micro-batch", "1", "--train.global-batch", "6", "--zero", "2"]),
}
SAVES = ["--checkpoint.every", "1", "--checkpoint.keep", "2"]


def run_kind(bench, seed, whole, names, count):
    draw = random.Random(seed)
    chosen = [(name, step) for name in names for step in range(1, 20)] if whole else [
        (name, draw.randrange(1, 20)) for name in draw.sample(names, count)]
    reference = None
    for name, step in chosen:
        ranks, options = CASES[name]
        if reference != name:
            bench.remove("whole")
            bench.run(ranks, [*options, *SAVES, "--run.dir", "whole"])
            reference = name
        bench.remove("killed")
        killed = [*options, *SAVES, "--run.dir", "killed", "--resume", "auto"]
        bench.run_and_kill(ranks, killed, step)
        printed = bench.run(ranks, killed)
        expect("resumed from" in printed or "is neither a checkpoint" in printed or "are done" in printed, printed[-2000:])
        try:
            expect_equal_runs(bench.path("whole"), bench.path("killed"), 20)
        except Exception:
            print(f"case {name}, killed after step {step}")
            raise
    print(f"{len(chosen)} runs were killed and resumed")


def run_alone(bench, seed, whole):
    run_kind(bench, seed, whole, [name for name, case in CASES.items() if case[0] == 1], 7)


def run_ranks(bench, seed, whole):
    run_kind(bench, seed, whole, [name for name, case in CASES.items() if case[0] > 1], 5)
