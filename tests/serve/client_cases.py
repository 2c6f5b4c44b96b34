#!/usr/bin/env python3
"""`trireme serve` of a small model as published clients use it: their requests, many at once, hostile ones, a rank that stands still.

usage: client_cases.py PROGRAM MPIRUN clients|stuck
"""
import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from serve_cases import Cases, expect
from served import ask, get, metrics, post, stream, total

ASKED = {"prompt": "Line 3 of", "max_tokens": 20, "temperature": 0}
RECORDED = pathlib.Path(__file__).resolve().parent / "recorded_requests.jsonl"


class Clients(Cases):
    def recorded_requests(self, port):
        """What published clients sent, with this server's name in "model"."""
        for line in RECORDED.read_text(encoding="utf-8").splitlines():
            recorded = json.loads(line)
            body = recorded.get("body")
            if body and "model" in body:
                body["model"] = "run"
            status, headers, reply = ask(port, recorded["method"], recorded["path"], body, recorded["headers"])
            expect(status == 200, f"{recorded['client']}: {status} {reply} to {line}")
            if body and body.get("stream"):
                expect(headers["Content-Type"].startswith("text/event-stream") and reply.endswith(b"data: [DONE]\n\n"), reply)
            elif recorded["path"].endswith("completions"):
                expect(json.loads(reply)["choices"], reply)

    def echo(self, port):
        """Text and prompt scored at once have the scores that came with the text; the chosen token's is among the likeliest's, as the
        same number."""
        text = post(port, "/v1/completions", {**ASKED, "logprobs": 1})["choices"][0]
        asked = {"prompt": ASKED["prompt"] + text["text"], "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 3}
        choice = post(port, "/v1/completions", asked)["choices"][0]
        scores = choice["logprobs"]
        expect(choice["text"].startswith(asked["prompt"]) and scores["token_logprobs"][0] is scores["top_logprobs"][0] is None, choice)
        for token, score, top in zip(scores["tokens"][1:], scores["token_logprobs"][1:], scores["top_logprobs"][1:]):
            expect(top[token] == score <= max(top.values()) and 3 <= len(top) <= 4, f"{token} {score} {top}")
        expect(scores["token_logprobs"][-21:-1] == text["logprobs"]["token_logprobs"], f"{scores} instead of {text}")
        for offset, token in zip(scores["text_offset"], scores["tokens"]):
            expect(choice["text"][offset:].startswith(token), f"{token} is not at {offset}")

    def many_at_once(self, port):
        """Each answer is that of the request alone."""
        asked = [{"prompt": f"Line {i % 7} of a text" * (1 + i % 2), "max_tokens": 3 + i % 11, "temperature": i % 3 / 2, "seed": i,
                  "logprobs": i % 4} for i in range(40)]

        def one(body):
            return post(port, "/v1/completions", body)["choices"]
        alone = [one(body) for body in asked]
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            together = list(pool.map(one, asked))
        expect(together == alone, [pair for pair in zip(alone, together) if pair[0] != pair[1]][:2])

    def hostile(self, port):
        def refused(body, status, *words, path="/v1/completions"):
            found, _, reply = ask(port, "POST", path, body)
            error = json.loads(reply)["error"]
            expect(found == status and all(word in error["message"] for word in words), f"{found} {reply} to {str(body)[:200]}")
            expect(set(error) >= {"message", "type", "param", "code"}, reply)
        refused(b'{"prompt": "a", ', 400, "JSON", "16")
        refused(b'{"prompt": "\xff"}', 400, "UTF-8", "12")
        refused(b"[" * 100000, 400)
        refused(b'{"prompt": "a", "prompt": "b"}', 400, "prompt")
        refused(b'{"prompt": "a", "temperature": 1e999}', 400)
        refused({**ASKED, "temperature": "hot"}, 400, "temperature")
        refused({**ASKED, "model": "other"}, 404, "other")
        refused({**ASKED, "suffix": "x"}, 400, "suffix")
        refused({"max_tokens": 1}, 400, "prompt")
        refused({**ASKED, "prompt": [10**9]}, 400, "1000000000")
        for prompt in ([[]], [], [1.5], [-1], {"a": 1}, None):
            refused({**ASKED, "prompt": prompt}, 400, "prompt")
        expect(ask(port, "GET", "/v1/completions")[0] == 405 and ask(port, "GET", "/v1/nothing")[0] == 404, "wrong paths and methods")
        expect(post(port, "/v1/completions", ASKED)["choices"], "it does not go on")

    def counted(self, port):
        before = metrics(port)
        for _ in range(3):
            post(port, "/v1/completions", {**ASKED, "ignore_eos": True})
        after = metrics(port)
        for name, value in (("generation_tokens_total", 60), ("request_success_total", 3), ("time_to_first_token_seconds_count", 3)):
            found = total(after, f"vllm:{name}") - total(before, f"vllm:{name}")
            expect(found == value, f"{name}: {found} instead of {value}")
        # The pass that ended the last text may still be going when its client has read it.
        gauges = [f"vllm:{name}" for name in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")]
        deadline = time.monotonic() + 10
        while (held := {name: total(after, name) for name in gauges if total(after, name) != 0}) and time.monotonic() < deadline:
            time.sleep(0.01)
            after = metrics(port)
        expect(not held, str(held))

    def ended(self, server):
        """A stream that has begun is whole when the server is told to stop."""
        events, begun = [], threading.Event()

        def take():
            for event in stream(server.port, "/v1/completions", {**ASKED, "max_tokens": 50, "ignore_eos": True}):
                events.append(event)
                begun.set()
        client = threading.Thread(target=take)
        client.start()
        begun.wait(30)
        server.stop()
        client.join(30)
        expect(events[-1]["choices"][0]["finish_reason"] == "length", events[-1:])

    def clients(self):
        self.train()
        with self.serve("run", "--batch-tokens", 16) as server:
            for case in (self.recorded_requests, self.echo, self.many_at_once, self.hostile, self.counted):
                case(server.port)
                print(f"{case.__name__}: ok", flush=True)
            self.ended(server)

    def stuck(self):
        """One of two ranks stands still: the server says so, and ends its streams with an error."""
        self.train()
        with self.serve("run", "--tp", 2, "--stuck-seconds", 1, ranks=2) as server:
            found = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=False).stdout
            ranks = [int(pid) for pid in found.split()]
            other = [pid for pid in ranks if b"OMPI_COMM_WORLD_RANK=1" in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")]
            expect(len(other) == 1, f"{ranks}: {other}")
            os.kill(other[0], signal.SIGSTOP)
            try:
                begin = time.monotonic()
                status, _, reply = ask(server.port, "POST", "/v1/completions", {**ASKED, "max_tokens": 40, "stream": True}, limit=60)
                expect(status >= 500 or b'"error"' in reply, f"{status} {reply}")
                expect(get(server.port, "/health")[0] == 503 and time.monotonic() - begin < 30, f"after {time.monotonic() - begin:.0f} s")
            finally:
                for pid in ranks:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass


def main():
    program, mpirun, part = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3]
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        getattr(Clients(program, mpirun), part)()
        print(f"{part}: ok", flush=True)


if __name__ == "__main__":
    main()
