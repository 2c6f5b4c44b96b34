"""One layout, launched by mpirun on this machine and over hosts: the same losses and weights, bit for bit. What trireme doctor says of
hosts."""
import json

from testbed import SMALL, Hosts, expect, expect_equal

LAYOUTS = {2: ["--zero", "1"], 4: ["--tp", "2", "--zero", "1"]}
RUN = [*SMALL, "--train.micro-batch", "1", "--train.global-batch", "4", "--train.steps", "8", "--checkpoint.keep", "0"]
# (ranks, hosts)
PLACES = [(2, 2), (4, 2), (4, 4)]


def train(bench, ranks, run):
    return [bench.program, "train", *RUN, *LAYOUTS[ranks], "--run.dir", run]


def run(bench):
    for ranks in LAYOUTS:
        bench.run_command([bench.mpirun, "--oversubscribe", "-np", str(ranks), *train(bench, ranks, f"mpirun{ranks}")])
    for ranks, num in PLACES:
        with Hosts(bench, num, ranks // num) as hosts:
            run_dir = f"hosts{ranks}x{num}"
            printed = hosts.call("h1", [bench.mpirun, "-np", str(ranks), *train(bench, ranks, run_dir)])
            expect(f"on {num} hosts" in printed or all(f"h{i}" in printed for i in range(1, num + 1)),
                   f"the banner does not show {num} hosts:\n{printed[:2000]}")
            expect_equal(bench, f"mpirun{ranks}", run_dir)
    print(f"{len(PLACES)} runs over hosts are those of mpirun bit for bit")


def run_doctor(bench):
    """Four hosts, one of them with a slow link: the doctor sees the hosts, their clocks, and which it is."""
    with Hosts(bench, 4, 1) as hosts:
        hosts.call("h3", ["tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", "40mbit", "burst", "64kb", "latency", "50ms"])
        report = json.loads(hosts.call("h1", [bench.mpirun, "-np", "4", bench.program, "doctor", "--json", "--only", "clock,links,axes"]))
    expect([rank["host"] for rank in report["ranks"]] == ["h1", "h2", "h3", "h4"], f"not the hosts: {report['ranks']}")
    expect(len(report["links"]) == 6 and all(link["num_wrong"] == 0 for link in report["links"]), f"not the pairs: {report['links']}")
    expect(len(report["clocks"]) == 3 and all(abs(clock["offset"]) <= clock["bound"] + 0.1 for clock in report["clocks"]),
           f"clocks of one machine differ: {report['clocks']}")
    slow = [finding for finding in report["findings"] if finding["check"] == "links" and "bandwidth between" in finding["text"]]
    expect(len(slow) == 1 and "h3" in slow[0]["text"].split("(")[0] and slow[0]["remedy"], f"the slow host is not named: {report['findings']}")
    expect([f["verdict"] for f in report["findings"] if f["check"] == "axes"] == ["OK"], f"all-reduce: {report['findings']}")
    print("the slow host is named")
