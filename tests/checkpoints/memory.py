"""Memory: what a run takes does not grow with its saves."""
import time

from runs import expect, last_step

RUN = ["--train.micro-batch", "1", "--train.global-batch", "1", "--train.steps", "200", "--model.hidden", "192", "--checkpoint.every", "1",
       "--checkpoint.keep", "1", "--data.prefetch", "0", "--run.dir", "run"]


def resident(process):
    with open(f"/proc/{process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def run(bench, cases):
    del cases
    process = bench.start(1, RUN)
    sizes = {}
    while process.poll() is None:
        step = last_step(bench.path("run"))
        for mark in (4, 104):
            if step >= mark and mark not in sizes:
                sizes[mark] = resident(process)
        if len(sizes) == 2:
            break
        time.sleep(0.001)
    expect(len(sizes) == 2, f"the run ended before its time: {bench.printed()[-2000:]}")
    process.kill()
    process.wait()
    expect(sizes[104] <= 1.01 * sizes[4], f"{sizes[4]} KiB in the third save, {sizes[104]} KiB a hundred later")
    print("a hundred saves took no more memory")
