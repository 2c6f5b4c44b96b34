"""A server that is started and asked: `trireme serve`, and llama.cpp's by the package xllamacpp."""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
               "OMPI_MCA_btl_tcp_if_include": "lo", "OMPI_MCA_oob_tcp_if_include": "lo",
               "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


class Failure(Exception):
    pass


def expect(holds, words):
    if not holds:
        raise Failure(words)


def at_dashes(words):
    """What stands before and behind "--"."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1:]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """Answers at 127.0.0.1:port until the `with` ends, then is told to stop. `command` is the whole command line."""

    def __init__(self, command, port, environment=None, limit=120):
        self.command, self.port, self.limit = [str(word) for word in command], port, limit
        self.environment = {**os.environ, **ENVIRONMENT, **(environment or {})}
        self.says = tempfile.TemporaryFile("w+")

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.says, stderr=self.says,
                                        env=self.environment)
        end = time.monotonic() + self.limit
        while True:
            expect(self.process.poll() is None, f"{' '.join(self.command)}: exit {self.process.returncode}\n{self.said()}")
            try:
                if get(self.port, "/health")[0] == 200:
                    return self
            except OSError:
                pass
            if time.monotonic() > end:
                self.stop(signal.SIGKILL)
                raise Failure(f"{' '.join(self.command)}: not healthy after {self.limit} s\n{self.said()}")
            time.sleep(0.02)

    def __exit__(self, *_):
        self.stop()
        self.says.close()

    def said(self):
        self.says.seek(0)
        return self.says.read()[-3000:]

    def stop(self, how=signal.SIGTERM):
        """The exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def usage(self):
        """(resident bytes, threads, open files) of the process."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        number = {name: int(re.search(rf"^{name}:\s+(\d+)", status, re.M).group(1)) for name in ("VmRSS", "Threads")}
        return number["VmRSS"] * 1024, number["Threads"], len(os.listdir(f"/proc/{self.process.pid}/fd"))


def trireme(program, model, *options, **more):
    port = free_port()
    return Server([program, "serve", model, "--port", port, *options], port, **more)


def llama_cpp(model, threads, slots, context):
    """llama.cpp's server, with as many places for texts as `slots` and as many tokens for each as `context`."""
    port = free_port()
    return Server([sys.executable, __file__, model, port, threads, slots, context], port)


def ask(port, method, path, body=None, headers=None, limit=600):
    """(status, headers, body) of one request over a connection of its own; an object becomes JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=limit)
    try:
        is_object = not isinstance(body, (bytes, str, type(None)))
        connection.request(method, path, json.dumps(body) if is_object else body,
                           {"Content-Type": "application/json", **(headers or {})} if body is not None else headers or {})
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read()
    finally:
        connection.close()


def get(port, path, **more):
    status, _, body = ask(port, "GET", path, **more)
    return status, body


def post(port, path, body, **more):
    """The reply's object; Failure where the status is not 200."""
    status, _, reply = ask(port, "POST", path, body, **more)
    expect(status == 200, f"POST {path}: {status} {reply[:500]!r}")
    return json.loads(reply)


def stream(port, path, body, limit=600):
    """The objects of a reply in server-sent events, as they come; Failure where it is no such stream, or ends early."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=limit)
    try:
        connection.request("POST", path, json.dumps({**body, "stream": True}), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        kind = reply.headers.get("Content-Type", "")
        if reply.status != 200 or not kind.startswith("text/event-stream"):
            raise Failure(f"POST {path}: {reply.status} {kind} {reply.read(500)!r}")
        while line := reply.readline():
            if line.startswith(b"data: [DONE]"):
                expect(reply.read().strip() == b"", "something comes after [DONE]")
                return
            if line.startswith(b"data: "):
                yield json.loads(line[6:])
            else:
                expect(line.strip() == b"" or line.startswith((b":", b"event: ")), f"a line that is no event: {line!r}")
        raise Failure(f"POST {path}: the stream ended without [DONE]")
    finally:
        connection.close()


LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(rf"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{{({LABEL}(?:,{LABEL})*)?,?\}})? ([^ ]+)( -?\d+)?$")


def samples(page):
    """{(name, labels as written): value} of Prometheus' text format, read strictly: each family has one HELP and TYPE before its
    samples and stands together; nothing is there twice; buckets of a histogram rise up to +Inf, which is its count."""
    found, kinds, helped, closed, family = {}, {}, set(), set(), None
    expect(page.endswith("\n"), "the page does not end with a line's end")
    for line in page.splitlines():
        if line.startswith("# "):
            _, word, name, rest = (line.split(" ", 3) + ["", ""])[:4]
            expect(word in ("HELP", "TYPE") and name not in closed, f"out of place: {line}")
            if name != family:
                closed.add(family)
                family = name
            seen = helped if word == "HELP" else kinds
            expect(name not in seen, f"twice: {line}")
            if word == "HELP":
                helped.add(name)
            else:
                expect(rest in ("counter", "gauge", "histogram"), f"what type is this: {line}")
                kinds[name] = rest
        elif line:
            match = SAMPLE.match(line)
            expect(match, f"no sample: {line}")
            name, labels, value = match.group(1), match.group(2) or "", float(match.group(3))
            base = re.sub("_(bucket|sum|count)$", "", name) if kinds.get(family) == "histogram" else name
            expect(base == family and family in kinds and family in helped, f"without HELP and TYPE before it: {line}")
            expect((name, labels) not in found, f"twice: {line}")
            expect(kinds[family] == "gauge" or value >= 0, f"negative: {line}")
            found[name, labels] = value
    check_buckets(found, [name for name, kind in kinds.items() if kind == "histogram"])
    return found


def check_buckets(found, histograms):
    for name in histograms:
        series = {}
        for (sample, labels), value in found.items():
            if sample == f"{name}_bucket":
                limit = re.search(r'(?:^|,)le="([^"]*)"', labels)
                expect(limit, f"{name}: a bucket without le: {labels}")
                rest = re.sub(r'(?:^|,)le="[^"]*"', "", labels).strip(",")
                series.setdefault(rest, []).append((float(limit.group(1)), value))
        expect(series, f"{name}: no buckets")
        for rest, buckets in series.items():
            values = [value for _, value in buckets]
            expect(buckets == sorted(buckets) and values == sorted(values), f"{name}: buckets {buckets}")
            expect(buckets[-1][0] == float("inf") and found.get((f"{name}_count", rest)) == values[-1] and (f"{name}_sum", rest) in found,
                   f"{name}: sum, count and +Inf: {rest}")


def metrics(port):
    status, body = get(port, "/metrics")
    expect(status == 200, f"/metrics: {status}")
    return samples(body.decode())


def total(found, name):
    """Of all label sets; Failure where there is none."""
    values = [value for (sample, _), value in found.items() if sample == name]
    expect(values, f"/metrics has no {name}: {sorted({sample for sample, _ in found})}")
    return sum(values)


def main(model, port, threads, slots, context):
    import xllamacpp
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.n_ctx = int(slots) * int(context)
    parameters.n_parallel = int(slots)
    parameters.n_gpu_layers = 0
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = int(threads)
    parameters.fit_params = False
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = int(port)
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # a server's threads need no end
    while True:
        signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
