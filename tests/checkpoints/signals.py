"""Signals: all ranks agree, finish the step, save, and end with 75; the run that goes on is the same bit for bit."""
import os
import random
import signal
import time

from runs import SAVED, expect, expect_equal_runs, last_step

RUN = ["--train.micro-batch", "1", "--train.global-batch", "4", "--train.steps", "400", "--train.eval-every", "100",
       "--checkpoint.every", "50"]


def run(bench, seed, whole):
    draw = random.Random(seed)
    num_saved = 0
    for ranks in (1, 2):
        layout = ["--zero", "1"] if ranks == 2 else []
        bench.run(ranks, [*RUN, *layout, "--run.dir", f"whole{ranks}"])
        for i in range(25 if whole else 3):
            number = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT][i % 4]
            options = [*RUN, *layout, "--run.dir", "cut", "--resume", "auto"]
            bench.remove("cut")
            process = bench.start(ranks, options)
            step, end = draw.randrange(0, 350), time.monotonic() + 60
            while process.poll() is None and last_step(bench.path("cut")) < step and time.monotonic() < end:
                time.sleep(0.002)
            own = bench.processes_of(process.pid)
            to_launcher = ranks > 1 and number in (signal.SIGUSR1, signal.SIGUSR2) and draw.random() < 0.5
            if process.poll() is None and (own or to_launcher):
                os.kill(process.pid if to_launcher else draw.choice(own), number)
            status = process.wait(timeout=60)
            expect(status in (SAVED, 0), f"{signal.Signals(number).name}: exit {status}\n{bench.printed()[-2000:]}")
            num_saved += status == SAVED
            bench.run(ranks, options)
            expect_equal_runs(bench.path(f"whole{ranks}"), bench.path("cut"), 400)
    expect(num_saved > 0, "no run was ended by its signal")
    print(f"{num_saved} runs saved and went on")
