"""The faults: each is planted in one rank of a job at a drawn moment, and says what has to follow."""
import collections
import os
import re
import signal
import subprocess
import time

from jobs import LAYOUTS, SMALL, Failure, Job, busy_seconds, expect

# What one run showed.
Outcome = collections.namedtuple("Outcome", "fault layout rank seconds limit code error")

CRASH_LIMIT = 5  # seconds in which a job ends that has lost a rank
BEYOND_LIMIT = 5  # and one that hangs, after its limit


class Fault:
    """`is_hang`: it is seen only because nothing gets on."""

    def __init__(self, name, run, is_hang=False):
        self.name, self.run, self.is_hang = name, run, is_hang


def train_job(bench, layout, limit, more=None, before=(), preload=True):
    words = [bench.program, "train", *SMALL, *layout.options(), "--run.dir", "run/r", "--run.hang-limit", limit]
    if preload:
        words = ["env", f"LD_PRELOAD={bench.preload()}", *words]
    return Job(bench, layout.ranks, words, more, before)


def finish(job, fault, layout, rank, limit, is_hang, names, codes=None):
    """Waits for the end of a job, and holds it against what is promised."""
    allowed = (limit + BEYOND_LIMIT if is_hang else CRASH_LIMIT) + busy_seconds()
    seconds, code = job.wait_for_end(allowed)
    expect(code != 0, f"exit code 0: {job.said()[-3000:]}")
    expect(codes is None or code in codes, f"exit code {code}, expected {codes}: {job.said()[-3000:]}")
    error = job.last_error()
    expect(re.search(names, error), f"'{names}' is not named by '{error}': {job.said()[-4000:]}")
    return Outcome(fault, str(layout), rank, seconds, limit if is_hang else 0, code, error)


def planted(fault, is_hang, names=None, codes=None, calls=(150, 900)):
    """A fault of the library that is preloaded, in the program as it is."""
    def run(bench, draw, layout, limit_text, limit):
        rank = draw.randrange(layout.ranks)
        environment = {"FAULT": draw.choice(fault), "FAULT_RANK": str(rank), "FAULT_CALL": str(draw.randint(*calls)),
                       "FAULT_MARK": bench.path("mark")}
        job = train_job(bench, layout, limit_text, environment)
        job.wait_for(lambda: os.path.exists(bench.path("mark")), "the fault has not come")
        return finish(job, fault[0], layout, rank, limit, is_hang, (names or r"\brank {}\b").format(rank), codes)
    return run


def called(kinds, is_hang):
    """A rank that makes other calls than the others, in a job of calls alone."""
    def run(bench, draw, layout, limit_text, limit):
        layout = draw.choice([one for one in LAYOUTS if one.degrees[0] > 1])
        kind, rank, step = draw.choice(kinds), draw.randrange(layout.ranks), draw.randint(20, 200)
        job = Job(bench, layout.ranks, [bench.job, bench.path("run"), limit_text, str(layout), kind, str(rank), str(step)])
        # It says itself when it is stuck: from the start of the job the limit begins after its steps.
        job.wait_for(lambda: f"step {step} begins" in job.said(), "the fault has not come")
        # Of two ranks that called differently either may be wrong.
        codes = (6,) if is_hang else None
        return finish(job, kind if is_hang else "changed", layout, rank, limit, is_hang, rf"\branks? ([\d, -]*\b)?{rank}\b", codes)
    return run


def memory(bench, draw, layout, limit_text, limit):
    """Of a control group where the machine lets us make one; else of the process."""
    rank, group = draw.randrange(layout.ranks), f"/sys/fs/cgroup/memory/trireme-hangs-{os.getpid()}"
    environment = {"FAULT": "memory", "FAULT_RANK": str(rank), "FAULT_CALL": str(draw.randint(150, 600)),
                   "FAULT_MARK": bench.path("mark")}
    try:
        os.mkdir(group)
        with open(f"{group}/memory.limit_in_bytes", "w") as file:
            file.write(str(600 << 20))
    except OSError:
        group = None
    script = bench.path("limited.sh")
    with open(script, "w") as file:
        limit_it = f"echo $$ > {group}/tasks" if group else "ulimit -v 4000000"
        file.write(f'#!/bin/sh\nif [ "$OMPI_COMM_WORLD_RANK" = {rank} ]; then {limit_it}; fi\nexec "$@"\n')
    os.chmod(script, 0o755)
    try:
        job = Job(bench, layout.ranks, [script, "env", f"LD_PRELOAD={bench.preload()}", bench.program, "train", *SMALL,
                                        *layout.options(), "--run.dir", "run/r", "--run.hang-limit", limit_text], environment)
        job.wait_for(lambda: os.path.exists(bench.path("mark")), "the fault has not come")
        words = rf"\brank {rank}\b.*" + ("no memory left" if group else "out of memory")
        return finish(job, "memory", layout, rank, limit, False, words)
    finally:
        if group:
            os.rmdir(group)


def launcher(bench, draw, layout, limit_text, limit):
    """mpirun is killed: what its ranks say goes to log.txt alone."""
    job = train_job(bench, layout, limit_text, preload=False)
    job.wait_for_step(draw.randint(1, 30))
    time.sleep(draw.random() / 5)
    job.process.kill()
    return finish(job, "launcher", layout, -1, limit, False, "the launcher is gone")


FAULTS = {
    "kill": Fault("kill -9", planted(["kill"], False)),
    "segv": Fault("segmentation fault", planted(["segv"], False, r"\brank {}\b.*segmentation fault")),
    "uncaught": Fault("uncaught exception", planted(["uncaught", "throw"], False, r"\brank {}\b.*planted by a test")),
    "exit": Fault("early exit", planted(["exit", "_exit"], False)),
    "stop": Fault("SIGSTOP", planted(["stop"], True, r"\brank {} is frozen", (6,)), True),
    "loop": Fault("endless loop in reading data", planted(["loop"], True, r"\brank {} waits for no other rank", (6,), (8, 60)), True),
    "skip": Fault("skipped collective", called(["skip"], True), True),
    "changed": Fault("changed count or type", called(["count", "type"], False)),
    "memory": Fault("memory limit", memory),
    "launcher": Fault("mpirun killed", launcher),
}
