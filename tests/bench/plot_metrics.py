#!/usr/bin/env python3
"""Draws a figure of some runs' metrics.jsonl as SVG, without any library.

  tests/bench/plot_metrics.py --out docs/moe/loss.svg --key val_loss --label "validation loss" \
      dense=runs/dense mixture=runs/mixture

KEY is a number of metrics.jsonl, or `imbalance`: the largest of all routers, max over mean load of the experts.
"""
import argparse
import json
import math
import pathlib

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 56, 16, 16, 44
COLORS = ["#0b6e99", "#c0392b", "#2e8b57", "#8e44ad", "#b9770e", "#555555"]


def read(run, key, smooth):
    """Points (step, value); each the mean of up to `smooth` steps before."""
    values = []
    for line in (pathlib.Path(run) / "metrics.jsonl").read_text().splitlines():
        step = json.loads(line)
        if key == "imbalance" and "experts" in step:
            values.append((step["step"], max(router["imbalance"] for router in step["experts"])))
        elif key in step:
            values.append((step["step"], step[key]))
    if not values:
        raise SystemExit(f"{run}: no {key} in metrics.jsonl")
    points = []
    for i, (step, _) in enumerate(values):
        window = [value for _, value in values[max(0, i + 1 - smooth) : i + 1]]
        points.append((step, sum(window) / len(window)))
    return points


def ticks(low, high, count=6):
    """Round numbers in [low, high]."""
    raw = (high - low) / count
    unit = 10 ** math.floor(math.log10(raw))
    step = min((m * unit for m in (1, 2, 5, 10)), key=lambda s: abs(s - raw))
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def figure(curves, label, limits):
    xs = [x for _, points in curves for x, _ in points]
    ys = [y for _, points in curves for _, y in points]
    x0, x1 = 0, max(xs)
    y0, y1 = limits or (min(ys), max(ys))

    def place(x, y):
        return (
            LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM),
        )

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for y in ticks(y0, y1):
        _, py = place(x0, y)
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py:.1f}" y2="{py:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 6}" y="{py + 4:.1f}" text-anchor="end">{y:g}</text>')
    for x in ticks(x0, x1):
        px, _ = place(x, y0)
        out.append(f'<text x="{px:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>')
    out.append(f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">step</text>')
    middle = (HEIGHT - BOTTOM + TOP) / 2
    out.append(f'<text transform="translate(14 {middle:.0f}) rotate(-90)" text-anchor="middle">{label}</text>')
    for i, (name, points) in enumerate(curves):
        color = COLORS[i % len(COLORS)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in (place(x, min(max(y, y0), y1)) for x, y in points))
        out.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.6"/>')
        y = TOP + 34 + 17 * i
        out.append(f'<line x1="{WIDTH - 190}" x2="{WIDTH - 166}" y1="{y - 4}" y2="{y - 4}" stroke="{color}" stroke-width="3"/>')
        out.append(f'<text x="{WIDTH - 160}" y="{y}">{name}</text>')
    return "\n".join(out + ["</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=DIR")
    parser.add_argument("--out", required=True, metavar="FILE")
    parser.add_argument("--key", required=True)
    parser.add_argument("--label", help="of the y axis; default: KEY")
    parser.add_argument("--smooth", type=int, default=1, metavar="N", help="mean of the last N values")
    parser.add_argument("--limits", type=float, nargs=2, metavar=("LOW", "HIGH"), help="of the y axis")
    args = parser.parse_args()
    curves = []
    for run in args.runs:
        name, _, folder = run.rpartition("=")
        curves.append((name or folder, read(folder, args.key, args.smooth)))
    pathlib.Path(args.out).write_text(figure(curves, args.label or args.key, args.limits))


if __name__ == "__main__":
    main()
