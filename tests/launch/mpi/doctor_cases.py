#!/usr/bin/env python3
"""trireme doctor as people start it: alone and under mpirun, with a stale segment and another build planted, and with a frozen rank.

usage: doctor_cases.py PROGRAM MPIRUN RANKS
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

CHECKS = ["mpi", "cuda", "binding", "threads", "shm", "limits", "memory", "root", "cpu", "ptrace", "disk", "clock", "environment", "hosts",
          "axes", "links"]
QUICK = ["--disk-mib", "1", "--traffic-kib", "16"]


def fail(why):
    sys.exit(f"doctor_cases: {why}")


def expect(holds, what, done):
    if not holds:
        fail(f"{what}\nexit {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-2000:]}")


def run(command):
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def findings_of(done, check):
    return [finding for finding in json.loads(done.stdout)["findings"] if finding["check"] == check]


def judged_all(start, ranks):
    """Every check is there, and each that is not OK has a remedy."""
    done = run([*start, "doctor", "--json", *QUICK])
    report = json.loads(done.stdout)
    expect(report["version"] == 1 and len(report["ranks"]) == ranks, "not the report of all ranks", done)
    expect({finding["check"] for finding in report["findings"]} == set(CHECKS), "checks are missing", done)
    for finding in report["findings"]:
        expect((finding["verdict"] == "OK") == (finding["remedy"] == ""), f"remedy of {finding}", done)
    failed = [finding for finding in report["findings"] if finding["verdict"] == "FAIL"]
    expect(done.returncode == (7 if failed else 0), f"exit code with {failed}", done)
    expect(findings_of(done, "hosts")[0]["verdict"] == "OK", "one program is none", done)
    expect(findings_of(done, "axes")[0]["verdict"] == "OK" and len(report["axes"]) == (ranks > 1), "all-reduce", done)
    table = run([*start, "doctor", "--only", "mpi,axes", *QUICK])
    expect(table.returncode == 0 and "axes         OK" in table.stdout and "disk" not in table.stdout, "table of two checks", table)


def stale_segment(start):
    name = f"/dev/shm/nccl-planted-{os.getpid()}"
    with open(name, "w") as file:
        file.write("left behind")
    try:
        done = run([*start, "doctor", "--json", "--only", "shm"])
    finally:
        os.remove(name)
    found = findings_of(done, "shm")
    expect(any(f["verdict"] == "WARN" and "rm " in f["remedy"] for f in found), "the stale segment is not named", done)
    segments = json.loads(done.stdout)["ranks"][0]["shm"]["stale"]
    expect(name in [segment["path"] for segment in segments], "not the planted segment", done)
    with open(name, "w"):  # held open: in use
        done = run([*start, "doctor", "--json", "--only", "shm"])
        os.remove(name)
    expect(name not in [segment["path"] for segment in json.loads(done.stdout)["ranks"][0]["shm"]["stale"]], "a segment in use", done)


def another_build(program, mpirun, ranks, folder):
    """The last rank has a program with another hash."""
    other = os.path.join(folder, "other")
    shutil.copy(program, other)
    with open(other, "ab") as file:
        file.write(b"another build")
    done = run([mpirun, "--oversubscribe", "-np", str(ranks - 1), program, "doctor", "--json", "--only", "hosts", ":", "-np", "1", other, "doctor",
                "--json", "--only", "hosts"])
    found = findings_of(done, "hosts")
    expect(done.returncode == 7 and any(f["verdict"] == "FAIL" and "program" in f["text"] and f"rank {ranks - 1} (" in f["text"] for f in found),
           "the other build is not named", done)


def own_memory(pid):
    """KiB that a process has for itself."""
    try:
        with open(f"/proc/{pid}/status") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("RssAnon")), 0)
    except OSError:
        return 0


def frozen_rank(program, mpirun, ranks, folder):
    """The last rank stops itself as a debugger would: the job ends with 6, and it is named."""
    script = os.path.join(folder, "start")
    with open(script, "w") as file:
        file.write('#!/bin/sh\nif [ "$OMPI_COMM_WORLD_RANK" = %d ]; then echo $$ >%s/pid; fi\nexec "$@"\n' % (ranks - 1, folder))
    os.chmod(script, 0o755)
    # Long messages: it is stopped while it fills them, in the middle of the check.
    process = subprocess.Popen([mpirun, "--oversubscribe", "-np", str(ranks), script, program, "doctor", "--seconds", "4", "--only", "axes",
                                "--traffic-kib", "100000"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    pid_file, end = os.path.join(folder, "pid"), time.monotonic() + 60
    while not (os.path.exists(pid_file) and os.path.getsize(pid_file)) and time.monotonic() < end:
        time.sleep(0.01)
    with open(pid_file) as file:
        pid = int(file.read())
    while own_memory(pid) < 120 << 10 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    os.kill(pid, signal.SIGSTOP)
    try:
        printed, _ = process.communicate(timeout=90)
    except subprocess.TimeoutExpired:
        os.kill(pid, signal.SIGKILL)  # which ends the job
        fail(f"a frozen rank held up the job:\n{process.communicate()[0][-3000:]}")
    if process.returncode != 6 or f"rank {ranks - 1}" not in printed:
        fail(f"a frozen rank: exit {process.returncode}\n{printed[-3000:]}")
    if os.path.exists(f"/proc/{pid}/exe"):
        fail("the frozen rank is still there")


def main():
    program, mpirun, ranks = os.path.abspath(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    start = [program] if ranks == 1 else [mpirun, "--oversubscribe", "-np", str(ranks), program]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        judged_all(start, ranks)
        stale_segment(start)
        if ranks > 1:
            another_build(program, mpirun, ranks, folder)
        if ranks == 2:  # the others wait actively for some seconds
            frozen_rank(program, mpirun, ranks, folder)
    print(f"{ranks} ranks: all checks judged, planted faults found")


main()
