"""Runs of the program that are stopped, killed and resumed: what the checks of tests/checkpoints have in common."""
import json
import os
import random
import shutil
import subprocess
import tempfile
import time

WORDS = "the quick brown fox jumps over a lazy dog and then some other words follow in no order at all".split()
SMALL = ["--data.text", "t.txt", "--train.seq-len", "16", "--train.steps", "20", "--train.sample-tokens", "0", "--run.threads", "1",
         "--train.eval-batches", "1", "--model.layers", "2", "--model.heads", "2", "--model.hidden", "20", "--optimizer.warmup", "3"]
MIXTURE = ["--model.family", "llama", "--moe.experts", "4", "--moe.ffn", "24", "--moe.bias-rate", "0.01",
           "--moe.aux-scope", "batch"]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
               "OMPI_MCA_btl_tcp_if_include": "lo", "OMPI_MCA_oob_tcp_if_include": "lo",
               "OMPI_MCA_odls_base_sigkill_timeout": "0",
               "OMPI_MCA_mpi_yield_when_idle": "1"}  # ranks that wait give their core to those they wait for
MEMORY, ROOM = "/dev/shm", 1 << 30  # bytes that are free there
SAVED = 75
LIMIT = 300  # seconds that a run of a busy machine may take


class Failure(Exception):
    """A promise that was not kept."""


def expect(holds, words):
    if not holds:
        raise Failure(words)


class Cases:
    """Which of the cases of a part are run: drawn ones, or every N-th of all."""

    def __init__(self, seed, whole, number=1, count=1):
        self.draw, self.whole, self.number, self.count = random.Random(seed), whole, number, count

    def choose(self, cases, drawn):
        """All of the cases that are in this piece; or `drawn` of them, in their order."""
        if self.whole:
            return cases[self.number - 1::self.count]
        return [cases[i] for i in sorted(self.draw.sample(range(len(cases)), drawn))]


class Bench:
    """A folder with a text, in which runs are started; in memory where what is checked needs no disk."""

    def __init__(self, program, mpirun, in_memory=False):
        self.program, self.mpirun = os.path.abspath(program), mpirun
        has_room = in_memory and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM
        self.folder = tempfile.mkdtemp(prefix="trireme-checkpoints-", dir=MEMORY if has_room else None)
        choose = random.Random(7)
        with open(self.path("t.txt"), "w") as text:
            text.write(" ".join(choose.choice(WORDS) for _ in range(3000)))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def copy(self, run, to):
        shutil.rmtree(self.path(to), ignore_errors=True)
        shutil.copytree(self.path(run), self.path(to))

    def remove(self, run):
        shutil.rmtree(self.path(run), ignore_errors=True)

    def command(self, ranks, options):
        start = [] if ranks == 1 else [self.mpirun, "--oversubscribe", "-np", str(ranks)]
        return start + [self.program, "train", *SMALL, *options]

    def start(self, ranks, options, before=(), more=None):
        """Begins a run; what it prints goes to the file "out" of the folder."""
        return self.start_command([*before, *self.command(ranks, options)], more=more)

    def start_command(self, command, out="out", more=None):
        with open(self.path(out), "w") as file:
            return subprocess.Popen(command, cwd=self.folder, stdout=file, stderr=subprocess.STDOUT,
                                    env={**os.environ, **ENVIRONMENT, **(more or {})}, start_new_session=True)

    def run_command(self, command, code=0):
        """Carries out a command beside a run, which ends with exit code `code`: what it printed."""
        status = self.start_command(command, "tool").wait(timeout=LIMIT)
        with open(self.path("tool"), errors="replace") as out:
            printed = out.read()
        expect(status == code, f"exit {status}, expected {code}: {' '.join(command)}\n{printed[-3000:]}")
        return printed

    def run(self, ranks, options, code=0, before=()):
        """Carries out a run, which ends with exit code `code` (None: any): what it printed."""
        status = self.start(ranks, options, before).wait(timeout=LIMIT)
        printed = self.printed()
        expect(code is None or status == code,
               f"exit {status}, expected {code}: {ranks} x {' '.join(options)}\n{printed[-3000:]}")
        return printed

    def printed(self):
        with open(self.path("out"), errors="replace") as out:
            return out.read()

    def processes_of(self, session):
        """The processes of the program in a session, in the order of their numbers."""
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/stat") as file:
                    fields = file.read().rsplit(")", 1)[1].split()
                if int(fields[3]) == session and os.readlink(f"/proc/{name}/exe") == os.path.realpath(self.program):
                    found.append(int(name))
            except (OSError, IndexError):
                continue
        return sorted(found)

    def preload(self, source):
        """Compiles a C file beside this one to a library, once: where it is."""
        library = self.path(source.replace(".c", ".so"))
        if not os.path.exists(library):
            here = os.path.dirname(os.path.abspath(__file__))
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, os.path.join(here, source), "-ldl"], check=True)
        return library

    def run_and_kill(self, ranks, options, step):
        """Starts a run, which is killed when it has written the metrics of a step, at that very call."""
        process = self.start(ranks, options, more={"LD_PRELOAD": self.preload("kill_after_step.c"), "KILL_AFTER_STEP": str(step)})
        status = process.wait(timeout=LIMIT)
        while self.processes_of(process.pid):
            time.sleep(0.01)
        return status


