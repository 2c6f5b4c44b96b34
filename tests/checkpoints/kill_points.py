"""Kill points: a save that is killed, or whose calls fail, at any call on any rank leaves whole checkpoints alone.

Every call of a save on every rank is counted first; then each is killed, or fails, in a run of its own (strace -e inject).
"""
import collections
import os
import re

from runs import LIMIT, expect, expect_equal_runs, exact_metrics, state_of

BATCH = ["--train.micro-batch", "1", "--train.global-batch", "6"]
EVERY_STEP = ["--checkpoint.every", "1", "--checkpoint.keep", "1"]
SECOND_STEP = ["--checkpoint.every", "2", "--checkpoint.keep", "2"]
# Name: ranks, steps, options.
RUNS = {
    "one": (1, 8, SECOND_STEP),
    "ranks": (2, 8, [*SECOND_STEP, "--zero", "1"]),
    "one-each-step": (1, 20, [*EVERY_STEP, "--checkpoint.async", "off"]),
    "ranks-each-step": (2, 10, [*EVERY_STEP, "--tp", "2", "--optimizer.kind", "muon"]),
    "three": (3, 8, [*EVERY_STEP, "--zero", "3"]),
}
CALLS = ["pwrite64", "fsync", "rename", "renameat2", "unlink", "unlinkat", "rmdir", "mkdir"]
ERRORS = {"pwrite64": ["ENOSPC", "EIO"], "fsync": ["EIO", "ENOSPC"], "rename": ["EIO"], "unlink": ["EIO"], "mkdir": ["ENOSPC"]}
Case = collections.namedtuple("Case", "run rank call what place")
# The first write of the fourth save, of five each: the run ends without its last checkpoint.
OF_LAST_SAVE = Case("one", 0, "pwrite64", "error=ENOSPC", 16)


def options_of(name):
    ranks, steps, options = RUNS[name]
    return ranks, steps, [*BATCH, "--train.steps", str(steps), *options]


def traced_command(bench, ranks, options, trace, of_rank="*"):
    """The command of a run whose rank `of_rank`, or each, is under strace with the words `trace` ($RANK: its number)."""
    script = bench.path("traced.sh")
    with open(script, "w") as file:
        file.write(f'#!/bin/sh\nRANK=${{OMPI_COMM_WORLD_RANK:-0}}\ncase $RANK in\n  {of_rank}) exec strace -f -qq {trace} "$@" ;;\n'
                   'esac\nexec "$@"\n')
    os.chmod(script, 0o755)
    command = bench.command(ranks, options)
    at = command.index(bench.program)
    return [*command[:at], script, *command[at:]]


def count_calls(bench, ranks, options):
    """How often the busiest thread of each rank makes each call: strace counts by threads. A list by ranks."""
    command = traced_command(bench, ranks, options, f'-o log.$RANK -e trace={",".join(CALLS)}')
    expect(bench.start_command(command).wait(timeout=LIMIT) == 0, bench.printed()[-2000:])
    counts = []
    for rank in range(ranks):
        by_thread = collections.Counter()
        with open(bench.path(f"log.{rank}")) as log:
            by_thread.update(re.findall(r"^(\d+) +(\w+)\(", log.read(), re.MULTILINE))
        counts.append({call: max((n for (_, name), n in by_thread.items() if name == call), default=0) for call in CALLS})
    return counts


def expect_whole_checkpoints(bench, name):
    """Each checkpoint that has its name is whole, and what the uninterrupted run had at its step: the newest step."""
    folder = bench.path("cut", "checkpoints")
    steps = [int(one[5:]) for one in os.listdir(folder) if re.fullmatch(r"step-\d+", one)] if os.path.isdir(folder) else []
    if steps:
        bench.run_command([bench.program, "checkpoint", "verify", "cut"])
    for step in steps:
        expect(state_of(bench.path("cut"), step) == state_of(bench.path(f"all-{name}"), step), f"step {step} is another state")
    return max(steps, default=None)


def go_on(bench, name, newest):
    """Resumes what was cut short: from the newest checkpoint, to the end of the run that was not."""
    ranks, steps, options = options_of(name)
    printed = bench.run(ranks, [*options, "--run.dir", "cut", "--resume", "auto"])
    is_done = "there is nothing to do" in printed  # an error behind the mark that says so
    if newest is not None and not is_done:
        expect(f"resumed from cut/checkpoints/step-{newest:08d}" in printed, f"not from step {newest}: {printed[-2000:]}")
    expect_equal_runs(bench.path(f"all-{name}"), bench.path("cut"), steps)


