#!/usr/bin/env python3
"""The same request gives the same text and log-probabilities, bit for bit, whatever else the server does.

    python3 tests/interop/serving/invariance.py build/trireme MODEL [--requests 200] [--seed N] [-- OPTIONS OF SERVE]

Requests of all kinds (greedy and drawn, n, scores, echo, chat, JSON schemas, streams, beginnings that are shared, prompts longer
than a pass) go to a server as it is by default: alone, one after the other, then 8 and 64 at a time in other orders, then alone
once more, backwards. Without prefix cache, by a server of its own, a part of them again.
Exit status: 0 where all answers are equal.
"""
import argparse
import concurrent.futures
import pathlib
import random
import sys
import time

sys.path.append(str(pathlib.Path(__file__).parents[2] / "support"))
from requests_of_all_kinds import Requests, said
from served import Failure, at_dashes, expect, metrics, total, trireme


def answers(port, requests, order, clients):
    """In the order of `requests`."""
    found = [None] * len(requests)

    def one(number):
        try:
            found[number] = said(port, *requests[number])
        except (Failure, OSError) as failure:
            found[number] = f"{type(failure).__name__}: {failure}"
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        list(pool.map(one, order))
    return found, time.monotonic() - begin


def differing(expected, found, numbers, requests, shown=3):
    different = [number for number in numbers if found[number] != expected[number]]
    for number in different[:shown]:
        print(f"  request {number}: {requests[number]}\n    alone: {expected[number][:400]}\n    now:   {found[number][:400]}", flush=True)
    return len(different)


def main():
    own, options = at_dashes(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(own)
    source, order = Requests(arguments.seed), list(range(arguments.requests))
    requests, shuffle, failures = [source.drawn() for _ in order], random.Random(arguments.seed).shuffle, 0
    with trireme(arguments.program, arguments.model, *options) as server:
        alone, seconds = answers(server.port, requests, order, 1)
        refused = [number for number in order if not alone[number].startswith("{")]
        for number in refused[:5]:
            print(f"  request {number}: {requests[number]}\n    {alone[number][:400]}", flush=True)
        failures += len(refused)
        print(f"alone: {len(requests) - len(refused)} of {len(requests)} answered, {seconds:.0f} s", flush=True)
        for name, clients in (("8 at a time", 8), ("64 at a time", 64), ("alone, backwards", 1)):
            shuffle(order)
            found, seconds = answers(server.port, requests, order if clients > 1 else list(reversed(range(len(requests)))), clients)
            different = differing(alone, found, order, requests)
            failures += different
            print(f"{name}: {different} of {len(order)} differ, {seconds:.0f} s", flush=True)
        counted = metrics(server.port)
        hits, asked = (total(counted, f"vllm:prefix_cache_{name}_total") for name in ("hits", "queries"))
        preemptions = total(counted, "vllm:num_preemptions_total")
        print(f"  {100 * hits / asked:.0f} % of the prompts' tokens were in the cache, {preemptions:.0f} preemptions")
        try:
            expect(hits > 0, "no prompt was found in the cache: nothing is shown of it")
        except Failure as failure:
            failures += 1
            print(failure)
    with trireme(arguments.program, arguments.model, "--no-prefix-cache", *options) as server:
        some = order[:len(order) // 4]
        found, seconds = answers(server.port, requests, some, 8)
        different = differing(alone, found, some, requests)
        failures += different
        print(f"without prefix cache: {different} of {len(some)} differ, {seconds:.0f} s")
    print(f"invariance: {failures} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
