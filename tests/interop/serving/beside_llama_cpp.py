#!/usr/bin/env python3
"""How `trireme serve` fares beside llama.cpp's server, and under loads that a server fears: one client for all, `trireme bench serve`.

    pip install xllamacpp
    python3 tests/interop/serving/beside_llama_cpp.py build/trireme MODEL.gguf [--turns 3] [--threads 1] [--part PART] [--json FILE]

Parts:
  beside    both servers in turns, with the same file, threads, clients (1, 4, 16) and prompts: tokens per second of texts and time to
            the first token, medians over the turns, and ratios within a turn (their median), since a machine's load comes and goes
  gaps      8 streams run, a prompt of 4,000 tokens arrives: the largest gap of a stream beside twice its median and one step
  overload  twice the load that 16 clients were answered at, half of the requests with a lower priority
  repeats   `--speculate` on texts that repeat themselves and on others, in turns with a server without it
Exit status: 0 where all was measured; what issue 23 promises is printed beside the figures.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).parents[2] / "support"))
from served import Failure, at_dashes, expect, llama_cpp, metrics, total, trireme

CLIENTS, PROMPT, TEXT = (1, 4, 16), 128, 64


def bench(program, port, *options):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out.json"
        command = [program, "bench", "serve", "--url", f"http://127.0.0.1:{port}", "--json", out, *options]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=1800, check=False)
        expect(done.returncode == 0, f"bench serve: exit {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}")
        return json.loads(out.read_text()), done.stdout


class Beside:
    def __init__(self, arguments, options):
        self.program, self.model, self.threads, self.turns = arguments.program, arguments.model, arguments.threads, arguments.turns
        self.options = options

    def ours(self, *options):
        return trireme(self.program, self.model, "--threads", self.threads, *self.options, *options,
                       environment={"OMP_NUM_THREADS": str(self.threads)})

    def beside(self):
        asked = ["--clients", ",".join(map(str, CLIENTS)), "--prompt-tokens", PROMPT, "--max-tokens", TEXT]
        found = {"trireme": [], "llama.cpp": []}
        for turn in range(self.turns):
            for name, start in (("trireme", self.ours), ("llama.cpp", lambda: llama_cpp(self.model, self.threads, max(CLIENTS), 512))):
                with start() as server:
                    found[name].append(bench(self.program, server.port, *asked, "--seed", turn)[0]["points"])
        print(f"{self.threads} thread(s), {self.turns} turns, prompts of {PROMPT} words, texts of {TEXT} tokens: median (least to most)")
        print(f"  {'clients':<8}{'':<11}{'text, tokens/s':>30}{'ratio':>7}{'first token, ms':>30}{'ratio':>7}")
        for at, clients in enumerate(CLIENTS):
            for name, turns in found.items():
                rates = [turn[at]["output_tokens_per_second"] for turn in turns]
                firsts = [1000 * turn[at]["first_token_seconds"]["median"] for turn in turns]
                ours = [turn[at] for turn in found["trireme"]]
                ratio = statistics.median(our["output_tokens_per_second"] / their for our, their in zip(ours, rates))
                sooner = statistics.median(1000 * our["first_token_seconds"]["median"] / their for our, their in zip(ours, firsts))
                print(f"  {clients:<8}{name:<11}{spread(rates):>30}{ratio:7.2f}{spread(firsts):>30}{sooner:7.2f}")
        for name, turns in found.items():
            growth = statistics.median(t[-1]["output_tokens_per_second"] / t[0]["output_tokens_per_second"] for t in turns)
            print(f"  {name}: {CLIENTS[-1]} clients have {growth:.2f} times one client's tokens per second")
        return found

    def gaps(self):
        found = []
        for turn in range(self.turns):
            with self.ours() as server:
                one, _ = bench(self.program, server.port, "--clients", 8, "--prompt-tokens", 64, "--max-tokens", 600, "--long-prompt", 4000,
                               "--seed", turn)
                found.append(one["long_prompt"])
        print(f"a prompt of 4,000 tokens beside 8 streams, {self.turns} turns (ms)")
        for one in found:
            print("  " + json.dumps(one))
        return found

    def overload(self):
        with self.ours() as server:
            found, said = bench(self.program, server.port, "--clients", "1,16", "--prompt-tokens", PROMPT, "--max-tokens", TEXT,
                                "--overload", 2)
            preemptions = total(metrics(server.port), "vllm:num_preemptions_total")
        print(f"twice the load that it bears; {preemptions:.0f} preemptions\n  " + "\n  ".join(
            line for line in said.splitlines() if line.startswith(("overload", "priority"))))
        return found["overload"]

    def repeats(self):
        """Rates of one client with and without drafts, in turns."""
        import time

        from served import post
        once = "The ship sails at noon. The captain counts the crew. The crew counts the ropes. "
        prompts = {"repetitive": once * 12, "other": "Write down what comes to your mind about rivers, bread and the price of salt. "}
        rates, accepted = {name: {"plain": [], "drafts": []} for name in prompts}, {}
        for _ in range(self.turns):
            for how, options in (("plain", []), ("drafts", ["--speculate", 4])):
                with self.ours(*options) as server:
                    for name, prompt in prompts.items():
                        asked = {"prompt": prompt, "max_tokens": 256, "temperature": 0, "ignore_eos": True}
                        post(server.port, "/v1/completions", {**asked, "max_tokens": 8})
                        begin = time.monotonic()
                        text = post(server.port, "/v1/completions", asked)["choices"][0]["text"]
                        rates[name][how].append(256 / (time.monotonic() - begin))
                        expect(accepted.setdefault(name, text) == text, f"{name}: another text with drafts: {text!r} {accepted[name]!r}")
                        if how == "drafts":
                            counted = metrics(server.port)
                            accepted[f"{name} share"] = [value for (key, _), value in counted.items() if "spec_decode" in key]
        for name, found in rates.items():
            ratio = statistics.median(a / b for a, b in zip(found["drafts"], found["plain"]))
            print(f"  {name:<11} without {spread(found['plain'])}, with drafts {spread(found['drafts'])} tokens/s: {ratio:.2f} times; "
                  f"equal texts; drafted and accepted so far: {accepted[f'{name} share']}")
        return rates


def spread(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main():
    parts = ("beside", "gaps", "overload", "repeats")
    own, options = at_dashes(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--part", action="append", choices=parts)
    parser.add_argument("--json", type=pathlib.Path, help="all figures")
    arguments = parser.parse_args(own)
    bench_of, found, failures = Beside(arguments, options), {}, 0
    for part in arguments.part or parts:
        try:
            found[part] = getattr(bench_of, part)()
            sys.stdout.flush()
        except Failure as failure:
            failures += 1
            print(f"{part}: FAILED: {failure}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
