"""Runs a program that is suspended for a share of its time: a slow-down of known size."""
import os
import signal
import subprocess
import time

PERIOD_S = 0.1


def run(command, share, **how):
    """The program's result, and the share of its time in which it was stopped. Slices are as long as makes the
    share right on the whole, whenever this process gets a core."""
    begin = time.monotonic()
    process = subprocess.Popen(command, **how)
    stopped = 0.0
    while share > 0 and process.poll() is None:
        time.sleep(PERIOD_S)
        slice_s = share * (time.monotonic() - begin) - stopped
        if slice_s <= 0:
            continue
        at = time.monotonic()
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(slice_s)
        os.kill(process.pid, signal.SIGCONT)
        stopped += time.monotonic() - at
    code = process.wait()
    return code, stopped / (time.monotonic() - begin)
