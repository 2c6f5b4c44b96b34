#!/usr/bin/env python3
"""What speculation wins or costs: the same texts with and without, in turns.

    python3 tests/bench/speculation.py build/trireme SmolLM2-135M-Instruct.Q4_1.gguf [--turns 5] [--threads 1] [--speculate 8]

Texts that repeat themselves (a program's table, a list copied out, greedily) and texts that do not (stories, drawn at temperature 1).
Ratios are those of decoding rates of the same turn, since a machine's load comes and goes; their median counts. On a machine that others
use, what the processor needed for the texts, less what a text of one token took, says more: the ratio in brackets. Ends with 1 where
texts are not the same, or where --limits is given and repeating texts win less than 1.3 or others get less than 0.98, by either.
"""
import argparse
import json
import resource
import statistics
import subprocess
import sys

TABLE = "\n".join(f"    assert convert('{name}', metres={value}) == Length(value={value}, unit='{name}')"
                  for name, value in (("inch", 3), ("foot", 7), ("yard", 11), ("mile", 13), ("league", 17), ("chain", 19)))
PASSAGE = ("The lighthouse stands on the northern cliff, forty metres above the sea. Its lamp was lit for the first time in 1862, and it "
           "has been turned on every evening since then. The keeper climbs two hundred and six steps, trims the wick, and writes the "
           "weather into a book with a blue cover.")
REPEATING = {
    "table": [f"def test_convert():\n{TABLE}\n{TABLE}\n"],
    "copy": [f"{PASSAGE}\n\nThe same text again:\n\n{PASSAGE}\n\nThe same text again:\n\n"],
}
OTHER = {
    "story": ["Once upon a time, in a village by the sea, there lived"],
    "letter": ["Dear Margaret,\n\nI hope that this letter finds you well. Since we last met, I have"],
}


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(options, prompts, more, tokens):
    command = [options.program, "generate", options.model, *prompts, "--json", "--quiet", "--ignore-end", "--threads",
               str(options.threads), "--max-tokens", str(tokens), *more]
    before = processor_seconds()
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    texts = [json.loads(line) for line in lines]
    return [text["tokens"] for text in texts[:-1]], texts[-1]["summary"], processor_seconds() - before


def measure(options, name, prompts, drawing):
    speculation = ["--speculate", str(options.speculate)]
    if options.draft_model:
        speculation += ["--draft-model", options.draft_model]
    ratios, of_processor, shares, rates, equal = [], [], [], [], True
    for turn in range(options.turns):
        both = [(), speculation] if turn % 2 == 0 else [speculation, ()]
        found = {bool(more): run(options, prompts, [*drawing, *more], options.tokens) for more in both}
        begin = [run(options, prompts, [*drawing, *more], 1)[2] for more in ((), speculation)]
        (plain, without, plain_seconds), (same, with_drafts, seconds) = found[False], found[True]
        of_processor.append((plain_seconds - begin[0]) / (seconds - begin[1]))
        equal = equal and plain == same
        ratios.append(with_drafts["decode_tokens_per_second"] / without["decode_tokens_per_second"])
        rates.append(without["decode_tokens_per_second"])
        shares.append((with_drafts["drafted_tokens"], with_drafts["accepted_tokens"], with_drafts["passes"]))
    drafted, accepted, passes = shares[-1]
    print(f"{name:<10} {statistics.median(rates):8.1f} tokens/s without, x {statistics.median(ratios):.3f} with "
          f"({min(ratios):.3f} to {max(ratios):.3f}) [{statistics.median(of_processor):.3f}]; {drafted} drafted, {100 * accepted / max(drafted, 1):.0f} % right, "
          f"{passes} passes{'' if equal else '; TEXTS DIFFER'}", flush=True)
    return max(statistics.median(ratios), statistics.median(of_processor)), equal


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--draft-model")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--speculate", type=int, default=8)
    parser.add_argument("--limits", action="store_true")
    options = parser.parse_args()
    good = True
    for kind, least, drawing in ((REPEATING, 1.3, []), (OTHER, 0.98, ["--temperature", "1", "--seed", "5"])):
        for name, prompts in kind.items():
            ratio, equal = measure(options, name, prompts, drawing)
            good = good and equal and (ratio >= least or not options.limits)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
