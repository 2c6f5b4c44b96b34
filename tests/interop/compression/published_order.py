#!/usr/bin/env python3
"""The published order of methods on models that were trained here: GPTQ and AWQ lose less than rounding to nearest, SmoothQuant less
than nearest with 8-bit activations, and training through the rounding (QAT) wins back at least half of what it lost.

    python3 tests/interop/compression/published_order.py build/trireme --calibration TRAIN.txt --text HELD_OUT.txt RUN...
        [--methods NAME,...] [--qat-steps 0] [--samples 64] [--tokens 16384] [--table FILE.md] [--threads N] [--small]

Each RUN is a run directory of one model with another seed (or one published model). A Markdown table is printed: the rise of the
perplexity over the base's, mean and sample standard deviation over the runs, and the KL divergence, by which the order is judged.
Exit status 1 where it does not hold (with `--small`, for models that are hardly trained: where a command fails).
"""
import argparse
import dataclasses
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile


@dataclasses.dataclass
class Row:
    name: str
    options: list
    activations: str = "exact"


def int4(group, method, clips, **more):
    options = ["--method", method, "--weights", "int4", "--group", group, "--clips", clips]
    for key, value in more.items():
        options += [f"--{key}", value]
    return options


ROWS = {
    **{f"{name}-{label}": Row(f"int4 {text}, {title}", int4(group, method, clips))
       for group, label, text in ((0, "channel", "per channel"), (64, "64", "in groups of 64"))
       for name, title, method, clips in (
           ("nearest", "nearest", "nearest", "off"), ("gptq", "GPTQ", "gptq", "off"), ("awq", "AWQ, scales alone", "awq", "off"),
           ("awq-clips", "AWQ", "awq", "on"), ("awq-gptq", "AWQ scales, GPTQ", "awq+gptq", "off"))},
    "nearest-w8a8": Row("int8 weights per channel, activations per token, nearest", ["--method", "nearest", "--weights", "int8", "--group", "0"],
                        "int8-rows"),
    "smoothquant-w8a8": Row("int8 weights per channel, activations per token, SmoothQuant",
                            ["--method", "smoothquant", "--weights", "int8", "--group", "0"], "int8-rows"),
}
# (better, worse): of the mean divergences over all runs.
ORDER = [(f"{better}-{group}", f"nearest-{group}") for group in ("channel", "64") for better in ("gptq", "awq-clips", "awq-gptq")]
ORDER += [("smoothquant-w8a8", "nearest-w8a8")]
QAT_FORMAT = ["--qat.weights", "int4", "--qat.group", "0", "--qat.activations", "exact"]


