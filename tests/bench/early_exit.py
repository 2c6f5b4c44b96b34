#!/usr/bin/env python3
"""What exits of a model cost and win: two tables.

    python3 tests/bench/early_exit.py build/trireme MODEL TEXT [--exits 2,4] [--turns 5] [--threads 1] [--speculate 8]

First quality against mean layers used: the perplexity of TEXT, teacher-forced, each token leaving by --exit.confidence at several
thresholds. Then self-speculation behind each exit: decoding rates of greedy texts after passages of TEXT, with and without in turns, one
text at a time. Ratios are those of a turn, since a machine's load comes and goes; their median counts. Ends with 1 where tokens or
log-probabilities differ.
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
    """Passages of whole words from all over the text."""
    with open(options.text, encoding="utf-8") as file:
        text = file.read()
    step = len(text) // options.prompts
    return [text[i * step:i * step + 200].partition(" ")[2].rpartition(" ")[0] for i in range(options.prompts)]


def generate(options, prompt, *more):
    line = call(options, "generate", prompt, "--quiet", "--ignore-end", "--logprobs", "--max-tokens", options.tokens,
                *options.held, *more).splitlines()
    return json.loads(line[0]), json.loads(line[1])["summary"]


def speed(options, exits):
    """Each text without and behind each exit, one after the other, forth and back in turns."""
    ways = [None, *exits]
    sums = {way: {"drafted_tokens": 0, "accepted_tokens": 0, "decoded_tokens": 0, "passes": 0} for way in ways}
    ratios, rates, is_equal = {way: [] for way in ways}, [], {way: True for way in ways}
    for turn in range(options.turns):
        seconds = {way: 0.0 for way in ways}
        for prompt in prompts_of(options):
            found = {}
            for way in ways if turn % 2 == 0 else reversed(ways):
                own = ["--speculate", options.speculate, "--draft-model", "self", "--exit.layer", way] if way else []
                found[way], summary = generate(options, prompt, *own)
                seconds[way] += summary["decode_seconds"]
                for name in sums[way]:
                    sums[way][name] += summary[name]
            for way in exits:
                is_equal[way] = is_equal[way] and found[way] == found[None]
        for way in exits:
            ratios[way].append(seconds[None] / seconds[way])
        rates.append(options.prompts * (options.tokens - 1) / seconds[None])
    for way in exits:
        count, of_way = sums[way], sorted(ratios[way])
        share = 100 * count["accepted_tokens"] / max(1, count["drafted_tokens"])
        print(f"| {' '.join(options.held) or 'f32'} | {way} | {statistics.median(rates):.0f} | **{statistics.median(of_way):.2f}** "
              f"({of_way[0]:.2f} to {of_way[-1]:.2f}) | {share:.0f} % | {count['decoded_tokens'] / count['passes']:.2f} | "
              f"{'yes' if is_equal[way] else 'NO'} |", flush=True)
    return all(is_equal.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--exits", default="", help="of a model without exits of its own: numbers of blocks")
    parser.add_argument("--drafts", default="", help="exits to draft behind; as --exits")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--prompts", type=int, default=6)
    parser.add_argument("--speculate", type=int, default=8)
    parser.add_argument("--weights", default="", help="options of generate, by commas, each measured: ',--weights int8'")
    parser.add_argument("--without-quality", action="store_true")
    options = parser.parse_args()
    if not options.without_quality:
        quality(options)
    layers = options.drafts or options.exits
    if not layers:
        layers = ",".join(map(str, evaluate(options, "--exit.confidence", 1)["exits"]["exits"]))
    print("\n| weights | exit after | tokens/s without | ratio with | drafts right | tokens a pass | same texts |")
    print("|---|---|---|---|---|---|---|", flush=True)
    is_equal = True
    for held in options.weights.split(","):
        options.held = held.split()
        is_equal = speed(options, [int(layer) for layer in layers.split(",")]) and is_equal
    sys.exit(0 if is_equal else 1)


if __name__ == "__main__":
    main()
