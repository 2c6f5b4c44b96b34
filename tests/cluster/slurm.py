"""Jobs of Slurm: launched both ways they are mpirun's runs bit for bit; stopped ones save, are queued again, and go on as if nothing had
been."""
import json
import os
import signal
import time

from testbed import LIMIT, ROOT, SLURM, SMALL, Slurm, expect, expect_equal

SAVED = 75
SCRIPTS = ROOT / "cluster/slurm"
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


def submit_script(bench, slurm, ini, run_dir, *sbatch, launcher="srun"):
    return slurm.submit(f"--nodes={NODES}", "--ntasks-per-node=1", *sbatch, SCRIPTS / "train.sbatch", ini, "--run.dir", run_dir,
                        more={"TRIREME": bench.program, "TRIREME_LAUNCHER": launcher})


def expect_end(slurm, found, state, code=0):
    expect(found["JobState"] == state and found["ExitCode"] == f"{code}:0",
           f"job {found['JobId']} is {found['JobState']}, exit {found['ExitCode']}, not {state}, {code}:0\n{slurm.log(found)[-3000:]}")


def run_launches(bench):
    """sbatch + mpirun, and sbatch + srun."""
    ini = config(bench, "run.ini", 12)
    whole(bench, ini)
    with Slurm(bench, NODES) as slurm:
        for launcher in ("mpirun", "srun"):
            found = slurm.end_of(submit_script(bench, slurm, ini, launcher, launcher=launcher))
            expect_end(slurm, found, "COMPLETED")
            expect(f"on {NODES} hosts" in slurm.log(found), f"the banner does not show {NODES} hosts:\n{slurm.log(found)[:3000]}")
            expect_equal(bench, "whole", launcher)
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


