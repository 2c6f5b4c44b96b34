"""Same layout: a run that is killed after any step and resumed ends bit for bit like one that was not.

The product of precisions, batches, optimizers, ways to save and what a number of ranks can be made of. In the whole tier each is
killed after the first step, goes on, is killed after the second, and so on to the last but one: what a resume changed would stay.
"""
import itertools
import re

from runs import MIXTURE, expect, expect_equal_runs

STEPS = 20
PRECISIONS = [[], ["--train.precision", "bf16"], ["--train.precision", "bf16", "--train.master", "none"],
              ["--train.precision", "fp16", "--train.loss-scale-interval", "3"]]
BATCHES = [["--train.micro-batch", "1", "--train.global-batch", "6"], ["--train.micro-batch", "3", "--train.global-batch", "6"]]
OPTIMIZERS = [[], ["--optimizer.kind", "muon"]]
SAVES = [[], ["--checkpoint.async", "off"]]
QUANTIZED = ["--qat.weights", "int4", "--qat.group", "0", "--qat.scales", "learned", "--qat.start-step", "4"]
PRUNED = ["--prune.sparsity", "50%", "--prune.start-step", "2", "--prune.end-step", "14", "--prune.every", "4"]
EXITS = ["--model.exits", "1", "--exit.dropout", "0.5"]
ALONE = [(1, []), (1, MIXTURE), (1, QUANTIZED), (1, PRUNED), (1, EXITS)]
OF_RANKS = [
    (2, []), (2, ["--zero", "1"]), (2, ["--zero", "2"]), (2, ["--zero", "3"]), (2, ["--tp", "2"]), (2, ["--cp", "2"]),
    (2, ["--pp", "2", "--parallel.schedule", "gpipe"]), (2, ["--pp", "2", "--parallel.schedule", "1f1b"]),
    (2, ["--pp", "2", "--parallel.schedule", "interleaved", "--parallel.virtual-stages", "2", "--model.layers", "4"]),
    (2, ["--pp", "2", "--parallel.schedule", "zb-h1"]), (2, [*MIXTURE, "--ep", "2", "--zero", "1"]),
    (2, [*QUANTIZED, "--zero", "3"]), (2, [*PRUNED, "--zero", "2"]), (2, [*EXITS, "--pp", "2", "--parallel.schedule", "1f1b"]),
    (3, ["--zero", "2"]), (4, ["--pp", "2", "--zero", "1"]),
]
# Several epochs of a small part of the text.
EVERY_STEP = ["--checkpoint.every", "1", "--checkpoint.keep", "2", "--data.valid-fraction", "0.95"]


def product(layouts):
    """(ranks, options) of all cases. A step has a row of samples for every rank, or an optimizer that cannot be refuses it."""
    found = []
    for (ranks, layout), precision, batch, optimizer, saves in itertools.product(layouts, PRECISIONS, BATCHES, OPTIMIZERS, SAVES):
        data_ranks = 1 if "--zero" not in layout and layout and layout is not MIXTURE else ranks
        if batch is BATCHES[1] and (data_ranks == 3 or "--pp" in layout):
            batch = ["--train.micro-batch", "1", "--train.global-batch", "12"]
        found.append((ranks, [*batch, *layout, *precision, *optimizer, *saves, *EVERY_STEP]))
    return found


def run_case(bench, ranks, options, stops):
    """The run without a stop, and the one that is killed after each of `stops`: they are the same. True: it was resumed."""
    for name in ("whole", "killed"):
        bench.remove(name)
    bench.run(ranks, [*options, "--run.dir", "whole"])
    killed = [*options, "--run.dir", "killed", "--resume", "auto"]
    for step in stops:
        expect(bench.run_and_kill(ranks, killed, step) != 0, f"was not killed after step {step}: {bench.printed()[-2000:]}")
    printed = bench.run(ranks, killed)
    # A save is begun behind the metrics of its step, and waits for the one before it.
    promised = stops[-1] - (1 if "--checkpoint.async" in options else 2)
    found = re.search(r"resumed from killed/checkpoints/step-(\d+)", printed)
    expect(promised < 1 or found and int(found[1]) >= promised, f"not from step {promised}: {printed[-2000:]}")
    expect_equal_runs(bench.path("whole"), bench.path("killed"), STEPS)
    return found is not None


def run_kind(bench, cases, layouts, drawn):
    chosen = cases.choose(product(layouts), drawn)
    num_kills = num_resumed = 0
    for ranks, options in chosen:
        stops = range(1, STEPS) if cases.whole else [cases.draw.randrange(1, STEPS)]
        num_kills += len(stops)
        try:
            num_resumed += run_case(bench, ranks, options, stops)
        except Exception:
            print(f"{ranks} x {' '.join(options)}, killed after {list(stops)}")
            raise
    expect(num_resumed > len(chosen) // 2, f"{num_resumed} of {len(chosen)} runs were resumed")
    print(f"{len(chosen)} runs were killed {num_kills} times, and {num_resumed} resumed")


def run_alone(bench, cases):
    run_kind(bench, cases, ALONE, 7)


def run_ranks(bench, cases):
    run_kind(bench, cases, OF_RANKS, 5)
