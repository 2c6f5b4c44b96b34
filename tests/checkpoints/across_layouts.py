"""Across layouts: any layout goes on from the checkpoint of any other, with the same proof hash and the same losses."""
import json
import os
import re

from runs import MIXTURE, SAVED, expect, expect_close_runs, manifest, metrics

BATCH = ["--train.micro-batch", "1", "--train.global-batch", "12", "--train.steps", "6", "--train.log-every", "1"]
LAYOUTS = [
    (1, []), (2, ["--zero", "1"]), (2, ["--tp", "2", "--parallel.sequence", "on"]), (2, ["--pp", "2"]),
    (2, ["--cp", "2", "--zero", "2"]), (3, ["--zero", "3"]), (4, ["--zero", "1", "--parallel.shard", "2"]),
    (4, ["--tp", "2", "--zero", "2"]), (4, ["--pp", "2", "--zero", "1", "--parallel.schedule", "zb-h1"]),
    (4, ["--tp", "2", "--pp", "2"]), (8, ["--tp", "2", "--pp", "2", "--zero", "1"]), (8, ["--zero", "3", "--cp", "2"]),
]
# Of mixtures these divide experts too, or their width.
OF_EXPERTS = {1: ["--ep", "2"], 2: ["--ep", "2", "--parallel.expert-tensor", "1"], 6: ["--ep", "4"],
              7: ["--ep", "2", "--parallel.expert-tensor", "2"], 8: ["--ep", "2"]}


def layout(number, mixture):
    ranks, options = LAYOUTS[number]
    if mixture:
        options = [x for x in options if x not in ("--parallel.sequence", "on")] + OF_EXPERTS.get(number, [])
    return ranks, options


def proofs(printed):
    return re.findall(r"proof (?:hash )?([0-9a-f]{32})", printed)


def run_pairs(bench, pairs, mixture):
    model = MIXTURE if mixture else []
    bench.remove("one")
    bench.run(1, [*BATCH, *model, "--run.dir", "one"])
    saved = None
    for source, target in sorted(pairs):
        try:
            if saved != source:
                bench.remove("saved")
                ranks, options = layout(source, mixture)
                bench.run(ranks, [*BATCH, *model, *options, "--run.dir", "saved", "--train.stop-after", "3"], SAVED)
                saved = source
            bench.copy("saved", "resumed")
            ranks, options = layout(target, mixture)
            printed = bench.run(ranks, [*BATCH, *model, *options, "--run.dir", "resumed", "--resume", "must"])
            proof = manifest(bench.path("saved"), 3)["proof"]
            expect(proofs(printed)[:1] == [proof], f"proof hash {proof} is not among {proofs(printed)}")
            expect_close_runs(bench.path("one"), bench.path("resumed"), 1e-5)
        except Exception:
            print(f"{'mixture' if mixture else 'dense'}: {layout(source, mixture)} to {layout(target, mixture)}")
            raise


def run_kind(bench, cases, mixture):
    pairs = [(a, b) for a in range(len(LAYOUTS)) for b in range(len(LAYOUTS)) if a != b]
    if not cases.whole:
        sources = cases.draw.sample(range(len(LAYOUTS)), 2)
        pairs = [pair for pair in pairs if pair[0] in sources]
    chosen = cases.choose(pairs, 6)
    run_pairs(bench, chosen, mixture)
    print(f"{len(chosen)} pairs of layouts")


def run_dense(bench, cases):
    run_kind(bench, cases, False)


def run_mixtures(bench, cases):
    run_kind(bench, cases, True)


