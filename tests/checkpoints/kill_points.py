"""Kill points: a save that is killed, or whose calls fail, at any call on any rank leaves whole checkpoints alone."""
import os
import random

from runs import expect, expect_equal_runs, exact_metrics, state_of

RUN = ["--train.micro-batch", "1", "--train.global-batch", "4", "--train.steps", "8", "--checkpoint.every", "2",
       "--checkpoint.keep", "2"]
CALLS = {"pwrite64": 12, "fsync": 24, "rename,renameat,renameat2": 10, "unlink,unlinkat": 16, "mkdir,mkdirat": 5}
ERRORS = {"pwrite64": ["ENOSPC", "EIO"], "fsync": ["EIO", "ENOSPC"], "rename,renameat,renameat2": ["EIO"], "mkdir,mkdirat": ["ENOSPC"]}


def injected(bench, ranks, rank, injection):
    """The words before the program: strace with an injection, of one rank of several."""
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={injection.split(':')[0]}", "-e", f"inject={injection}"]
    if ranks == 1:
        return strace
    script = bench.path("one-rank.sh")
    with open(script, "w") as file:
        file.write('#!/bin/sh\nif [ "$OMPI_COMM_WORLD_RANK" = ' + str(rank) + ' ]; then exec ' + " ".join(strace) +
                   ' "$@"; fi\nexec "$@"\n')
    os.chmod(script, 0o755)
    return [script]


def start(bench, ranks, options, rank, injection):
    """Runs with an injection into one rank: the exit code."""
    words = injected(bench, ranks, rank, injection)
    if ranks == 1:
        return bench.start(1, options, words).wait(timeout=120)
    program, bench.program = bench.program, words[0]
    try:
        command = bench.command(ranks, options)
    finally:
        bench.program = program
    at = command.index(words[0])
    return bench.start_command(command[:at + 1] + [program] + command[at + 1:]).wait(timeout=120)


def expect_whole_checkpoints(bench, ranks, run):
    """Each checkpoint that has its name is whole, and what the uninterrupted run had at its step."""
    folder = bench.path(run, "checkpoints")
    names = [name for name in os.listdir(folder) if name.startswith("step-") and "." not in name] if os.path.isdir(folder) else []
    if names:
        bench.run_command([bench.program, "checkpoint", "verify", run])
    for name in names:
        step = int(name[5:])
        expect(state_of(bench.path(run), step) == state_of(bench.path(f"all{ranks}"), step), f"{run}: {name} is another state")
    return len(names)


def run(bench, seed, whole):
    draw = random.Random(seed)
    num_killed = 0
    for ranks, count in ((1, 1000 if whole else 14), (2, 200 if whole else 6)):
        layout = ["--zero", "1"] if ranks == 2 else []
        bench.run(ranks, [*RUN[:-1], "100", *layout, "--run.dir", f"all{ranks}"])
        for _ in range(count):
            calls = draw.choice(list(CALLS))
            place = draw.randrange(1, CALLS[calls] + 1)
            rank = draw.randrange(ranks)
            is_error = calls in ERRORS and draw.random() < 0.35
            what = f"error={draw.choice(ERRORS[calls])}" if is_error else "signal=SIGKILL"
            bench.remove("cut")
            options = [*RUN, *layout, "--run.dir", "cut", "--resume", "auto"]
            try:
                status = start(bench, ranks, options, rank, f"{calls}:{what}:when={place}")
                expect(not is_error or status in (0, 4, 7), f"exit {status}: {bench.printed()[-2000:]}")
                num_killed += status != 0
                if os.path.isdir(bench.path("cut")):
                    expect_whole_checkpoints(bench, ranks, "cut")
                bench.run(ranks, options)
                if status == 0:
                    expect(exact_metrics(bench.path("cut")) == exact_metrics(bench.path(f"all{ranks}")), "metrics differ")
                else:
                    expect_equal_runs(bench.path(f"all{ranks}"), bench.path("cut"), 8)
            except Exception:
                print(f"{ranks} ranks, rank {rank}: {what} at call {place} of {calls}")
                raise
    print(f"{num_killed} saves were cut short")