def is_met(bench, case):
    """Whether the call of the case was made, and killed or failed: its trace says so."""
    with open(bench.path("trace"), errors="replace") as trace:
        return re.search(r"\(INJECTED\)|killed by SIGKILL", trace.read()) is not None


def is_of_mpi(bench):
    """Whether the call that failed was one of MPI's own, in its session directory: which rank makes that is chance."""
    with open(bench.path("trace"), errors="replace") as trace:
        return re.search(r'"[^"]*/(ompi|pmix)[^"]*".*\(INJECTED\)', trace.read()) is not None


def run_case(bench, case):
    """Runs a case: whether it was cut short, and whether the call was met."""
    ranks, _, options = options_of(case.run)
    bench.remove("cut")
    trace = f"-o trace -e trace={case.call} -e inject={case.call}:{case.what}:when={case.place}"
    command = traced_command(bench, ranks, [*options, "--run.dir", "cut", "--resume", "auto"], trace, case.rank)
    status = bench.start_command(command).wait(timeout=LIMIT)
    is_killed = case.what.startswith("signal")
    expect(is_killed or status in (0, 4, 7) or is_of_mpi(bench), f"exit {status}: {bench.printed()[-2000:]}")
    met = is_met(bench, case)  # where the number of calls varies, now and then the last is not reached
    expect(not is_killed or met == (status != 0), f"exit {status} of a run that was {'' if met else 'not '}killed")
    if not os.path.isdir(bench.path("cut")):
        return status != 0, met
    newest = expect_whole_checkpoints(bench, case.run)
    if status == 0:
        expect(exact_metrics(bench.path("cut")) == exact_metrics(bench.path(f"all-{case.run}")), "metrics differ")
    else:
        go_on(bench, case.run, newest)
    return status != 0, met


def prepare(bench, name):
    """Runs it without an interruption, with all of its checkpoints."""
    ranks, _, options = options_of(name)
    bench.run(ranks, [*options, "--checkpoint.keep", "100", "--run.dir", f"all-{name}"])


def all_cases(bench, names, kinds_of):
    cases = []
    for name in names:
        ranks, _, options = options_of(name)
        bench.remove("counted")
        counts = count_calls(bench, ranks, [*options, "--run.dir", "counted", "--resume", "auto"])
        for rank in range(ranks):
            cases += [Case(name, rank, call, what, place) for call in CALLS for place in range(1, counts[rank][call] + 1)
                      for what in kinds_of(call)]
    return cases


def run_cases(bench, cases, kinds_of, drawn, always=()):
    found = all_cases(bench, list(RUNS) if cases.whole else ["one", "ranks"], kinds_of)
    chosen = cases.choose(found, drawn) + [case for case in always if not cases.whole]
    for name in {case.run: None for case in chosen}:
        prepare(bench, name)
    num_cut = num_met = 0
    for case in chosen:
        try:
            is_cut, met = run_case(bench, case)
        except Exception:
            print(f"{case.run}, rank {case.rank}: {case.what} at call {case.place} of {case.call}")
            raise
        expect(case not in always or is_cut, f"{case} did not cut the run short")
        num_cut, num_met = num_cut + is_cut, num_met + met
    expect(4 * num_met >= 3 * len(chosen), f"{num_met} of {len(chosen)} calls were met")
    return len(chosen), num_cut


def run_kills(bench, cases):
    num, num_cut = run_cases(bench, cases, lambda call: ["signal=SIGKILL"], 13)
    expect(4 * num_cut >= 3 * num, f"{num_cut} of {num} runs were killed")
    print(f"{num} kill points, {num_cut} runs cut short")


def run_short_writes(bench, name):
    """Every write of the run is short: it is the same run."""
    ranks, steps, options = options_of(name)
    bench.remove("cut")
    process = bench.start(ranks, [*options, "--run.dir", "cut"], more={"LD_PRELOAD": bench.preload("short_writes.c")})
    expect(process.wait(timeout=LIMIT) == 0, bench.printed()[-2000:])
    bench.run_command([bench.program, "checkpoint", "verify", "cut"])
    expect_equal_runs(bench.path(f"all-{name}"), bench.path("cut"), steps)


def run_errors(bench, cases):
    num, num_cut = run_cases(bench, cases, lambda call: [f"error={error}" for error in ERRORS.get(call, [])], 6, [OF_LAST_SAVE])
    names = cases.choose(list(RUNS), 1) if cases.whole else ["one"]
    for name in names:
        if not os.path.isdir(bench.path(f"all-{name}")):
            prepare(bench, name)
        run_short_writes(bench, name)
    print(f"{num} calls that failed, {num_cut} runs cut short; {len(names)} runs of short writes")
