"""Jobs of Slurm: launched both ways they are mpirun's runs bit for bit; stopped ones save, are queued again, and go on as if nothing had
been."""
import shlex
import time

from testbed import ROOT, SMALL, Slurm, expect, expect_equal

SAVED = 75
SCRIPT = ROOT / "cluster/slurm/train.sbatch"
RUN = [*SMALL, "--train.micro-batch", "1", "--train.global-batch", "4", "--zero", "1"]
NODES = 2


def config(bench, name, steps, *options):
    """Writes the configuration of a run; the name of the file."""
    bench.run_command([bench.program, "train", *RUN, "--train.steps", str(steps), *options, "--run.threads", "1", "--dp", str(NODES),
                       "--dry-run"])
    with open(bench.path("tool")) as printed, open(bench.path(name), "w") as file:
        text = printed.read()
        file.write(text[text.index("[model]"):])
    return name


def whole(bench, ini):
    """The run without Slurm, by mpirun."""
    bench.run_command([bench.mpirun, "--oversubscribe", "-np", str(NODES), bench.program, "train", "--config", ini, "--run.dir", "whole"])


def submit_script(bench, slurm, ini, run_dir, *sbatch):
    return slurm.submit(f"--nodes={NODES}", "--ntasks-per-node=1", *sbatch, SCRIPT, ini, "--run.dir", run_dir, more={"TRIREME": bench.program})


def expect_end(slurm, found, state, code=0):
    expect(found["JobState"] == state and found["ExitCode"] == f"{code}:0",
           f"job {found['JobId']} is {found['JobState']}, exit {found['ExitCode']}, not {state}, {code}:0\n{slurm.log(found)}")


def run_launches(bench):
    """sbatch + mpirun, and sbatch + srun."""
    ini = config(bench, "run.ini", 12)
    whole(bench, ini)
    with Slurm(bench, NODES) as slurm:
        command = shlex.join([bench.mpirun, "-np", str(NODES), "--map-by", "node", bench.program, "train", "--config", ini, "--run.dir",
                              "by-mpirun"])
        by_mpirun = slurm.submit(f"--nodes={NODES}", "--ntasks-per-node=1", "--wrap", command)
        expect_end(slurm, slurm.end_of(by_mpirun), "COMPLETED")
        by_srun = submit_script(bench, slurm, ini, "by-srun")
        found = slurm.end_of(by_srun)
        expect_end(slurm, found, "COMPLETED")
        expect(f"on {NODES} hosts" in slurm.log(found), f"the banner does not show {NODES} hosts:\n{slurm.log(found)}")
        for run_dir in ("by-mpirun", "by-srun"):
            expect_equal(bench, "whole", run_dir)
    print("sbatch + mpirun and sbatch + srun are mpirun bit for bit")


def has_steps(bench, run_dir, least):
    try:
        with open(bench.path(run_dir, "metrics.jsonl")) as lines:
            return len(lines.readlines()) >= least
    except OSError:
        return False


def stop_by_signal(bench, slurm, ini, run_dir):
    """scancel --signal, once steps were taken."""
    job = submit_script(bench, slurm, ini, run_dir)
    slurm.wait(job, lambda found: has_steps(bench, run_dir, 5), "training")
    slurm.call("scancel", "--signal=USR1", "--batch", job)
    return job


def stop_by_time(bench, slurm, ini, run_dir):
    """The time limit of a minute, and a signal 45 s ahead of it."""
    return submit_script(bench, slurm, ini, run_dir, "--time=1", "--signal=B:USR1@45")


def run_stops(bench):
    """Stopped jobs end with 75, are queued again by the script, and end like the run that was not stopped."""
    ini = config(bench, "run.ini", 6000, "--checkpoint.keep", "1")
    began = time.monotonic()
    whole(bench, ini)
    expect(time.monotonic() - began > 5, "the run is too short to be stopped")
    with Slurm(bench, NODES) as slurm:
        for name, stop in (("signal", stop_by_signal), ("time", stop_by_time)):
            job = stop(bench, slurm, ini, f"by-{name}")
            found = slurm.wait(job, lambda found: found.get("Restarts", "0") != "0", "queued again")
            log = slurm.log(found)
            expect("75" in log or "saved" in log, f"the log does not say that the run was saved:\n{log}")
            slurm.call("scontrol", "update", f"JobId={job}", "TimeLimit=10", code=None)
            expect_end(slurm, slurm.end_of(job), "COMPLETED")
            expect_equal(bench, "whole", f"by-{name}")
            print(f"stopped by {name}: saved, queued again, and bit for bit the run that was not stopped")


def run_sweep(bench):
    raise NotImplementedError
