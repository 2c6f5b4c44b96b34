#!/usr/bin/env python3
"""Whole runs under trireme launch: how they end when they are asked to, are killed, or make no progress.

usage: tests/launch/start/run.py PROGRAM MPIRUN PART
"""
import os
import re
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "checkpoints"))
import runs  # noqa: E402
from runs import LIMIT, SAVED, Failure, expect  # noqa: E402

NO_PROGRESS = 93
RUN = ["--train.micro-batch", "1", "--train.global-batch", "4", "--checkpoint.minutes", "1000"]
ENDLESS = [*RUN, "--train.steps", "100000000"]
STEPS = 240  # of a run that is stopped in its first ones, also where the machine is busy and the signal late


class Launched:
    """Starts trireme launch with a copy of the program, by whose file its processes are found."""

    def __init__(self, bench):
        self.bench, self.program = bench, bench.path("program")
        shutil.copy(bench.program, self.program)

    def start(self, ranks, options, launch=(), more=None):
        command = [self.program, "launch", "--launcher", "mpirun", "--ranks", str(ranks), *launch, "--", "train", *runs.SMALL, *options]
        return self.bench.start_command(command, more=more)

    def processes(self):
        """Processes of the program, launch itself included."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{name}/exe") == os.path.realpath(self.program):
                    found.append(int(name))
            except OSError:
                continue
        return sorted(found)

    def end(self, process, code):
        status = process.wait(timeout=LIMIT)
        expect(status == code, f"exit {status}, expected {code}\n{self.bench.printed()[-3000:]}")
        self.expect_none_left()

    def expect_none_left(self, within=10):
        end = time.monotonic() + within
        while self.processes() and time.monotonic() < end:
            time.sleep(0.02)
        expect(not self.processes(), f"processes {self.processes()} are left")

    def last_line(self):
        return self.bench.printed().rstrip().splitlines()[-1]

    def wait_for_step(self, process, run, step):
        end = time.monotonic() + LIMIT
        while runs.last_step(self.bench.path(run)) < step:
            expect(process.poll() is None and time.monotonic() < end, f"no step {step}\n{self.bench.printed()[-3000:]}")
            time.sleep(0.01)


def run_stops(bench):
    """TERM and INT to launch in a step: saved, exit 75; resumed to the end it is the run that was not stopped, bit for bit."""
    launched = Launched(bench)
    length = [*RUN, "--train.steps", str(STEPS), "--resume", "auto"]
    launched.end(launched.start(2, [*length, "--run.dir", "whole"]), 0)
    for number in (signal.SIGTERM, signal.SIGINT):
        bench.remove("cut")
        process = launched.start(2, [*length, "--run.dir", "cut"])
        launched.wait_for_step(process, "cut", 2)
        process.send_signal(number)
        launched.end(process, SAVED)
        expect("the ranks are told to save" in bench.printed(), bench.printed()[-2000:])
        expect("The checkpoint is cut/checkpoints/step-" in launched.last_line(), launched.last_line())
        launched.end(launched.start(2, [*length, "--run.dir", "cut"]), 0)
        runs.expect_equal_runs(bench.path("whole"), bench.path("cut"), STEPS)
    for pause in (0.0, 0.2, 0.5):
        bench.remove("early")
        process = launched.start(2, [*ENDLESS, "--run.dir", "early"])
        time.sleep(pause)
        while not takes_signals(process.pid):  # while it is loaded it is any program
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        launched.end(process, SAVED)
    print("a signal to launch saves and ends with 75, also before the first step; the run goes on bit for bit")


def run_kills(bench):
    """Launch, a rank or all of it killed: nothing is left, and the last line says who it was."""
    launched = Launched(bench)
    process = launched.start(2, [*ENDLESS, "--run.dir", "killed"])
    launched.wait_for_step(process, "killed", 2)
    expect(len(launched.processes()) == 3, f"processes {launched.processes()}: two ranks and launch")
    process.kill()
    launched.end(process, -signal.SIGKILL)
    print("launch killed: no process is left")

    process = launched.start(2, [*ENDLESS, "--run.dir", "one"], ["--failed-hosts", "failed"])
    launched.wait_for_step(process, "one", 2)
    rank = next(one for one in launched.processes() if rank_of(one) == 1)
    os.kill(rank, signal.SIGKILL)
    code = process.wait(timeout=LIMIT)
    launched.expect_none_left()
    expect(code > 0 and code != SAVED, f"exit {code}\n{bench.printed()[-3000:]}")
    # By launch itself, or a rank that noticed.
    host = os.uname().nodename
    expect(re.match(r"trireme: error: rank 1\b", launched.last_line()) and host in launched.last_line(), launched.last_line())
    with open(bench.path("failed")) as failed:
        expect(re.match(rf"{re.escape(host)} \S+ job - exit {code} rank 1 Killed\n$", failed.read()), "the list of failed hosts")
    print("a rank killed: it and its host are named and noted")

    process = launched.start(2, [*ENDLESS, "--run.dir", "twice"])
    launched.wait_for_step(process, "twice", 2)
    for one in launched.processes():
        if rank_of(one) == 1:
            os.kill(one, signal.SIGSTOP)  # it will save nothing
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    expect(process.poll() is None, "the ranks cannot have saved")
    process.send_signal(signal.SIGINT)
    launched.end(process, 128 + signal.SIGTERM)
    print("a second signal ends all at once, also a rank that is stopped")


def takes_signals(process):
    """Whether a process has a handler for TERM."""
    with open(f"/proc/{process}/status") as status:
        caught = next(int(line.split()[1], 16) for line in status if line.startswith("SigCgt"))
    return bool(caught & 1 << (signal.SIGTERM - 1))


def rank_of(process):
    """The rank of a process as mpirun numbers it; -1: it is none."""
    try:
        with open(f"/proc/{process}/environ", "rb") as file:
            for variable in file.read().split(b"\0"):
                if variable.startswith(b"OMPI_COMM_WORLD_RANK="):
                    return int(variable.split(b"=")[1])
    except OSError:
        pass
    return -1


def run_errors(bench):
    """What a rank says of its error is the last line; launch itself refuses what cannot work."""
    launched = Launched(bench)
    launched.end(launched.start(2, [*RUN, "--data.text", "none.txt"]), 3)
    expect("none.txt" in launched.last_line(), launched.last_line())
    launched.end(launched.start(3, [*RUN, "--parallel.tensor", "2"]), 2)
    expect("checked for 3 ranks; others: trireme launch --ranks N" in launched.last_line(), bench.printed())
    launched.end(launched.start(1, [*RUN, "--train.steps", "4", "--run.dir", "one"], ["--mpirun", "--tag-output"]), 0)
    expect("[1,0]<stdout>:" in bench.printed(), "options of mpirun are passed on")
    nowhere = {"PATH": bench.folder}
    launched.end(launched.start(2, RUN, more=nowhere), 7)
    expect("mpirun cannot be started: No such file or directory" in launched.last_line(), launched.last_line())
    # Several tasks that would each train alone, as other launchers and plugins start them, and a job's script.
    step = {"SLURM_JOB_ID": "17", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}
    for more, words in ((step, "srun --mpi=pmix"), ({**step, "PMI_RANK": "0", "PMI_SIZE": "2"}, "its plugin 'pmi2'"),
                        ({"SLURM_JOB_ID": "17", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, "its script started this one process"),
                        ({"OMPI_COMM_WORLD_SIZE": "2"}, "each sees only itself"), ({"PMI_SIZE": "2"}, "each sees only itself")):
        process = bench.start_command([launched.program, "train", *runs.SMALL, *RUN], more=more)
        launched.end(process, 2)
        expect(words in bench.printed(), f"{more}: {bench.printed()}")
    bench.run_command([launched.program, "launch", "--dry-run", "--launcher", "mpirun", "--", "trian"], 2)
    table = bench.run_command([launched.program, "launch", "--dry-run", "--ranks", "4", "--launcher", "mpirun", "--", "train",
                               *runs.SMALL, *RUN, "--parallel.tensor", "2"])
    expect(re.search(r"\n +3  \S+ +3  .* 1 +0 +0 +1\n", table), table)
    expect(f" {launched.program} train --data.text t.txt" in table, table)
    print("errors of ranks are the last line, launch's own say what would work")


def run_progress(bench):
    """Three restarts that commit nothing end with 93; one that commits ends the succession."""
    launched = Launched(bench)
    options = [*RUN, "--train.steps", "30", "--resume", "auto", "--run.dir", "stuck"]
    for _ in range(4):  # a start and three restarts
        bench.run_and_kill(1, options, 2)
    launched.end(launched.start(1, options), NO_PROGRESS)
    reason = launched.last_line()
    expect(reason.startswith("trireme: error: stuck: 3 restarts in succession have committed no step after the start"), reason)
    launched.end(launched.start(2, options), NO_PROGRESS)
    os.remove(bench.path("stuck", "checkpoints", "restarts"))
    for step in (3, 6, 9, 12, 15):  # ends that were asked for and have committed are no failures
        launched.end(launched.start(1, [*options, "--train.stop-after", str(step)]), SAVED)
    for _ in range(3):
        bench.run_and_kill(1, [*options, "--resume", "must"], 17)
    launched.end(launched.start(1, options), NO_PROGRESS)
    expect("no step after step 15" in launched.last_line(), launched.last_line())
    launched.end(launched.start(1, [*options, "--resume", "15"]), 0)
    print("three restarts without a new committed step end with 93")


PARTS = {"stops": run_stops, "kills": run_kills, "errors": run_errors, "progress": run_progress}


def main():
    if len(sys.argv) != 4 or sys.argv[3] not in PARTS:
        print(__doc__, file=sys.stderr)
        return 2
    # Where these tests run need not be a Slurm job, or the login node of a cluster.
    for variable in [name for name in os.environ if name.startswith(("SLURM_", "TRIREME_"))]:
        del os.environ[variable]
    with runs.Bench(sys.argv[1], sys.argv[2]) as bench:
        try:
            PARTS[sys.argv[3]](bench)
        except Failure as failure:
            print(f"FAILED: {failure}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
