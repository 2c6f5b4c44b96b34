#!/usr/bin/env python3
"""Validation loss after equal steps: Muon beside AdamW, each with the best of its learning rates, over several seeds.

  muon_versus_adamw.py BUILD/trireme TEXT [--steps 300] [--seeds 3] [--rates 5] [--out FOLDER] [-- OPTION-OF-TRAIN...]

TEXT is trained on with a byte-level BPE tokenizer, its last tenth is evaluated. Rates are powers of two around those
that suit a model this small. Runs that are there already (FOLDER/NAME/metrics.jsonl with a last evaluation) are not made again.
Prints a table: for each rate the mean, least and largest final loss of all seeds; and the best of both with their spread.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

USUAL_RATE = {"adamw": 4e-3, "muon": 8e-3}  # of models this small
MODEL = ["--model.layers", "4", "--model.hidden", "96", "--model.heads", "4", "--data.tokenizer", "bpe",
         "--data.bpe-vocab", "1024", "--train.seq-len", "128", "--train.micro-batch", "8", "--train.global-batch", "8",
         "--train.eval-batches", "64", "--optimizer.warmup", "20", "--train.sample-tokens", "0"]


def final_loss(folder):
    file = folder / "metrics.jsonl"
    if not file.exists():
        return None
    losses = [row["val_loss"] for row in map(json.loads, file.read_text().splitlines()) if row.get("val_loss")]
    return losses[-1] if len(losses) > 1 else None


def train(args, kind, rate, seed):
    folder = args.out / f"{kind}-{rate:g}-{seed}"
    if final_loss(folder) is None:
        command = [args.program, "train", "--data.text", args.text, *MODEL, "--train.steps", str(args.steps),
                   "--optimizer.kind", kind, "--optimizer.lr", f"{rate:g}", "--train.seed", str(seed),
                   "--run.dir", str(folder), *args.options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    loss = final_loss(folder)
    if loss is None:
        sys.exit(f"{folder}: no final evaluation")
    return loss


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("text")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("muon-versus-adamw"))
    own = sys.argv[1:sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    args = parser.parse_args(own)
    args.options = sys.argv[len(own) + 2:]  # after the --
    best = {}
    print(f"{'optimizer':10} {'rate':>8} {'mean':>8} {'least':>8} {'largest':>8}")
    for kind, usual in USUAL_RATE.items():
        for i in range(args.rates):
            rate = usual * 2.0 ** (i - args.rates // 2)
            losses = [train(args, kind, rate, seed) for seed in range(1, args.seeds + 1)]
            mean = statistics.mean(losses)
            print(f"{kind:10} {rate:8.2g} {mean:8.4f} {min(losses):8.4f} {max(losses):8.4f}", flush=True)
            if kind not in best or mean < best[kind][0]:
                best[kind] = (mean, rate, losses)
    (adamw, _, some), (muon, _, others) = best["adamw"], best["muon"]
    spread = max(statistics.pstdev(some), statistics.pstdev(others))
    print(f"best of each: AdamW {adamw:.4f}, Muon {muon:.4f}, {adamw - muon:+.4f} in Muon's favour; "
          f"a seed's standard deviation is {spread:.4f}")


if __name__ == "__main__":
    main()
