#!/usr/bin/env python3
"""Scaling series of a small model: interrupted and resumed, with layouts that do not fit and runs that fail.

usage: tests/launch/scale/run.py PROGRAM MPIRUN PART
"""
import csv
import json
import os
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "checkpoints"))
import runs  # noqa: E402
from runs import LIMIT, SAVED, Failure, expect  # noqa: E402

MODEL = ["--train.seq-len", "16", "--train.micro-batch", "1", "--model.layers", "2", "--model.heads", "2", "--model.hidden", "20"]
USAGE, BAD_INPUT = 2, 3


class Series:
    """A series in a directory of the bench."""

    def __init__(self, bench, directory, options, train, program=None):
        self.bench, self.directory = bench, directory
        self.command = [program or bench.program, "scale", "--launcher", "mpirun", "--dir", directory, *options, "--", *MODEL, *train]

    def run(self, code=0, more=()):
        end = self.command.index("--")
        return self.bench.run_command([*self.command[:end], *more, *self.command[end:]], code)

    def ended(self):
        """The runs that have ended well, by their directories."""
        try:
            with open(self.bench.path(self.directory, "ended.jsonl")) as lines:
                records = [json.loads(line) for line in lines if line.strip()]
        except OSError:
            return []
        return [(one["point"], one["repeat"]) for one in records if one["code"] == 0]

    def results(self):
        with open(self.bench.path(self.directory, "scale.json")) as file:
            return json.load(file)

    def rows(self):
        with open(self.bench.path(self.directory, "scale.csv"), newline="") as file:
            return list(csv.DictReader(file))


def check_results(series):
    """Each point with its figures, and what does not fit with its reason."""
    cores = len(os.sched_getaffinity(0))
    results, rows = series.results(), series.rows()
    layouts = [(one["ranks"], one["values"]["parallel.tensor"]) for one in results["points"]]
    expect(layouts == [(1, "1"), (2, "1"), (2, "2"), (3, "1"), (4, "1"), (4, "2")], f"points {layouts}")
    left_out = [(one["ranks"], one["values"]["parallel.tensor"]) for one in results["left_out"]]
    expect(left_out == [(1, "2"), (3, "2")], f"left out {left_out}")
    expect(all("tensor 2" in one["left_out"] for one in results["left_out"]), f"reasons {results['left_out']}")
    expect(len(rows) == 8 and [row["global_batch"] for row in rows] == ["1", "", "2", "2", "3", "", "4", "4"], f"rows {rows}")
    for one in results["points"]:
        expect(one["tok_s"]["median"] > 0 and one["failed"] == 0 and one["measured_bytes"] > 0, f"point {one}")
        expect(one["oversubscribed"] or one["ranks"] <= cores, f"{cores} cores: {one}")
        share, lost = sum(part["share"] for part in one["shares"]), sum(part["lost"] for part in one["shares"])
        expect(one["shares"] and abs(share - 1) < 1e-9, f"shares of {one}")
        expect(abs(lost) < 1 and (one["point"] != one["baseline"] or abs(lost) < 1e-9), f"losses of {one}")
        exposed = {part["part"] for part in one["shares"] if part["part"].startswith("exposed.")}
        wanted = {"exposed.tensor"} if one["values"]["parallel.tensor"] == "2" else set()
        if one["ranks"] > int(one["values"]["parallel.tensor"]):
            wanted.add("exposed.data")
        expect(wanted <= exposed, f"axes {exposed} of {one['layout']}")
    expect(results["points"][0]["efficiency"] == 1, "the baseline")
    expect({fit["rank_counts"] for fit in results["fits"]} == {3, 4}, f"fits {results['fits']}")
    expect(results["advice"].endswith(".") and "ranks" in results["advice"], results["advice"])
    with open(series.bench.path(series.directory, "scale.html")) as page:
        expect("Where a step goes" in page.read(), "the page")


