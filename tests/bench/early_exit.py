#!/usr/bin/env python3
"""What exits of a model cost and win: two tables.

    python3 tests/bench/early_exit.py build/trireme MODEL TEXT [--exits 2,4] [--turns 5] [--threads 1] [--speculate 6]

First quality against mean layers used: the perplexity of TEXT, teacher-forced, each token leaving by --exit.confidence at several
thresholds. Then self-speculation behind each exit: decoding rates of greedy texts after passages of TEXT, with and without in turns, one
text at a time. Ratios are those of a turn, since a machine's load comes and goes; their median counts. Ends with 1 where texts differ.
"""
import argparse
import json
import statistics
import subprocess
import sys


def call(options, command, *arguments):
    line = [options.program, command, options.model, *map(str, arguments), "--json", "--threads", str(options.threads)]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout


def evaluate(options, *more):
    return json.loads(call(options, "evaluate", "--text", options.text, *more))


def quality(options):
    whole = evaluate(options)["text"]
    print("| confidence | mean layers | perplexity | bits per byte | of the whole model's loss |\n|---|---|---|---|---|")
    print(f"| none | all | {whole['perplexity']:.3f} | {whole['bits_per_byte']:.4f} | 1 |")
    exits = ["--exit.layer", options.exits] if options.exits else []
    for confidence in (0.98, 0.9, 0.8, 0.6, 0.4, 0.2, 1e-9):
        found = evaluate(options, "--exit.confidence", confidence, *exits)
        text, used = found["text"], found["exits"]
        loss = text["nats_per_token"]["mean"] / whole["nats_per_token"]["mean"]
        print(f"| {confidence:g} | {used['mean_layers']:.2f} of {used['layers']} | {text['perplexity']:.3f} | {text['bits_per_byte']:.4f} "
              f"| {loss:.3f} |", flush=True)


def prompts_of(options):
    with open(options.text, encoding="utf-8") as file:
        text = file.read()
    step = len(text) // options.prompts
    return [text[i * step:i * step + 200] for i in range(options.prompts)]


def generate(options, prompt, *more):
    lines = call(options, "generate", prompt, "--quiet", "--ignore-end", "--max-tokens", options.tokens, *more).splitlines()
    return json.loads(lines[0])["tokens"], json.loads(lines[1])["summary"]


def speed(options, exit_layer):
    own = ["--speculate", options.speculate, "--draft-model", "self", "--exit.layer", exit_layer]
    ratios, rates, sums, equal = [], [], {"drafted_tokens": 0, "accepted_tokens": 0, "decoded_tokens": 0, "passes": 0}, True
    for turn in range(options.turns):
        seconds = {False: 0.0, True: 0.0}
        for prompt in prompts_of(options):
            found = {}
            for is_self in (False, True) if turn % 2 == 0 else (True, False):
                found[is_self], summary = generate(options, prompt, *(own if is_self else []))
                seconds[is_self] += summary["decode_seconds"]
                for name in sums if is_self and turn == 0 else ():
                    sums[name] += summary[name]
            equal = equal and found[False] == found[True]
        ratios.append(seconds[False] / seconds[True])
        rates.append(options.prompts * (options.tokens - 1) / seconds[False])
    share = sums["accepted_tokens"] / max(1, sums["drafted_tokens"])
    print(f"| {exit_layer} | {statistics.median(rates):.0f} | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | "
          f"{100 * share:.0f} % of {sums['drafted_tokens']} | {sums['decoded_tokens'] / sums['passes']:.2f} | "
          f"{'yes' if equal else 'NO'} |", flush=True)
    return equal


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--exits", default="", help="of a model without exits of its own: numbers of blocks")
    parser.add_argument("--drafts", default="", help="exits to draft behind; as --exits")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--speculate", type=int, default=6)
    parser.add_argument("--without-quality", action="store_true")
    options = parser.parse_args()
    if not options.without_quality:
        quality(options)
    layers = options.drafts or options.exits
    if not layers:
        layers = ",".join(map(str, evaluate(options, "--exit.confidence", 1)["exits"]["exits"]))
    print("\n| exit after | tokens/s without | ratio with | drafts right | tokens a pass | same texts |\n|---|---|---|---|---|---|", flush=True)
    sys.exit(0 if all([speed(options, int(layer)) for layer in layers.split(",")]) else 1)


if __name__ == "__main__":
    main()
