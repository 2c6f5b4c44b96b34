"""Signals where no step is in flight: at the start, in evaluations, while text is sampled, loaded or saved.

A run ends with 75 wherever it is, soon, and the one that goes on comes to the same end.
"""
import base64
import os
import random
import signal
import time

from runs import LIMIT, SAVED, Failure, expect, expect_equal_runs, last_step

SIGNALS = [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGUSR2]
STEPS = 6
RUN = ["--train.micro-batch", "1", "--train.global-batch", "4", "--train.steps", str(STEPS), "--checkpoint.every", "1"]
LARGE = [*RUN, "--model.hidden", "320"]  # a save takes a while
SOON = 15  # seconds, of a busy machine


def wait_for(process, what, holds):
    end = time.monotonic() + LIMIT
    while not holds():
        if process.poll() is not None or time.monotonic() > end:
            raise Failure(f"{what}: did not come")
        time.sleep(0.002)


def takes_signals(bench, process, ranks):
    """Whether the program runs in all of its processes: TERM is blocked in the thread that began."""
    own = bench.processes_of(process.pid)
    try:
        for one in own:
            with open(f"/proc/{one}/task/{one}/status") as status:
                blocked = next(int(line.split()[1], 16) for line in status if line.startswith("SigBlk"))
            if not blocked & 1 << (signal.SIGTERM - 1):
                return False
    except OSError:
        return False
    return len(own) == ranks


def send(bench, process, ranks, number, draw):
    own = bench.processes_of(process.pid)
    passed_on = ranks > 1 and number in (signal.SIGUSR1, signal.SIGUSR2) and draw.random() < 0.5
    os.kill(process.pid if passed_on else draw.choice(own), number)


def expect_saved(bench, process, soon=SOON):
    begin = time.monotonic()
    status = process.wait(timeout=LIMIT)
    expect(status == SAVED, f"exit {status}\n{bench.printed()[-2000:]}")
    expect(time.monotonic() - begin < soon, f"it took {time.monotonic() - begin:.1f} s to end")


def log_of(bench, run):
    with open(bench.path(run, "log.txt")) as log:
        return log.read()


def in_preparation(bench, ranks, number, draw):
    """Text whose vocabulary takes minutes to learn, while the other ranks wait for it: ended at any time of it."""
    if not os.path.exists(bench.path("large.txt")):
        with open(bench.path("large.txt"), "wb") as text:
            text.write(base64.encodebytes(random.Random(3).randbytes(20000000)))
    options = [*RUN, "--data.text", "large.txt", "--data.tokenizer", "bpe", "--data.bpe-vocab", "60000", "--run.dir", "cut"]
    process = bench.start(ranks, options)
    wait_for(process, "the start", lambda: takes_signals(bench, process, ranks))
    time.sleep(draw.random() * 2)
    send(bench, process, ranks, number, draw)
    expect_saved(bench, process)
    expect("before the first step: there is nothing to save" in bench.printed(), bench.printed()[-2000:])


def in_first_evaluation(bench, ranks, number, draw):
    options = [*RUN, "--data.valid-fraction", "0.9", "--train.eval-batches", "100000", "--model.hidden", "160", "--run.dir", "cut"]
    process = bench.start(ranks, options)
    wait_for(process, "the log", lambda: os.path.exists(bench.path("cut", "log.txt")))
    send(bench, process, ranks, number, draw)
    expect_saved(bench, process)
    expect("before the first step: there is nothing to save" in bench.printed(), bench.printed()[-2000:])


def expect_same_end(bench, ranks, options):
    bench.run(ranks, [*options, "--run.dir", "whole"])
    bench.run(ranks, [*options, "--run.dir", "cut", "--resume", "auto"])
    expect_equal_runs(bench.path("whole"), bench.path("cut"), STEPS, given_up=1)


