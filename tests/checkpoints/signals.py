"""Signals: all ranks agree, finish the step, save, and end with 75; the run that goes on is the same bit for bit."""
import os
import signal
import time

from runs import LIMIT, SAVED, expect, expect_equal_runs, last_step

STEPS = 120
RUN = ["--train.micro-batch", "1", "--train.global-batch", "4", "--train.steps", str(STEPS), "--train.eval-every", "40",
       "--checkpoint.every", "25"]


def send(bench, process, ranks, number, draw):
    """Sends a signal to a rank, or to the launcher what that passes on."""
    own = bench.processes_of(process.pid)
    to_launcher = ranks > 1 and number in (signal.SIGUSR1, signal.SIGUSR2) and draw.random() < 0.5
    if process.poll() is None and (own or to_launcher):
        os.kill(process.pid if to_launcher else draw.choice(own), number)


def run_case(bench, ranks, options, number, step, draw):
    """A run gets a signal behind a step, and another goes on: true where the first was ended by it."""
    bench.remove("cut")
    process, end = bench.start(ranks, options), time.monotonic() + LIMIT
    while process.poll() is None and last_step(bench.path("cut")) < step and time.monotonic() < end:
        time.sleep(0.002)
    time.sleep(draw.random() * 0.02)
    send(bench, process, ranks, number, draw)
    status = process.wait(timeout=LIMIT)
    expect(status in (SAVED, 0), f"{signal.Signals(number).name}: exit {status}\n{bench.printed()[-2000:]}")
    if status == SAVED:
        first = bench.printed()
        then = bench.run(ranks, options)
        # With no step there is nothing to save, and with all of them nothing to do.
        is_between = "before the first step" not in first and "after the last step" not in first
        expect(("resumed from cut/checkpoints/step-" in then) == is_between, f"{first[-1000:]}\n{then[-2000:]}")
    expect_equal_runs(bench.path(f"whole{ranks}"), bench.path("cut"), STEPS, given_up=1)
    return status == SAVED


def run(bench, cases):
    signals = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT]
    all_cases = [(ranks, signals[i % 4], cases.draw.randrange(0, STEPS * 7 // 8)) for ranks in (1, 2) for i in range(30)]
    chosen = cases.choose(all_cases, 6)
    num_saved = 0
    for ranks, number, step in chosen:
        layout = ["--zero", "1"] if ranks == 2 else []
        if not os.path.isdir(bench.path(f"whole{ranks}")):
            bench.run(ranks, [*RUN, *layout, "--run.dir", f"whole{ranks}"])
        options = [*RUN, *layout, "--run.dir", "cut", "--resume", "auto"]
        num_saved += run_case(bench, ranks, options, number, step, cases.draw)
    expect(num_saved > len(chosen) // 2, f"{num_saved} of {len(chosen)} runs were ended by their signal")
    print(f"{num_saved} of {len(chosen)} runs saved and went on")
