#!/usr/bin/env python3
"""Puts the figures of training_step_bench and its accounts, of a peer and of `trireme bench collectives` into the JSON of
tests/gpu.sh and shows them.

  compare.py GPU_JSON STEP_JSON ACCOUNT_JSON PEER_JSON [COLLECTIVES_JSON...]      files that are not there are left out
"""
import json
import pathlib
import sys


def read(path):
    file = pathlib.Path(path)
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() and file.stat().st_size else {}


def steps(step, peer):
    print(f"\n{'training step':<30} {'ms':>9} {'tokens/s':>11} {'MFU':>7} {'peer tok/s':>11} {'ratio':>6}")
    rows = []
    for bench in step.get("benchmarks", []):
        name = "/".join(bench["name"].split("/")[:2])
        theirs = peer.get("cases", {}).get(name, {}).get("tokens_per_s")
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


def main():
    target, step, account, peer, *collectives = sys.argv[1:]
    report = read(target)
    report["training_steps"] = steps(read(step), read(peer))
    report["accounts"] = accounts(read(account))
    report["peer"] = read(peer).get("peer")
    report["collectives"] = [read(path) for path in collectives if read(path)]
    for run in report["collectives"]:
        best = {}
        for row in run["collectives"]:
            best[row["operation"]] = max(best.get(row["operation"], 0), row["busbw_gb_s"])
        figures = ", ".join(f"{name} {value:.1f}" for name, value in best.items())
        print(f"bus bandwidth, GB/s, {run['backend']}, {run['ranks']} ranks: {figures}")
    pathlib.Path(target).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