def run_resumes(bench):
    """A signal ends the series with 75 in the middle; the same command makes what is missing, and nothing twice."""
    options = ["--ranks", "1,2,3,4", "--mode", "weak", "--sweep", "tp=1,2", "--repeat", "1", "--steps", "4", "--warmup", "2"]
    series = Series(bench, "weak", options, ["--data.text", "t.txt"])
    printed = series.run(more=["--dry-run"])
    expect("6 points x 1 repeat = 6 runs" in printed and not os.path.exists(bench.path("weak")), printed)
    process = bench.start_command(series.command)
    end = time.monotonic() + LIMIT
    while len(series.ended()) < 2:
        expect(process.poll() is None and time.monotonic() < end, f"no second run\n{bench.printed()[-3000:]}")
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    status, printed = process.wait(timeout=LIMIT), bench.printed()
    expect(status == SAVED, f"exit {status}, expected {SAVED}\n{printed[-3000:]}")
    done = series.ended()
    expect(2 <= len(done) < 6 and f"{len(done)} of 6 runs are done" in printed, f"{done}\n{printed[-3000:]}")
    expect(series.results()["missing_runs"] == 6 - len(done), "the runs that are missing")
    printed = series.run()
    expect(f"{len(done)} of 6 runs are done; going on" in printed and "OVERSUBSCRIBED" in printed, printed[:3000])
    expect(sorted(series.ended()) == [(i, 0) for i in (0, 2, 3, 4, 6, 7)], f"runs {series.ended()}")
    check_results(series)
    printed = series.run()
    expect("going on" not in printed and len(series.ended()) == 6, f"a series that is done runs again\n{printed[:3000]}")
    print("an interrupted series goes on with what is missing; layouts that do not fit are listed")

    bench.run_command([word if word != "4" else "5" for word in series.command], USAGE)
    with open(bench.path("tool")) as out:
        expect("whose steps is 4, not 5" in out.read(), "another number of steps is refused")
    other = bench.path("other")
    shutil.copy(bench.program, other)
    with open(other, "ab") as file:
        file.write(b"x")
    printed = Series(bench, "weak", options, ["--data.text", "t.txt"], other).run(USAGE)
    expect("whose program is" in printed and "another --dir" in printed, printed)
    print("another program, and other arguments, are refused with what would work")


def run_fails(bench):
    """A run that fails does not end the series, and gives its exit code; it is made again when it can succeed."""
    options = ["--ranks", "1", "--mode", "strong", "--sweep", "data.text=none.txt,t.txt", "--repeat", "1", "--steps", "2", "--warmup", "1"]
    series = Series(bench, "strong", options, [])
    printed = series.run(BAD_INPUT)
    points = series.results()["points"]
    expect([one["failed"] for one in points] == [1, 0], f"points {points}\n{printed[-3000:]}")
    expect(points[0]["error"]["code"] == BAD_INPUT and "none.txt" in points[0]["error"]["text"], f"error {points[0]}")
    expect("none.txt" in printed and points[1]["tok_s"]["median"] > 0, printed)
    shutil.copy(bench.path("t.txt"), bench.path("none.txt"))
    printed = series.run()
    expect("1 of 2 runs are done; going on" in printed and series.ended() == [(1, 0), (0, 0)], f"{series.ended()}\n{printed}")
    print("a run that fails is recorded, and made again")

    for train, words in ((["--train.steps", "3"], "--steps and --warmup"), (["--data.text", "t.txt"], "--sweep gives its values")):
        printed = Series(bench, "refused", options, train).run(USAGE)
        expect(words in printed, printed)
    printed = Series(bench, "refused", [*options[:5], "parallel.tenser=1,2"], ["--data.text", "t.txt"]).run(USAGE)
    expect("parallel.tensor" in printed and not os.path.exists(bench.path("refused")), printed)
    print("options that the series sets, and those that are none, are refused")


PARTS = {"resumes": run_resumes, "fails": run_fails}


def main():
    program, mpirun, part = sys.argv[1:4]
    with runs.Bench(program, mpirun) as bench:
        try:
            PARTS[part](bench)
        except Failure as failure:
            print(f"FAILED: {part}: {failure}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
