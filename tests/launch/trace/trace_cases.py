#!/usr/bin/env python3
"""Traces of whole runs, as users make them.

Usage: trace_cases.py PROGRAM MPIRUN layouts|ends
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from check_trace import Trace  # noqa: E402

TINY = ["--model.layers", "2", "--model.hidden", "32", "--model.heads", "2", "--train.seq-len", "32", "--train.steps",
        "6", "--train.micro-batch", "2", "--train.global-batch", "8", "--train.log-every", "1",
        "--train.sample-tokens", "0", "--run.threads", "1"]


class Cases:
    def __init__(self, program, mpirun):
        self.program, self.mpirun = program, mpirun
        with open("text.txt", "w", encoding="utf-8") as file:
            for i in range(400):
                file.write(f"Line {i} of a text that a small model learns by heart, again and again.\n")

    def train(self, ranks, *options, code=0):
        launcher = [self.mpirun, "--oversubscribe", "--bind-to", "none", "-np", str(ranks)] if ranks > 1 else []
        done = subprocess.run([*launcher, self.program, "train", "--data.text", "text.txt", *TINY, *options],
                              capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == code, f"exit code {done.returncode}: {options}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def trace(self, ranks, *options, steps=(3, 5)):
        """A run that is traced from 3 to 5."""
        folder = f"run-{ranks}{''.join(options)}"
        out = self.train(ranks, "--run.trace", "3:5", "--run.dir", folder, *options)
        path = f"{folder}/trace-{steps[0]}-{steps[1]}.json"
        assert path in out, out
        trace = Trace(path)
        assert len(trace.processes) == ranks, trace.processes
        for rank in range(ranks):
            assert trace.steps(rank) == list(range(steps[0], steps[1] + 1)), (rank, trace.steps(rank))
            assert trace.counters[rank, "memory in bytes"], rank
        rates = trace.counters[0, "tokens/s"]
        assert len(rates) == steps[1] - steps[0] + 1 and all(args["tokens/s"] > 0 for _, args in rates), rates
        assert "ended_early" not in trace.metadata and "lost_calls" not in trace.metadata, trace.metadata
        for clock in trace.metadata["clocks"]:
            assert clock["offset_us"] == clock["round_trip_us"] == 0, "one host has one clock"
        return trace

    def one_rank(self):
        trace = self.trace(1)
        assert not trace.flows and not trace.groups(0), "nobody to talk to"
        assert len(trace.named("attention")) == 3 * 4 * 2, "steps, micro-batches, layers"
        assert len(trace.named("forward 3")) == len(trace.named("update")) == 3
        assert len(trace.named("layer 1")) == 3 * 4 * 2, "forward and backward"
        assert trace.processes[0].endswith("dp 0 pp 0 cp 0 tp 0 ep 0"), trace.processes

    def data_parallel(self):
        for ranks in (2, 3):
            trace = self.trace(ranks, *(["--train.global-batch", "6"] if ranks == 3 else []))
            sums = [event for event in trace.named("all_reduce", 0) if event["args"]["phase"] in ("backward", "reduction")]
            assert sums and all(event["args"]["dtype"] == "f32" for event in sums if event["args"]["count"] > 100), sums
            starts = [ends["s"] for ends in trace.flows.values() if ends["s"]["name"] == "all_reduce"]
            calls = trace.named("all_reduce", 0)
            assert len(starts) == (ranks - 1) * len(calls), (len(starts), len(calls))

    def pipeline(self):
        trace = self.trace(4, "--pp", "2", "--dp", "2")
        assert {"pipeline", "world"} <= trace.groups(0), trace.groups(0)
        # Rank 0 is of the first stage, ranks 2 and 3 of the second.
        sent = [event for event in trace.named("send", 0) if event["args"]["label"].startswith("activation")]
        assert len(sent) == 3 * 2 and all(event["args"]["peer"] == 2 for event in sent), sent
        messages = [ends for ends in trace.flows.values() if ends["s"]["name"] == "message"]
        assert len(messages) == sum(len(trace.named("send", rank)) for rank in range(4)) >= 2 * 2 * len(sent), messages
        assert {(ends["s"]["pid"], ends["f"]["pid"]) for ends in messages} == {(0, 2), (2, 0), (1, 3), (3, 1)}
        assert trace.processes[3].endswith("dp 1 pp 1 cp 0 tp 0 ep 0"), trace.processes

    def ring(self):
        trace = self.trace(2, "--cp", "2")
        assert any(ends["s"]["name"] == "all_to_all_v" for ends in trace.flows.values()), "keys and values go round"

    def ends(self):
        """Beyond the end, stopped within, resumed within, resumed behind."""
        assert "run.trace 7:9: the last step is train.steps 6" in self.train(1, "--run.trace", "7:9", code=2)
        for bad in ("0:3", "5:4", "x", "3:", ":3", "-1:2", "1:2:3"):
            assert "steps FROM:TO" in self.train(1, "--run.trace", bad, code=2), bad
        both = self.train(1, "--run.trace", "2:4", "--run.profile-step", "3", code=2)
        assert "measures that step too" in both, both
        self.train(1, "--run.trace", "5:100", "--run.dir", "beyond")
        assert Trace("beyond/trace-5-6.json").steps() == [5, 6]
        run = ["--run.trace", "3:5", "--run.dir", "stopped", "--run.resume", "auto"]
        self.train(2, *run, "--train.stop-after", "4", code=75)
        assert Trace("stopped/trace-3-4.json").steps() == [3, 4]
        self.train(2, *run)
        assert Trace("stopped/trace-5-5.json").steps() == [5]

    def profile(self):
        """Its trace is one of one step, with the ranks' accounts."""
        self.train(2, "--tp", "2", "--run.profile-step", "3", "--run.trace", "4:5", "--run.dir", "profile")
        trace = Trace("profile/profile.json")
        assert trace.steps() == [3] and len(trace.json["accounts"]) == 2
        assert "tensor" in trace.json["accounts"][0]["wait_ms"], trace.json["accounts"][0]["wait_ms"]
        assert Trace("profile/trace-4-5.json").steps() == [4, 5]


def main():
    cases = Cases(os.path.abspath(sys.argv[1]), sys.argv[2])
    parts = {"layouts": (cases.one_rank, cases.data_parallel, cases.pipeline, cases.ring),
             "ends": (cases.ends, cases.profile)}
    for case in parts[sys.argv[3]]:
        case()
        print(case.__name__, flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as work:
        sys.argv[1] = os.path.abspath(sys.argv[1])
        os.chdir(work)
        main()
