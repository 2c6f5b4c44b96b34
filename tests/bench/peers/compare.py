#!/usr/bin/env python3
"""Puts what the benchmarks of tests/gpu.sh left in a folder into its JSON, and shows it: training_step_bench and its
accounts, a peer, `trireme bench ops` and `collectives`, and kernels under Nsight Compute.

  compare.py GPU_JSON FOLDER      with step-CASE-ATTENTION.json, account-CASE-ATTENTION.json, peer.json, ops.json,
                                  collectives-*.json and ncu-KERNEL.txt, as far as they are there
"""
import json
import pathlib
import re
import sys

# What is kept of ncu's basic set.
METRICS = ("Duration", "Memory Throughput", "Compute (SM) Throughput", "Achieved Occupancy", "Registers Per Thread")


def read(path):
    """What the file holds; of one that was cut off, when its program ran out of time say, nothing but a word."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        print(f"{path.name} is cut off and left out")
        return {}


def read_all(folder, kind):
    """The contents of KIND-NAME.json, with NAME."""
    for path in sorted(folder.glob(f"{kind}-*.json")):
        if content := read(path):
            yield path.stem[len(kind) + 1:], content


def attention_of(name):
    return name.rsplit("-", 1)[1] if "-" in name else None


def peers_of(case, peer):
    """The fastest of the peer's variants of a case (vocabularies, attentions): its name and tokens a second."""
    base = case.replace("_graph", "")
    rates = {name: result["tokens_per_s"] for name, result in peer.get("cases", {}).items()
             if "tokens_per_s" in result and result.get("case", name) == base}
    return max(rates.items(), key=lambda item: item[1], default=(None, None))


def steps(runs, peer):
    rows = []
    for name, run in runs:
        for bench in run.get("benchmarks", []):
            case = "/".join(bench["name"].split("/")[:2])
            best, theirs = peers_of(case, peer)
            rows.append({"case": case, "attention": attention_of(name), "ms": bench["real_time"],
                         "tokens_per_s": bench["tokens_per_s"], "mfu": bench.get("MFU"),
                         "share_of_gemm": bench.get("share_of_gemm"), "peer": best, "peer_tokens_per_s": theirs,
                         "ratio": bench["tokens_per_s"] / theirs if theirs else None})
    if rows:
        print(f"\n{'training step':<30} {'attention':<9} {'ms':>9} {'tokens/s':>11} {'MFU':>7} {'peer tok/s':>11} {'ratio':>6}")
    for row in rows:
        mfu = f"{100 * row['mfu']:.1f}%" if row["mfu"] else "-"
        theirs = row["peer_tokens_per_s"]
        beside = f"{theirs:11.0f} {row['ratio']:6.2f}" if theirs else f"{'not run':>11} {'-':>6}"
        print(f"{row['case']:<30} {row['attention'] or '-':<9} {row['ms']:9.1f} {row['tokens_per_s']:11.0f} {mfu:>7} {beside}")
    return rows


def accounts(runs):
    by_case = {}
    for name, cases in runs:
        for case, account in cases.items():
            case = ", ".join(filter(None, (case, attention_of(name))))
            by_case[case] = account
            parts = [f"{kind['name']} {kind['ms']:.2f} ({kind['least_ms']:.2f})" for kind in account["kinds"]]
            print(f"where {account['ms']:.2f} ms of {case} go (at least): {', '.join(parts)}, "
                  f"between ops {account['between_ms']:.2f}")
    return by_case


def show_peer(peer):
    for case, result in peer.get("cases", {}).items():
        print(f"{peer['peer']}, {case}: "
              + (result["error"] if "error" in result else f"{result['tokens_per_s']:.0f} tokens/s, {result['ms']:.1f} ms"))
    return peer or None


def collectives(runs):
    runs = [run for _, run in runs]
    for run in runs:
        best = {}
        for row in run["collectives"]:
            best[row["operation"]] = max(best.get(row["operation"], 0), row["busbw_gb_s"])
        figures = ", ".join(f"{name} {value:.1f}" for name, value in best.items())
        print(f"bus bandwidth, GB/s, {run['backend']}, {run['ranks']} ranks: {figures}")
    return runs


def kernels(folder):
    """Of each kernel under ncu the metrics above, as text with its unit."""
    found = {}
    for path in sorted(folder.glob("ncu-*.txt")):
        metrics = {}
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            match = re.match(r"\s*(.+?)\s{2,}(?:(\S+)\s+)?([\d.,]+)\s*$", line)
            if match and match[1] in METRICS:
                metrics[match[1]] = f"{match[3]} {match[2] or ''}".strip()
        if metrics:
            found[path.stem[4:]] = metrics
            print(f"{path.stem[4:]}: " + ", ".join(f"{name} {value}" for name, value in metrics.items()))
    return found


def main():
    target, folder = map(pathlib.Path, sys.argv[1:])
    report, peer = json.loads(target.read_text(encoding="utf-8", errors="replace")), read(folder / "peer.json")
    report["training_steps"] = steps(read_all(folder, "step"), peer)
    report["accounts"] = accounts(read_all(folder, "account"))
    report["peer"] = show_peer(peer)
    report["ops"] = read(folder / "ops.json") or None
    report["collectives"] = collectives(read_all(folder, "collectives"))
    report["kernels"] = kernels(folder)
    part = target.with_suffix(".part")
    part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    part.replace(target)


if __name__ == "__main__":
    main()