class Study:
    def __init__(self, arguments, folder):
        self.arguments, self.folder = arguments, folder

    def call(self, *command):
        done = subprocess.run([self.arguments.program, *map(str, command)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def compressed(self, run, row):
        """Figures of the base and of the step."""
        a, out = self.arguments, self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        self.call("compress", run, "--out", out, *row.options, "--activations", row.activations, "--calibration.text", a.calibration,
                  "--calibration.samples", a.samples, "--calibration.seq-len", a.length, "--eval.text", a.text, "--eval.tokens",
                  a.tokens, "--eval.seq-len", a.length, "--eval.decode-tokens", 4, "--threads", a.threads)
        report = json.loads((out / "compression.json").read_text())
        return report["base"], report["steps"][0]["figures"]

    def trained(self, run, name, options):
        """Perplexity after some steps more from the weights of `run`; with the options of QAT of the rounded model."""
        a, directory = self.arguments, self.folder / name
        shutil.rmtree(directory, ignore_errors=True)
        self.call("train", "--init-from", run, "--data.text", a.calibration, "--data.tokenizer", pathlib.Path(run) / "tokenizer.json",
                  "--train.seq-len", a.length, "--train.micro-batch", 8, "--train.steps", a.qat_steps, "--train.sample-tokens", 0,
                  "--optimizer.lr", a.qat_lr, "--optimizer.warmup", max(1, a.qat_steps // 10), "--run.threads", a.threads,
                  "--checkpoint.keep", 1, "--run.dir", directory, *options)
        found = json.loads(self.call("evaluate", directory, "--text", self.evaluated(), "--seq-len", a.length, "--activations",
                                     "exact" if options else "auto", "--threads", a.threads, "--json"))
        return perplexity_of(found)

    def evaluated(self):
        """As much of the text as compress measures on, in bytes: about."""
        cut = self.folder / "evaluated.txt"
        if not cut.exists():
            text = pathlib.Path(self.arguments.text).read_text()
            cut.write_text(text[:self.arguments.tokens * 3])
        return cut


def perplexity_of(report):
    """Of `trireme evaluate --json`, wherever it stands."""
    if isinstance(report, dict):
        if isinstance(report.get("perplexity"), (int, float)):
            return report["perplexity"]
        report = list(report.values())
    for value in report if isinstance(report, list) else []:
        found = perplexity_of(value)
        if found is not None:
            return found
    return None


def spread(values):
    mean = statistics.fmean(values)
    return f"{mean:.2f} ± {statistics.stdev(values):.2f}" if len(values) > 1 else f"{mean:.2f}"


def rises(figures, bases):
    return [100 * (f["perplexity"] / b["perplexity"] - 1) for f, b in zip(figures, bases, strict=True)]


def table_of(results):
    lines = ["| format, method | perplexity rises by, % | KL, nats a token | same top token, % | of fp32's bytes |",
             "|---|---|---|---|---|"]
    bases = [base for base, _ in next(iter(results.values()))]
    lines.append(f"| fp32 (perplexity {spread([b['perplexity'] for b in bases])}) | 0 | 0 | 100 | 1 |")
    for key, found in results.items():
        figures = [figure for _, figure in found]
        size = statistics.fmean(f["bytes"] / b["bytes"] for b, f in found)
        lines.append(f"| {ROWS[key].name} | {spread(rises(figures, [b for b, _ in found]))} | "
                     f"{statistics.fmean(f['kl_divergence']['mean'] for f in figures):.3g} | "
                     f"{100 * statistics.fmean(f['same_top_token']['mean'] for f in figures):.1f} | {size:.3f} |")
    return lines


def qat_lines(study, runs):
    """What training through int4 per channel wins back, beside as many steps without rounding."""
    lines, shares = ["", "| run | fp32 | + steps | nearest | GPTQ | QAT | of nearest's loss won back |", "|---|---|---|---|---|---|---|"], []
    for run in runs:
        base = perplexity_of(json.loads(study.call("evaluate", run, "--text", study.evaluated(), "--seq-len", study.arguments.length,
                                                   "--threads", study.arguments.threads, "--json")))
        rise = {}
        for key in ("nearest-channel", "gptq-channel"):
            before, after = study.compressed(run, ROWS[key])
            rise[key] = after["perplexity"] / before["perplexity"]
        longer = study.trained(run, "longer", [])
        qat = study.trained(run, "qat", QAT_FORMAT)
        nearest = base * rise["nearest-channel"]
        # Steps help the base too: what is left of the loss counts from there.
        shares.append(1 - (qat - min(base, longer)) / (nearest - base))
        lines.append(f"| {pathlib.Path(run).name} | {base:.3f} | {longer:.3f} | {nearest:.3f} | {base * rise['gptq-channel']:.3f} | "
                     f"{qat:.3f} | {100 * shares[-1]:.0f} % |")
    return lines, shares


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--methods", default=",".join(ROWS))
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--qat-steps", type=int, default=0)
    parser.add_argument("--qat-lr", default="3e-4")
    parser.add_argument("--table")
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    arguments.program = str(pathlib.Path(arguments.program).resolve())
    wrong, results = [], {}
    with tempfile.TemporaryDirectory() as folder:
        study = Study(arguments, pathlib.Path(folder))
        for key in filter(None, arguments.methods.split(",")):
            results[key] = [study.compressed(run, ROWS[key]) for run in arguments.runs]
            rise = rises([f for _, f in results[key]], [b for b, _ in results[key]])
            print(f"{ROWS[key].name}: {' '.join(f'{r:+.2f} %' for r in rise)}", file=sys.stderr, flush=True)
        lines = table_of(results) if results else []
        # The divergence is what a method loses with far less noise than the perplexity, which may also fall by chance.
        mean = {key: statistics.fmean(f["kl_divergence"]["mean"] for _, f in found) for key, found in results.items()}
        wrong += [f"{better} loses more ({mean[better]:.4g} nats) than {worse} ({mean[worse]:.4g})"
                  for better, worse in ORDER if better in mean and worse in mean and not mean[better] < mean[worse]]
        if arguments.qat_steps:
            more, shares = qat_lines(study, arguments.runs)
            lines += more
            wrong += [f"QAT wins back {100 * share:.0f} % alone" for share in shares if not share >= 0.5]
    print("\n".join(lines))
    if arguments.table:
        pathlib.Path(arguments.table).write_text("\n".join(lines) + "\n")
    for text in wrong:
        print(text, file=sys.stderr)
    return 1 if wrong and not arguments.small else 0


if __name__ == "__main__":
    sys.exit(main())
