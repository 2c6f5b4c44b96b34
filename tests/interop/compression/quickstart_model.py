#!/usr/bin/env python3
"""The quickstart's model in one command: int4, gated, exported to GGUF, generating, at most a sixth of its fp32 file.

    python3 tests/interop/compression/quickstart_model.py build/trireme runs/gpt2-6x192-kjv [--recipe int4] [--rise +3%]
        [--calibration TEXT] [--threads N]

The run's own text calibrates and measures, or TEXT where it is not there any more. Prints a Markdown table of the base and each
step. Exit status 0 where the gates held, the files are that small, and the result generates.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile


def call(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def size_of(directory):
    """Bytes of the weights' files."""
    return sum(file.stat().st_size for file in pathlib.Path(directory).glob("*.safetensors"))


def row(figures, base):
    return (f"| {figures['name']} | {figures['bytes']:,} | {figures['perplexity']:.3f} ± {figures['perplexity_standard_error']:.3f} | "
            f"{100 * (figures['perplexity'] / base['perplexity'] - 1):+.2f} % | {figures['kl_divergence']['mean']:.4g} ± "
            f"{figures['kl_divergence']['standard_error']:.1g} | {100 * figures['same_top_token']['mean']:.1f} % | "
            f"{figures['tokens_per_second']:.0f} ({figures['tokens_per_second'] / base['tokens_per_second']:.2f}x) |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("run")
    parser.add_argument("--recipe", default="int4")
    parser.add_argument("--rise", default="+3%")
    parser.add_argument("--calibration")
    parser.add_argument("--threads", default="1")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "small"
        text = ["--calibration.text", arguments.calibration] if arguments.calibration else []
        command = [arguments.program, "compress", arguments.run, "--out", out, "--recipe", arguments.recipe, "--gate.perplexity",
                   arguments.rise, "--gate.size", "1/6", "--export", "gguf:q4_0", "--threads", arguments.threads, *text]
        call(*command)
        report = json.loads((out / "compression.json").read_text())
        base = report["base"]
        print("| step | bytes | perplexity | change | KL, nats a token | same top token | tokens/s |\n|---|---|---|---|---|---|---|")
        print("\n".join(row(figures, base) for figures in [base, *(step["figures"] for step in report["steps"])]))
        before, after = size_of(arguments.run), size_of(out)
        print(f"\nmodel.safetensors: {before:,} bytes before, {after:,} after: {after / before:.4f}; "
              + ", ".join(f"{file.name} {file.stat().st_size:,} bytes" for file in sorted(out.glob("*.gguf"))))
        said = call(arguments.program, "generate", out, "In the beginning", "--max-tokens", 24, "--threads", arguments.threads)
        print(f"generates: {said.strip()!r}")
        if after * 6 > before:
            sys.exit(f"{after} bytes are more than a sixth of {before}")


if __name__ == "__main__":
    main()