def metrics(run):
    """The lines of metrics.jsonl."""
    with open(os.path.join(run, "metrics.jsonl")) as lines:
        return [json.loads(line) for line in lines]


def last_step(run):
    try:
        with open(os.path.join(run, "metrics.jsonl"), "rb") as file:
            lines = file.read().split(b"\n")
        return json.loads(lines[-2])["step"] if len(lines) > 1 else -1
    except (OSError, ValueError):
        return -1


EXACT = ["step", "tokens", "loss", "grad_norm", "lr", "val_loss", "loss_z", "grad_norm_z", "loss_scale", "skips"]


def exact_metrics(run):
    """What a resumed run has bit for bit, a row a step."""
    return [[line.get(key) for key in EXACT] for line in metrics(run)]


def manifest(run, step):
    with open(os.path.join(run, "checkpoints", f"step-{step:08d}", "manifest.json")) as file:
        return json.load(file)


def state_of(run, step):
    """Proof hash, training state and slices of a checkpoint, without what tells of the run's own start."""
    found = manifest(run, step)
    state = {key: value for key, value in found["state"].items() if key not in ("config", "layout", "schedule")}
    return found["proof"], state, found["tensors"]


def weights(run):
    with open(os.path.join(run, "model.safetensors"), "rb") as file:
        return file.read()


def expect_equal_runs(one, other, step, given_up=0):
    """Two runs that came to the same end bit for bit. A signal may have ended `given_up` evaluations of the other, which are not made up
    for: their losses of the validation data are missing."""
    at, rows, others = EXACT.index("val_loss"), exact_metrics(one), exact_metrics(other)
    missing = [i for i, (row, cut) in enumerate(zip(rows, others)) if cut[at] is None and row[at] is not None]
    expect(len(missing) <= given_up, f"{other}: evaluations of the rows {missing} are missing")
    for i in missing:
        rows[i][at] = None
    expect(rows == others, f"{other}: metrics are not those of {one}")
    expect(weights(one) == weights(other), f"{other}: weights are not those of {one}")
    expect(state_of(one, step) == state_of(other, step), f"{other}: the last checkpoint is not that of {one}")


def expect_close_runs(one, other, bound):
    """Two runs with the same steps and tokens whose losses are equal up to rounding."""
    a, b = metrics(one), metrics(other)
    expect([(x["step"], x["tokens"]) for x in a] == [(x["step"], x["tokens"]) for x in b],
           f"{other}: steps {[x['step'] for x in b]}, those of {one} are {[x['step'] for x in a]}")
    for x, y in zip(a, b):
        for key in ("loss", "val_loss"):
            if key in x or key in y:
                expect(abs(x[key] - y[key]) <= bound, f"{other}: {key} of step {x['step']} is {y[key]}, not {x[key]}")
