"""One layout, launched by mpirun on this machine and over hosts: the same losses and weights, bit for bit."""
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
