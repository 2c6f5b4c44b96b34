"""The cluster on one machine as tests use it, and runs on it."""
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/checkpoints"))
from runs import ENVIRONMENT, LIMIT, SMALL, Bench, Failure, exact_metrics, expect, weights  # noqa: E402,F401 (used by others)

HOSTS = ROOT / "cluster/testbed/hosts.sh"
SLURM = ROOT / "cluster/testbed/slurm.sh"


class TestbedError(Exception):
    """This machine has no such cluster."""


def call(bench, command, code=0, more=None):
    """What a command prints on both outputs; it ends with exit code `code` (None: any)."""
    done = subprocess.run([str(word) for word in command], cwd=bench.folder, env={**os.environ, **ENVIRONMENT, **(more or {})},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=LIMIT)
    expect(code is None or done.returncode == code,
           f"exit {done.returncode}, expected {code}: {' '.join(map(str, command))}\n{done.stdout[-3000:]}")
    return done.stdout


class Hosts:
    """Hosts h1 to hN while it is entered."""

    def __init__(self, bench, num, slots):
        self.bench, self.num, self.slots = bench, num, slots
        self.folder = bench.path(f"testbed-{num}")

    def __enter__(self):
        done = subprocess.run([HOSTS, "up", str(self.num), self.folder], capture_output=True, text=True,
                              env={**os.environ, "TRIREME_TESTBED_SLOTS": str(self.slots)})
        if done.returncode:
            raise TestbedError(f"no hosts on this machine; tests of clusters can be left out by -DTRIREME_CLUSTER_TESTS=OFF: {done.stderr}")
        return self

    def __exit__(self, *unused):
        subprocess.run([HOSTS, "down"], env={**os.environ, "TRIREME_TESTBED": self.folder}, check=True)

    def call(self, host, command, code=0):
        return call(self.bench, [HOSTS, "exec", host, *command], code, {"TRIREME_TESTBED": self.folder})

    def link(self, host, state):
        call(self.bench, [HOSTS, "link", host, state], 0, {"TRIREME_TESTBED": self.folder})


class Slurm:
    """A Slurm cluster of some nodes while it is entered; sbatch is called in the bench's folder."""

    def __init__(self, bench, nodes):
        self.bench, self.nodes, self.folder = bench, nodes, bench.path("slurm")

    def __enter__(self):
        done = subprocess.run([SLURM, "up", self.folder, str(self.nodes)], capture_output=True, text=True)
        if done.returncode:
            raise TestbedError(f"no Slurm on this machine: {done.stderr}")
        return self

    def __exit__(self, *unused):
        subprocess.run([SLURM, "down", self.folder], check=True)

    def call(self, *command, code=0, more=None):
        return call(self.bench, [SLURM, "exec", self.folder, *command], code, more)

    def submit(self, *arguments, more=None):
        """The number of the job."""
        printed = self.call("sbatch", "--parsable", *arguments, more=more)
        return printed.strip().splitlines()[-1].split(";")[0]

    def show(self, job):
        """What scontrol says of a job: state, exit code, how often it was started again; of an array's task by "JOB_TASK"."""
        printed = self.call("scontrol", "show", "job", job)
        return dict(re.findall(r"(\S+?)=(\S*)", printed))

    def wait(self, job, holds, what, limit=LIMIT):
        """Waits until holds(show(job)), and returns that."""
        end = time.monotonic() + limit
        while True:
            found = self.show(job)
            if holds(found):
                return found
            if time.monotonic() > end:
                raise Failure(f"job {job} is not {what} after {limit} s: {found.get('JobState')}, {found.get('Reason')}\n"
                              + self.log(found)[-3000:])
            time.sleep(0.3)

    def wait_until(self, holds, what, limit=LIMIT):
        end = time.monotonic() + limit
        while not holds():
            if time.monotonic() > end:
                raise Failure(f"waited {limit} s for {what}")
            time.sleep(0.3)

    def end_of(self, job):
        """Waits for the end of a job: what scontrol says of it then."""
        return self.wait(job, lambda found: found["JobState"] in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"), "over", 3 * LIMIT)

    def log(self, found):
        try:
            return Path(found["StdOut"]).read_text(errors="replace")
        except (OSError, KeyError):
            return "(no log)"


def expect_equal(bench, one, other):
    """Two runs in folders of the bench whose losses, norms and weights are equal bit for bit."""
    a, b = exact_metrics(bench.path(one)), exact_metrics(bench.path(other))
    expect(a == b, f"{other}: metrics are not those of {one}:\n{a}\n{b}")
    expect(weights(bench.path(one)) == weights(bench.path(other)), f"{other}: weights are not those of {one}")
