#!/usr/bin/env python3
"""Clients that leave, read slowly or say nothing take nothing from a server.

    python3 tests/interop/serving/aborts.py build/trireme MODEL [--aborts 10000] [--seed N] [-- OPTIONS OF SERVE]

Requests of all kinds are left at a random place: within the head or the body, before the answer, within a stream; by closing, by
a reset, by closing one side. Beside them some read nothing of a long stream, and some connections say nothing or half a request.
At the end no block is in use, nothing runs or waits, and memory, threads and open files are what they were after the first tenth.
Exit status: 0 where all holds.
"""
import argparse
import concurrent.futures
import json
import pathlib
import random
import socket
import struct
import sys
import threading
import time

sys.path.append(str(pathlib.Path(__file__).parents[2] / "support"))
from requests_of_all_kinds import Requests
from served import Failure, at_dashes, expect, get, metrics, post, total, trireme

CLIENTS = 32
IN_USE = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")


def head_and_body(path, body):
    written = json.dumps(body).encode()
    return (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(written)}\r\n\r\n").encode() + written


def leave(connection, how):
    if how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif how == "half":
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.005)
    connection.close()


def read_some(connection, draw):
    connection.settimeout(2)
    try:
        for _ in range(draw.randrange(1, 4)):
            if not connection.recv(draw.randrange(1, 2000)):
                return "after the answer"
    except TimeoutError:
        return "tired of waiting"
    return "within the answer"


def one_abort(port, path, body, draw):
    """Where it left."""
    whole = head_and_body(path, body)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        place = draw.choice(("within the request", "before the answer", "before the answer", "within the answer"))
        try:
            connection.sendall(whole[:draw.randrange(len(whole))] if place == "within the request" else whole)
            if place == "before the answer":
                time.sleep(draw.choice((0, 0, 0.001, 0.01, 0.05)))
            elif place == "within the answer":
                place = read_some(connection, draw)
            leave(connection, draw.choice(("close", "reset", "half")))
        except ConnectionError:
            place = "the server left"
    return place


def abort(port, count, seed):
    source, draw, places = Requests(seed, most_tokens=200), random.Random(seed), {}
    lock, left = threading.Lock(), [count]

    def some(number):
        while True:
            with lock:
                if left[0] == 0:
                    return
                left[0] -= 1
                path, body = source.drawn()
                its_own = random.Random(draw.random())
            body["stream"] = body["stream"] or its_own.random() < 0.5
            if body["stream"]:
                body.pop("echo", None)
            place = one_abort(port, path, body, its_own)
            with lock:
                places[place] = places.get(place, 0) + 1
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(some, range(CLIENTS)))
    return places


def silent_connections(port, count):
    """Connections that say nothing, or a part of a request."""
    whole, found = head_and_body("/v1/completions", {"prompt": "Once", "max_tokens": 4}), []
    for number in range(count):
        found.append(socket.create_connection(("127.0.0.1", port), timeout=150))
        found[-1].sendall((b"", whole[:20], whole[:-3])[number % 3])
    return found


def slow_readers(port, count):
    """Streams of which nothing is read."""
    found = []
    for _ in range(count):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(("127.0.0.1", port))
        connection.sendall(head_and_body("/v1/completions", {"prompt": "Once", "max_tokens": 1000, "n": 4, "temperature": 1.0, "seed": 1,
                                                             "logprobs": 5, "ignore_eos": True, "stream": True}))
        found.append(connection)
    return found


def are_closed(connections, limit):
    """How many the server has closed within so many seconds; what was sent on them is read."""
    end, closed = time.monotonic() + limit, 0
    for connection in connections:
        try:
            while True:
                connection.settimeout(max(0.01, end - time.monotonic()))
                if not connection.recv(65536):
                    closed += 1
                    break
        except ConnectionError:
            closed += 1
        except TimeoutError:
            pass
    return closed


def at_rest(port, limit):
    """What is in use; waits up to `limit` seconds for nothing."""
    end = time.monotonic() + limit
    while True:
        found = {name: total(metrics(port), name) for name in IN_USE}
        if not any(found.values()) or time.monotonic() > end:
            return found
        time.sleep(0.2)


def main():
    own, options = at_dashes(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--aborts", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(own)
    failures = 0

    def check(holds, words):
        nonlocal failures
        failures += not holds
        print(words if holds else f"FAILED: {words}", flush=True)
    # A cache that is soon full: memory that it has not used yet would look like a leak.
    with trireme(arguments.program, arguments.model, "--cache-tokens", 4096, "--max-seq-len", 4096, *options) as server:
        asked = {"prompt": "The capital of France is", "max_tokens": 16, "temperature": 0, "logprobs": 2}
        expected = post(server.port, "/v1/completions", asked)["choices"]
        abort(server.port, arguments.aborts // 10, arguments.seed + 1)
        at_rest(server.port, 60)
        before = server.usage()
        begin = time.monotonic()
        places = abort(server.port, arguments.aborts - arguments.aborts // 10, arguments.seed)
        seconds = time.monotonic() - begin
        counted = ", ".join(f"{count} {name}" for name, count in sorted(places.items()))
        print(f"{sum(places.values())} left in {seconds:.0f} s: {counted}", flush=True)
        left = at_rest(server.port, 10)
        check(not any(left.values()), f"after the last one: {left}")
        silent, slow = silent_connections(server.port, 30), slow_readers(server.port, 4)
        begin = time.monotonic()
        same = post(server.port, "/v1/completions", asked)["choices"] == expected
        check(same, f"beside them an answer of {time.monotonic() - begin:.2f} s, the same as at the start: {same}")
        closed = are_closed(silent, 120)
        check(closed == len(silent), f"{closed} of {len(silent)} silent connections were closed after {time.monotonic() - begin:.0f} s")
        left = at_rest(server.port, 120)
        check(not any(left.values()), f"after slow readers, {time.monotonic() - begin:.0f} s: {left}")
        closed = are_closed(slow, 60)
        check(closed == len(slow), f"{closed} of {len(slow)} slow readers were left")
        for connection in silent + slow:
            connection.close()
        expect(get(server.port, "/health")[0] == 200, "/health")
        time.sleep(1)
        after = server.usage()
        growth = after[0] - before[0]
        check(growth < max(16 << 20, before[0] // 20), f"resident: {before[0] >> 20} MiB, then {after[0] >> 20} MiB")
        check(after[1] <= before[1], f"threads: {before[1]}, then {after[1]}")
        check(after[2] <= before[2] + 1, f"open files: {before[2]}, then {after[2]}")
        status = server.stop()
        check(status == 0, f"exit {status} after SIGTERM")
    print(f"aborts: {failures} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"aborts: FAILED: {failure}")
