"""No false alarm: jobs that are well, beside processes that take all processors, and after a suspension of all ranks."""
import os
import signal
import subprocess
import time

from faults import train_job
from jobs import LAYOUTS, expect

LIMIT = 3


def run(bench, whole):
    """A few seconds in one layout; `whole`: ten minutes over four, with a suspension of a minute in each."""
    layouts = LAYOUTS[3:7] if whole else LAYOUTS[:1]
    for layout in layouts:
        job = train_job(bench, layout, str(LIMIT), preload=False)
        busy = []
        try:
            job.wait_for_step(1)
            busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(4)]
            run_on(job, 70 if whole else 2)
            suspend(job, 60 if whole else LIMIT + 2, bench.program)
            run_on(job, 20 if whole else LIMIT + 1)
        finally:
            for process in busy:
                process.kill()
                process.wait()
            job.end()
        print(f"clean: layout {layout}, {job.steps()} steps, no alarm")


def run_on(job, seconds):
    """Steps are done all the while, and nobody complains."""
    before, end = job.steps(), time.monotonic() + seconds
    while time.monotonic() < end:
        expect(job.process.poll() is None, f"the job has ended: {job.said()[-3000:]}")
        time.sleep(0.1)
    job.wait_for(lambda: job.steps() > before, "the job does not get on")
    expect("trireme: error" not in job.said() and "no progress" not in job.said(), f"a false alarm: {job.said()[-3000:]}")


def suspend(job, seconds, program):
    ranks = job.processes(program)
    expect(len(ranks) == job.ranks, f"{len(ranks)} processes of {job.ranks} ranks")
    for pid in ranks:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    for pid in ranks:
        os.kill(pid, signal.SIGCONT)