def in_evaluation(bench, ranks, number, draw):
    options = [*RUN, "--data.valid-fraction", "0.5", "--train.eval-batches", "50", "--train.eval-every", "1"]
    process = bench.start(ranks, [*options, "--run.dir", "cut"])
    step = draw.randrange(0, 4)
    wait_for(process, f"step {step}", lambda: last_step(bench.path("cut")) >= step)
    send(bench, process, ranks, number, draw)
    expect_saved(bench, process)
    expect_same_end(bench, ranks, options)


def in_save(bench, ranks, number, draw):
    """While files are written; and, of a second signal, ended by it at once: what counted before is whole."""
    for is_second in (False, True):
        bench.remove("cut")
        process = bench.start(ranks, [*LARGE, "--run.dir", "cut"])
        step = draw.randrange(2, STEPS)
        wait_for(process, f"the save of step {step}",
                 lambda: any(os.path.exists(bench.path("cut", "checkpoints", f"step-{n:08d}.tmp")) for n in range(step, STEPS + 1)))
        for _ in range(1 + is_second):
            for one in bench.processes_of(process.pid):
                os.kill(one, number)
            time.sleep(0.05)
        status = process.wait(timeout=LIMIT)
        by_signal = {-number, 128 + number} if is_second else set()
        expect(status in by_signal | {SAVED}, f"exit {status}\n{bench.printed()[-2000:]}")
        bench.run_command([bench.program, "checkpoint", "verify", "cut"])
        expect_same_end(bench, ranks, LARGE)
        bench.remove("whole")


def in_sampling(bench, ranks, number, draw):
    """A text of characters, which has no token that ends it."""
    options = [*RUN, "--data.tokenizer", "char", "--run.dir", "cut"]
    process = bench.start(ranks, [*options, "--train.sample-tokens", "1000000"])
    wait_for(process, "the end", lambda: os.path.exists(bench.path("cut", "finished")))
    send(bench, process, ranks, number, draw)
    expect_saved(bench, process)
    printed = bench.run(ranks, [*options, "--resume", "auto"])
    expect("there is nothing to do" in printed, printed)


def in_resumes(bench, ranks, number, draw):
    """Ended again and again while it loads and begins to go on: that does not speak against the checkpoint."""
    bench.run(ranks, [*LARGE, "--run.dir", "cut", "--train.stop-after", "4"], SAVED)
    options = [*LARGE, "--checkpoint.every", "0", "--run.dir", "cut", "--resume", "auto"]
    for attempt in range(4):
        process = bench.start(ranks, options)
        wait_for(process, "the start", lambda: takes_signals(bench, process, ranks))
        if attempt < 2:
            wait_for(process, "the load", lambda: log_of(bench, "cut").count("resumed from") > attempt)
        else:
            time.sleep(draw.random() * 0.1)
        send(bench, process, ranks, number, draw)
        expect_saved(bench, process)
    bench.run(ranks, options)
    expect("is skipped" not in log_of(bench, "cut"), log_of(bench, "cut")[-2000:])
    bench.run(ranks, [*LARGE, "--run.dir", "whole"])
    expect_equal_runs(bench.path("whole"), bench.path("cut"), STEPS)


MOMENTS = [in_preparation, in_first_evaluation, in_evaluation, in_save, in_sampling, in_resumes]


def run(bench, cases):
    all_cases = [(moment, ranks, number) for ranks in (1, 2) for number in SIGNALS for moment in MOMENTS]
    # In CI each moment once, of one rank or two.
    chosen = cases.choose(all_cases, 0) or [(moment, cases.draw.choice((1, 2)), cases.draw.choice(SIGNALS)) for moment in MOMENTS]
    for moment, ranks, number in chosen:
        for name in ("cut", "whole"):
            bench.remove(name)
        try:
            moment(bench, ranks, number, cases.draw)
        except Exception:
            print(f"{moment.__name__}, {ranks} ranks, {signal.Signals(number).name}")
            raise
    print(f"{len(chosen)} signals where no step was in flight")