def ranks_of(bench, run_dir):
    """The processes of the program that train in a run directory; `trireme launch` is none of them."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
            if words[1:2] == ["train"] and run_dir in words and os.readlink(f"/proc/{name}/exe") == os.path.realpath(bench.program):
                found.append(int(name))
        except OSError:
            continue
    return found


def stop_by_time(bench, slurm, ini, run_dir):
    """The time limit of a minute, and a signal ahead of it. The ranks are held up until it has come: machines differ in speed."""
    job = submit_script(bench, slurm, ini, run_dir, "--time=1", "--signal=B:USR1@45")
    slurm.wait(job, lambda found: has_steps(bench, run_dir, 5), "training")
    ranks = ranks_of(bench, run_dir)
    expect(len(ranks) == NODES, f"{len(ranks)} ranks train in {run_dir}")
    for rank in ranks:
        os.kill(rank, signal.SIGSTOP)
    time.sleep(25)
    for rank in ranks:
        os.kill(rank, signal.SIGCONT)
    return job


def run_stops(bench):
    """Stopped jobs end with 75, are queued again by the script, and end like the run that was not stopped."""
    ini = config(bench, "run.ini", 800, "--checkpoint.keep", "1")
    whole(bench, ini)
    with Slurm(bench, NODES) as slurm:
        for name, stop in (("signal", stop_by_signal), ("time", stop_by_time)):
            job = stop(bench, slurm, ini, f"by-{name}")
            found = slurm.wait(job, lambda found: found.get("Restarts", "0") != "0", "queued again")
            expect("saved" in slurm.log(found), f"the log does not say that the run was saved:\n{slurm.log(found)[-3000:]}")
            slurm.call("scontrol", "update", f"JobId={job}", "TimeLimit=10", code=None)
            found = slurm.end_of(job)
            expect_end(slurm, found, "COMPLETED")
            expect("resumed from" in slurm.log(found), f"the log does not say that the run went on:\n{slurm.log(found)[:3000]}")
            expect_equal(bench, "whole", f"by-{name}")
            print(f"stopped by {name}: saved, queued again {found['Restarts']} times, and bit for bit the run that was not stopped")


def run_sweep(bench):
    """An array of two runs, each like one that is started by hand."""
    ini = config(bench, "run.ini", 12)
    lines = ["--train.seed 5", "--train.seed 6 --optimizer.lr 1e-3"]
    with open(bench.path("sweep.txt"), "w") as file:
        file.write("# two runs\n" + "\n".join(lines) + "\n")
    for number, line in enumerate(lines, 1):
        bench.run_command([bench.mpirun, "--oversubscribe", "-np", str(NODES), bench.program, "train", "--config", ini, *line.split(),
                           "--run.dir", f"alone{number}"])
    with Slurm(bench, NODES) as slurm:
        job = slurm.submit("--array=1-2", f"--nodes={NODES}", "--ntasks-per-node=1", SCRIPTS / "sweep.sbatch", ini, "sweep.txt",
                           more={"TRIREME": bench.program, "TRIREME_SLURM": str(SCRIPTS)})
        for number in (1, 2):
            expect_end(slurm, slurm.end_of(f"{job}_{number}"), "COMPLETED")
            expect_equal(bench, f"alone{number}", f"runs/sweep/{number}")
    print("two runs of an array are those started by hand, bit for bit")


def run_scale(bench):
    """Series of runs, as jobs that are submitted one by one, and in one allocation; a signal cancels the job."""
    model = ["--data.text", "t.txt", "--train.seq-len", "16", "--train.micro-batch", "1", "--model.layers", "2", "--model.heads", "2",
             "--model.hidden", "20"]
    series = [bench.program, "scale", "--ranks", "1,2", "--mode", "weak", "--repeat", "1", "--warmup", "2", "--steps"]
    with Slurm(bench, NODES) as slurm:
        printed = slurm.call(*series, "4", "--dir", "jobs", "--", *model, code=2)
        expect("--submit makes a job of each run" in printed, printed)
        slurm.call(*series, "4", "--dir", "jobs", "--submit", "--slurm", "--ntasks-per-node=1", "--", *model)
        expect_series(bench, "jobs", [(1, 1), (2, 2)])
        script = bench.path("allocation.sh")
        with open(script, "w") as file:
            file.write("#!/bin/sh\nexec " + " ".join([*series, "4", "--dir", "allocated", "--allow-root", "--", *model]) + "\n")
        found = slurm.end_of(slurm.submit(f"--nodes={NODES}", "--ntasks-per-node=1", script))
        expect_end(slurm, found, "COMPLETED")
        expect_series(bench, "allocated", [(1, 1), (2, 2)])
        command = [*series, "100000000", "--dir", "endless", "--submit", "--", *model]
        process = bench.start_command([SLURM, "exec", slurm.folder, *command])
        slurm.wait_until(lambda: has_steps(bench, "endless/runs/001-ranks1-repeat1", 5), "training")
        for scale in processes_of_series(bench, "endless"):
            os.kill(scale, signal.SIGTERM)
        status = process.wait(timeout=LIMIT)
        expect(status == SAVED, f"exit {status}, expected {SAVED}\n{bench.printed()[-3000:]}")
        slurm.wait_until(lambda: "trireme-" not in slurm.call("squeue", "--noheader", "--format=%j"), "the job to be cancelled")
    print("a series runs as jobs of Slurm and in an allocation; a signal cancels its job")


def processes_of_series(bench, directory):
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
            if words[1:2] == ["scale"] and directory in words and os.readlink(f"/proc/{name}/exe") == os.path.realpath(bench.program):
                found.append(int(name))
        except OSError:
            continue
    return found


def expect_series(bench, directory, wanted):
    """All points measured, on as many hosts as ranks."""
    with open(bench.path(directory, "scale.json")) as file:
        results = json.load(file)
    found = [(one["ranks"], one["hosts"]) for one in results["points"] if one["failed"] == 0 and one["tok_s"]["median"] > 0]
    expect(found == wanted and results["missing_runs"] == 0, f"{directory}: {results}")
