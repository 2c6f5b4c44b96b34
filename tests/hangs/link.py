"""A link between two hosts that goes down: hosts are network namespaces of cluster/testbed."""
import os
import subprocess
import time
from pathlib import Path

from jobs import SMALL, Failure, Job, Layout
from faults import finish

HOSTS = Path(__file__).resolve().parents[2] / "cluster/testbed/hosts.sh"


def run(bench, draw, layout, limit_text, limit):
    folder = bench.path("testbed")
    more = {"TRIREME_TESTBED": folder, "TRIREME_TESTBED_SLOTS": "2"}
    layout = draw.choice([Layout(4, 1, 1), Layout(2, 2, 1), Layout(1, 2, 2), Layout(2, 1, 2)])
    done = subprocess.run([HOSTS, "up", "2", folder], capture_output=True, text=True, env={**os.environ, **more})
    if done.returncode:
        raise Failure(f"no hosts on this machine: {done.stderr}")
    try:
        words = [bench.program, "train", *SMALL, *layout.options(), "--run.dir", "run/r", "--run.hang-limit", limit_text]
        # The testbed says which interface MPI is to take.
        job = Job(bench, layout.ranks, words, more, [HOSTS, "exec", "h1"], without=("OMPI_MCA_btl_tcp_if_include", "OMPI_MCA_oob_tcp_if_include"))
        job.wait_for_step(draw.randint(1, 10))
        time.sleep(draw.random() / 5)
        subprocess.run([HOSTS, "link", "h2", "down"], check=True, env={**os.environ, **more})
        return finish(job, "link", layout, -1, limit, True, r"\bh1\b.*\bh2\b|\bh2\b.*\bh1\b")
    finally:
        subprocess.run([HOSTS, "down"], check=True, env={**os.environ, **more})
