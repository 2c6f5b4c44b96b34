#!/usr/bin/env python3
"""Puts what the benchmarks of tests/gpu.sh left in a folder into its JSON, and shows it: training_step_bench and its
accounts, a peer, and `trireme bench collectives`.

  compare.py GPU_JSON FOLDER      with step-*.json, account-*.json, peer.json and collectives-*.json, as far as they are there
"""
import json
import pathlib
import sys


def read(path):
    """What the file holds; of one that was cut off, when its program ran out of time say, nothing but a word."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        print(f"{path.name} is cut off and left out")
        return {}


def read_all(folder, pattern):
    return [content for path in sorted(folder.glob(pattern)) if (content := read(path))]


def merged(dicts):
    return {key: value for one in dicts for key, value in one.items()}


def steps(runs, peer):
    if runs:
        print(f"\n{'training step':<30} {'ms':>9} {'tokens/s':>11} {'MFU':>7} {'peer tok/s':>11} {'ratio':>6}")
    rows = []
    for bench in (bench for run in runs for bench in run.get("benchmarks", [])):
        name = "/".join(bench["name"].split("/")[:2])
        theirs = peer.get("cases", {}).get(name.replace("_graph", ""), {}).get("tokens_per_s")
        row = {"case": name, "ms": bench["real_time"], "tokens_per_s": bench["tokens_per_s"], "mfu": bench.get("MFU"),
               "peer_tokens_per_s": theirs, "ratio": bench["tokens_per_s"] / theirs if theirs else None}
        rows.append(row)
        mfu = f"{100 * row['mfu']:.1f}%" if row["mfu"] else "-"
        beside = (f"{theirs:11.0f} {row['ratio']:6.2f}" if theirs else f"{'not run':>11} {'-':>6}")
        print(f"{name:<30} {row['ms']:9.1f} {row['tokens_per_s']:11.0f} {mfu:>7} {beside}")
    return rows


def accounts(by_case):
    for case, account in by_case.items():
        parts = [f"{kind['name']} {kind['ms']:.2f} ({kind['least_ms']:.2f})" for kind in account["kinds"]]
        print(f"where {account['ms']:.2f} ms of {case} go (at least): {', '.join(parts)}, "
              f"between ops {account['between_ms']:.2f}")
    return by_case


def collectives(runs):
    for run in runs:
        best = {}
        for row in run["collectives"]:
            best[row["operation"]] = max(best.get(row["operation"], 0), row["busbw_gb_s"])
        figures = ", ".join(f"{name} {value:.1f}" for name, value in best.items())
        print(f"bus bandwidth, GB/s, {run['backend']}, {run['ranks']} ranks: {figures}")
    return runs


def main():
    target, folder = map(pathlib.Path, sys.argv[1:])
    report, peer = read(target), read(folder / "peer.json")
    report["training_steps"] = steps(read_all(folder, "step-*.json"), peer)
    for case, result in peer.get("cases", {}).items():
        if "error" in result:
            print(f"peer, {case}: {result['error']}")
    report["accounts"] = accounts(merged(read_all(folder, "account-*.json")))
    report["peer"] = peer.get("peer")
    report["collectives"] = collectives(read_all(folder, "collectives-*.json"))
    target.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
