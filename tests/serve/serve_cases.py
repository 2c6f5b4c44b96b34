#!/usr/bin/env python3
"""`trireme serve` of small models that were trained here, as clients see it.

usage: serve_cases.py PROGRAM MPIRUN answers|layouts|ends
"""
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

TINY = ["--data.text", "text.txt", "--model.family", "llama", "--model.layers", "2", "--model.hidden", "32", "--model.heads", "4",
        "--model.kv-heads", "2", "--train.seq-len", "64", "--train.micro-batch", "8", "--optimizer.lr", "0.01",
        "--train.sample-tokens", "0", "--run.threads", "1", "--checkpoint.keep", "1"]
TEMPLATE = ("{% for message in messages %}{{ message['role'][0] }}: {{ message['content'] }}\n{% endfor %}"
            "{% if add_generation_prompt %}a: {% endif %}")
PROMPTS = ["Line 3 of", "A text that ", "again, and", "Line", "x"]


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


class Server:
    """A program that serves, until it is told to stop."""

    def __init__(self, command, env=None):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        self.banner = []
        for line in self.process.stdout:
            self.banner.append(line.rstrip("\n"))
            if line.startswith("listening on "):
                break
        else:
            raise AssertionError(f"it never listened: {self.banner} {self.process.communicate()[1]}")
        self.port = int(self.banner[-1].rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, method, path, body=None, status=200, headers=None):
        """The answer, of JSON where it is."""
        connection = self.connection()
        connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        expect(answer.status == status, f"{method} {path} {body}: {answer.status} instead of {status}: {text}")
        self.headers = dict(answer.getheaders())
        return json.loads(text) if answer.headers.get_content_type() == "application/json" and text else text

    def complete(self, prompt, **options):
        return self.ask("POST", "/v1/completions", {"model": "run", "prompt": prompt, "temperature": 0, **options})

    def stream(self, path, body):
        """The events of a stream."""
        connection = self.connection()
        connection.request("POST", path, json.dumps({**body, "stream": True}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        expect(answer.status == 200 and answer.headers.get_content_type() == "text/event-stream", f"{answer.status} {answer.headers}")
        events = [line[6:] for line in answer.read().decode().split("\n") if line.startswith("data: ")]
        connection.close()
        expect(events[-1] == "[DONE]", events)
        return [json.loads(event) for event in events[:-1]]

    def metric(self, name):
        for line in self.ask("GET", "/metrics").splitlines():
            if line.startswith(name + "{") or line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        raise AssertionError(f"no {name}")

    def stop(self, number=signal.SIGTERM, code=0):
        """What it has said to standard error."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=60)
        expect(self.process.returncode == code, f"exit code {self.process.returncode}: {said}")
        return said


class Cases:
    def __init__(self, program, mpirun):
        self.program, self.mpirun = program, mpirun
        with open("text.txt", "w", encoding="utf-8") as file:
            for i in range(400):
                file.write(f"Line {i} of a text that a small model learns by heart, again and again.\n")

    def command(self, *arguments, ranks=1):
        launcher = [self.mpirun, "--oversubscribe", "--bind-to", "none", "-np", str(ranks)] if ranks > 1 else []
        return [*launcher, self.program, *map(str, arguments)]

    def call(self, *arguments, ranks=1, code=0, env=None):
        done = subprocess.run(self.command(*arguments, ranks=ranks), capture_output=True, text=True, timeout=120, check=False, env=env)
        expect(done.returncode == code, f"exit code {done.returncode}: {arguments}: {done.stdout}{done.stderr}")
        return done

    def train(self, run="run", *options, ranks=1, steps=60):
        self.call("train", *TINY, "--run.dir", run, "--train.steps", steps, *options, ranks=ranks)
        os.makedirs(f"{run}/source", exist_ok=True)
        with open(f"{run}/source/tokenizer_config.json", "w", encoding="utf-8") as file:
            json.dump({"chat_template": TEMPLATE}, file)

    def serve(self, *arguments, ranks=1, env=None):
        return Server(self.command("serve", *arguments, "--port", 0, "--threads", 1, "--cache-tokens", 512, ranks=ranks), env)

    def refuse(self, *arguments, words, code=2, ranks=1, env=None):
        done = self.call("serve", *arguments, code=code, ranks=ranks, env=env)
        for each in words:
            expect(each in done.stderr, f"'{each}' is not in: {done.stderr}")
        expect("listening" not in done.stdout, done.stdout)
        return done.stderr

    # Parts

    def whole_and_streamed(self, server):
        expected = {p: self.call("generate", "run", p, "--max-tokens", 20, "--quiet").stdout[:-1] for p in PROMPTS[:2]}
        for prompt, text in expected.items():
            answer = server.complete(prompt, max_tokens=20)
            choice = answer["choices"][0]
            expect((choice["text"], choice["finish_reason"]) == (text, "length"), f"{answer} instead of {text}")
            expect(answer["usage"]["completion_tokens"] == 20 and answer["usage"]["prompt_tokens"] == len(prompt), answer)
            events = server.stream("/v1/completions", {"model": "run", "prompt": prompt, "temperature": 0, "max_tokens": 20})
            pieces = [e["choices"][0]["text"] for e in events if e["choices"]]
            expect("".join(pieces) == text and len(pieces) > 5, f"{pieces} instead of {text}")
        drawn = [server.complete("Line", max_tokens=20, temperature=1, seed=seed)["choices"][0]["text"] for seed in (1, 1, 2)]
        expect(drawn[0] == drawn[1] != drawn[2], drawn)

    def chats(self, server):
        body = {"model": "run", "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Line 3"}],
                "temperature": 0, "max_tokens": 6}
        answer = server.ask("POST", "/v1/chat/completions", body)["choices"][0]["message"]
        text = self.call("generate", "run", "Line 3", "--apply-template", "--system", "S", "--max-tokens", 6, "--quiet").stdout[:-1]
        expect((answer["role"], answer["content"]) == ("assistant", text), f"{answer} instead of {text}")
        events = server.stream("/v1/chat/completions", body)
        pieces = [e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"]]
        expect("".join(pieces) == text, f"{pieces} instead of {text}")

    def refusals(self, server):
        error = server.ask("POST", "/v1/completions", {"model": "run", "prompt": "x" * 50, "max_tokens": 30}, status=400)
        expect("64" in json.dumps(error), error)
        server.ask("POST", "/v1/completions", {"model": "run", "prompt": "x", "n": 9, "max_tokens": 3}, status=429)
        expect(int(server.headers["Retry-After"]) >= 1, server.headers)
        server.ask("POST", "/v1/completions", {"model": "run", "prompt": "x", "no_such_field": 1}, status=400)
        expect(server.complete("Line", max_tokens=3)["choices"][0]["finish_reason"] == "length", "it does not go on")

    def left_alone(self, server):
        connection = server.connection()
        connection.request("POST", "/v1/completions", json.dumps({"model": "run", "prompt": "x", "max_tokens": 60, "stream": True}))
        connection.sock.close()
        while server.metric("vllm:num_requests_running") + server.metric("vllm:num_requests_waiting") > 0:
            pass
        expect(server.metric("vllm:kv_cache_usage_perc") == 0, "blocks are still in use")

    def answers(self):
        self.train()
        with self.serve("run", "--max-sequences", 4, "--max-waiting", 4, "--log-requests", "--status-seconds", 0.1) as server:
            banner = "\n".join(server.banner)
            for words in ("16 blocks of 32 tokens", "tokens/s", "no API key", "4 texts at once"):
                expect(words in banner, banner)
            server.ask("GET", "/health")
            for case in (self.whole_and_streamed, self.chats, self.refusals, self.left_alone):
                case(server)
            time.sleep(1)  # the watch looks twice a second whether there is something to say
            said = server.stop()
        expect("POST /v1/completions 200" in said and "stopped" in said, said)
        expect("serve: " in said and "Line" not in said, f"no status, or a prompt in it: {said}")

    def texts_of(self, server):
        texts = []
        for prompt in PROMPTS:
            choice = server.complete(prompt, max_tokens=12, logprobs=1)["choices"][0]
            texts.append((choice["text"], choice["finish_reason"]))
        return texts

    def layouts(self):
        self.train("run", "--parallel.tensor", 2, "--parallel.pipeline", 2, ranks=4, steps=20)
        self.train("mixture", "--moe.experts", 4, "--parallel.expert", 2, ranks=2, steps=20)
        for run, ranks, layout in (("run", 4, ["--tp", 2, "--pp", 2]), ("mixture", 2, ["--ep", 2])):
            with self.serve(run, "--name", "run") as server:
                expected = self.texts_of(server)
                server.stop()
            with self.serve(run, "--name", "run", *layout, ranks=ranks) as server:
                found = self.texts_of(server)
                expect(found == expected, f"{layout}: {found} instead of {expected}")
                server.stop(signal.SIGUSR1)  # which mpirun passes on
        self.refuse("run", "--tp", 2, words=["make 2 rank(s), and 1 were started"])
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.refuse("mixture", "--port", port, "--ep", 2, words=[f"port {port}"], code=7, ranks=2)

    def ends(self):
        self.train()
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.serve("run") as server:
                expect("stopped" in server.stop(number), "it did not say so")
        os.remove("run/source/tokenizer_config.json")
        with self.serve("run") as server:
            chat = [line for line in server.banner if line.startswith("chat")]
            expect("/v1/chat/completions answers 400: there is no chat template" in chat[0] and "--" not in chat[0], chat)
            refused = server.ask("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}, status=400)
            expect("no chat template" in refused["error"]["message"], refused)
            connection = server.connection()
            connection.request("HEAD", "/health")
            answer = connection.getresponse()
            expect(answer.status == 200 and answer.read() == b"" and int(answer.headers["Content-Length"]) > 0, answer.headers)
            connection.close()
            server.stop()
        self.keys()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            done = self.call("serve", "run", "--port", port, "--cache-tokens", 512, code=7)
            expect(str(port) in done.stderr and done.stdout == "", f"the model was loaded first: {done.stdout}{done.stderr}")
        said = self.refuse("run", "more", "--port", "65536", "--api-key", "secret", "--max-waitin", 3, "--tp", 2,
                           words=["--port is", "--api-key-file", "did you mean --max-waiting", "make 2 rank(s)", "takes one MODEL"])
        expect("secret" not in said, said)
        self.refuse("nowhere", words=["nowhere"], code=3)
        self.refuse("run", "--max-seq-len", 65, words=["more than the model's 64 positions"])
        expect("--max-waiting N" in self.call("serve", "--help").stdout, "no help")

    def keys(self):
        with open("keys", "w", encoding="utf-8") as file:
            file.write("one-key\n\nother-key\n")
        os.chmod("keys", 0o644)
        env = {**os.environ, "TRIREME_API_KEY": "third-key"}
        for arguments, known in ((["--api-key-file", "keys"], "other-key"), ([], "third-key")):
            with self.serve("run", *arguments, "--address", "0.0.0.0", env=env) as server:
                server.ask("GET", "/v1/models", status=401)
                models = server.ask("GET", "/v1/models", headers={"Authorization": f"Bearer {known}"})
                expect(models["data"][0]["id"] == "run", models)
                said = server.stop()
                expect("in the clear" in said and known not in said + "".join(server.banner), said)
                expect(("chmod 600" in said) == bool(arguments), said)
        self.refuse("run", "--api-key-file", "text.txt", words=["text.txt:1"], code=3)
        self.refuse("run", "--api-key-file", "none", words=["none"], code=3)


def main():
    program, mpirun, part = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3]
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        getattr(Cases(program, mpirun), part)()
        print(f"{part}: ok", flush=True)


if __name__ == "__main__":
    main()
