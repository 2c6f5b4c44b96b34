#!/usr/bin/env python3
"""Checks a trace against the rules that Perfetto's and Chrome's importers have: check_trace.py FILE..."""
import json
import math
import sys
from collections import defaultdict


def ns(us):
    """Whole nanoseconds: what the file says to three digits."""
    value = round(us * 1000)
    assert math.isclose(us * 1000, value, abs_tol=1e-2), f"{us} is no number of nanoseconds"
    return value


class Trace:
    """A file that was read and checked; AssertionError says what is wrong."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.json = json.load(file)
        self.metadata = self.json["metadata"]
        self.slices = defaultdict(list)  # by (pid, tid): (begin, end, event)
        self.counters = defaultdict(list)  # by (pid, name): (ts, args)
        self.processes, self.rows = {}, {}
        self.flows = defaultdict(dict)  # by id: phase -> event
        for event in self.json["traceEvents"]:
            getattr(self, "add_" + event["ph"])(event)
        for row, slices in self.slices.items():
            self.check_row(row, slices)
        for (pid, name), samples in self.counters.items():
            times = [ts for ts, _ in samples]
            assert times == sorted(times), f"counter {name} of {pid} goes back"
        self.check_flows()

    def add_M(self, event):  # pylint: disable=invalid-name
        if event["name"] == "process_name":
            assert event["pid"] not in self.processes, f"process {event['pid']} has two names"
            self.processes[event["pid"]] = event["args"]["name"]
        elif event["name"] == "thread_name":
            key = event["pid"], event["tid"]
            assert key not in self.rows, f"row {key} has two names"
            self.rows[key] = event["args"]["name"]
        else:
            assert event["name"] in ("process_sort_index", "thread_sort_index", "process_labels"), event

    def add_X(self, event):  # pylint: disable=invalid-name
        begin, duration = ns(event["ts"]), ns(event["dur"])
        assert duration >= 0, f"ends before it begins: {event}"
        self.slices[event["pid"], event["tid"]].append((begin, begin + duration, event))

    def add_C(self, event):  # pylint: disable=invalid-name
        assert event["args"] and all(value >= 0 for value in event["args"].values()), event
        self.counters[event["pid"], event["name"]].append((ns(event["ts"]), event["args"]))

    def add_s(self, event):
        self.add_flow(event)

    def add_f(self, event):
        assert event["bp"] == "e", event
        self.add_flow(event)

    def add_flow(self, event):
        ends = self.flows[event["id"]]
        assert event["ph"] not in ends, f"two {event['ph']} have the id {event['id']}"
        ends[event["ph"]] = event

    def check_row(self, row, slices):
        assert row in self.rows and row[0] in self.processes, f"row {row} has no name"
        open_ends = []
        last = -math.inf
        for begin, end, event in slices:
            assert begin >= last, f"{row}: {event} goes back"
            last = begin
            while open_ends and open_ends[-1] <= begin:
                open_ends.pop()
            assert not open_ends or end <= open_ends[-1], f"{row}: {event} ends behind what it lies in"
            open_ends.append(end)

    def check_flows(self):
        for ident, ends in self.flows.items():
            assert set(ends) == {"s", "f"}, f"flow {ident} has one end"
            begin, end = ends["s"], ends["f"]
            assert (begin["name"], begin["cat"]) == (end["name"], end["cat"]), (begin, end)
            assert ns(begin["ts"]) <= ns(end["ts"]), f"flow {ident} goes back in time"
            for event in (begin, end):
                row = event["pid"], event["tid"]
                at = ns(event["ts"])
                assert any(b <= at <= e for b, e, _ in self.slices[row]), f"no slice is at {event}"

    def named(self, name, pid=None):
        """Slices of that name, of one rank or all; not waits, which have the names of calls."""
        return [event for (rank, row), slices in self.slices.items() for _, _, event in slices
                if event["name"] == name and pid in (None, rank) and self.rows[rank, row] != "waits"]

    def groups(self, pid):
        return {name.removeprefix("group ").rstrip(" 23456789") for (rank, _), name in self.rows.items()
                if rank == pid and name.startswith("group ")}

    def steps(self, pid=0):
        return [int(event["name"].split()[1]) for _, _, event in self.slices[pid, 2]
                if event["name"].startswith("step ")]


def main():
    for path in sys.argv[1:]:
        trace = Trace(path)
        print(f"{path}: {len(trace.json['traceEvents'])} events, {len(trace.flows)} flows, "
              f"{len(trace.processes)} ranks, steps {trace.metadata['first_step']} to {trace.metadata['last_step']}")


if __name__ == "__main__":
    main()