def run_chain(bench, cases):
    """1, 2, 4, 8 and 3 ranks in one run: steps, tokens and losses are those of one rank that was never stopped.

    Layers share their weights, which Muon updates and which become zero by a schedule: a checkpoint has all of it once, whoever holds copies.
    """
    del cases
    batch = ["--train.micro-batch", "1", "--train.global-batch", "24", "--train.steps", "10", "--model.share", "1",
             "--optimizer.kind", "muon", "--prune.sparsity", "40%", "--prune.start-step", "1", "--prune.end-step", "9",
             "--prune.every", "2"]
    bench.run(1, [*batch, "--run.dir", "one"])
    stops = [(1, 2, []), (2, 4, ["--zero", "1"]), (4, 6, ["--tp", "2"]), (8, 8, ["--pp", "2", "--zero", "2"]), (3, 10, ["--zero", "3"])]
    for ranks, stop, options in stops:
        last = [] if stop == 10 else ["--train.stop-after", str(stop)]
        bench.run(ranks, [*batch, *options, *last, "--run.dir", "chain", "--resume", "auto"], 0 if stop == 10 else SAVED)
    expect_close_runs(bench.path("one"), bench.path("chain"), 1e-5)
    zeros = [[line.get("zeros") for line in metrics(bench.path(name))] for name in ("one", "chain")]
    expect(zeros[0] == zeros[1] and 0.399 < zeros[0][-1] < 0.401, f"zeros of one rank and of the chain: {zeros}")
    names = sorted(manifest(bench.path("chain"), 8)["tensors"])
    expect(any(name.startswith("optimizer.momentum.layers.0.") for name in names), f"no momentum among {names}")
    expect(not any("layers.1." in name for name in names), f"layers have no weights of their own, but {names}")
    configs = [f"config.{i}.ini" for i in range(1, 5)] + ["config.ini"]
    for name in configs:
        with open(bench.path("chain", name)) as config:
            expect("[model]" in config.read(), name)
    print("5 layouts of one run")


def contents(path):
    """The bytes of a file, or of all files of a directory by their names."""
    if os.path.isfile(path):
        with open(path, "rb") as file:
            return file.read()
    return {name: contents(os.path.join(path, name)) for name in sorted(os.listdir(path))}


def run_exports(bench, cases):
    """What is exported depends on the weights alone: from tp 2 x pp 2 and from the same state as one rank saves it, equal bytes."""
    del cases
    few = ["--train.micro-batch", "4", "--train.steps", "2", "--optimizer.warmup", "0", "--model.hidden", "32"]
    models = {"gpt2": [], "llama": ["--model.family", "llama", "--model.heads", "4", "--model.kv-heads", "2"],
              "mixture": ["--model.family", "llama", "--moe.experts", "4", "--moe.ffn", "24"]}
    for name, options in models.items():
        bench.run(4, [*few, *options, "--tp", "2", "--pp", "2", "--run.dir", name, "--checkpoint.every", "2"])
        run = bench.path(name)
        whole = bench.run_command([bench.program, "checkpoint", "consolidate", run, bench.path(name + "-whole")]).strip()
        for kind, dtype, more in (("hf", "fp32", []), ("hf", "bf16", ["--shard-size", "20000"]), ("gguf", "fp32", []),
                                  ("gguf", "q8_0", [])):
            made = []
            for source in (run, whole):
                out = bench.path(f"{name}-{dtype}-{len(made)}.{kind}")
                # Beside the whole checkpoint lies no run, whose name and tokenizer would be written.
                source_of = [] if source == run else ["--source", os.path.dirname(whole)]
                command = [bench.program, "checkpoint", "export", source, out, "--format", kind, "--dtype", dtype, *more]
                printed = bench.run_command([*command, *source_of])
                expect("read back: logits of 32 drawn tokens" in printed, printed)
                made.append(contents(out))
            if kind == "hf":
                weights = [{file: data for file, data in one.items() if not file.startswith(("tokenizer", "generation"))} for one in made]
                expect(weights[0] == weights[1], f"{name} as {kind} {dtype}: the layouts give other files")
                expect(("model.safetensors.index.json" in weights[0]) == bool(more), f"{sorted(weights[0])}")
                expect(json.loads(weights[0]["config.json"])["vocab_size"] == 257, "vocabulary")
                expect("tokenizer.json" in made[0], f"{sorted(made[0])}")
            else:
                # Of GGUF files that differ in metadata alone the tensors lie at the end.
                size = min(map(len, made)) // 2
                expect(made[0][-size:] == made[1][-size:], f"{name} as {kind} {dtype}: the layouts give other tensors")
    print(f"{len(models)} models in both formats")
