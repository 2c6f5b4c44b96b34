"""Jobs in which one rank misbehaves: how they are started, and what is left of them."""
import glob
import os
import random
import re
import shutil
import subprocess
import tempfile
import time

WORDS = "the quick brown fox jumps over a lazy dog and then some other words follow in no order at all".split()
SMALL = ["--data.text", "t.txt", "--train.seq-len", "16", "--train.steps", "1000000", "--train.sample-tokens", "0",
         "--run.threads", "1", "--train.eval-batches", "1", "--model.layers", "2", "--model.heads", "2", "--model.hidden", "20",
         "--train.micro-batch", "2", "--train.global-batch", "24", "--checkpoint.minutes", "0"]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
               "OMPI_MCA_btl_tcp_if_include": "lo", "OMPI_MCA_oob_tcp_if_include": "lo", "OMPI_MCA_mpi_yield_when_idle": "1"}
STARTS = 120  # seconds that a job on a busy machine may take to begin


class Failure(Exception):
    """A promise that was not kept."""


def expect(holds, words):
    if not holds:
        raise Failure(words)


def busy_seconds():
    """What is allowed beyond the promise where the machine has more to do than processors for it."""
    load, cores = os.getloadavg()[0], os.cpu_count()
    return 0 if load <= cores + 2 else 3 * load / cores


class Layout:
    """Degrees of data, tensor and pipeline parallelism."""

    def __init__(self, data, tensor, pipeline):
        self.degrees, self.ranks = (data, tensor, pipeline), data * tensor * pipeline

    def options(self):
        return [word for name, degree in zip(("--dp", "--tp", "--pp"), self.degrees) for word in (name, str(degree))]

    def __str__(self):
        return "x".join(str(degree) for degree in self.degrees)


LAYOUTS = [Layout(2, 1, 1), Layout(1, 2, 1), Layout(1, 1, 2), Layout(3, 1, 1), Layout(2, 2, 1), Layout(2, 1, 2), Layout(1, 2, 2),
           Layout(2, 2, 2)]


class Bench:
    """A folder in which jobs run."""

    def __init__(self, program, mpirun, job):
        self.program, self.mpirun, self.job = os.path.abspath(program), mpirun, os.path.abspath(job)
        self.folder = tempfile.mkdtemp(prefix="trireme-hangs-")
        choose = random.Random(7)
        with open(self.path("t.txt"), "w") as text:
            text.write(" ".join(choose.choice(WORDS) for _ in range(3000)))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def preload(self):
        library = self.path("fault.so")
        if not os.path.exists(library):
            source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fault.cpp")
            flags = subprocess.run(["mpicxx", "--showme:compile"], check=True, capture_output=True, text=True).stdout.split()
            subprocess.run(["c++", "-std=c++17", "-shared", "-fPIC", "-O1", "-DOMPI_SKIP_MPICXX", *flags, "-o", library, source,
                            "-ldl", "-lpthread"], check=True)
        return library


class Job:
    """One job: `words` behind mpirun. Its processes are a session of their own."""

    def __init__(self, bench, ranks, words, more=None, before=(), without=()):
        for name in ("run", "out", "mark"):
            path = bench.path(name)
            shutil.rmtree(path, ignore_errors=True)
            if os.path.exists(path):
                os.remove(path)
        os.mkdir(bench.path("run"))
        self.bench, self.ranks = bench, ranks
        environment = {**os.environ, **ENVIRONMENT, **(more or {})}
        environment = {key: value for key, value in environment.items() if key not in without}
        command = [*before, bench.mpirun, "--oversubscribe", "-np", str(ranks), *words]
        with open(bench.path("out"), "w") as out:
            self.process = subprocess.Popen(command, cwd=bench.folder, stdout=out, stderr=subprocess.STDOUT, env=environment,
                                            start_new_session=True)

    def processes(self, program=None):
        """Living processes of the job by number; with `program` only of that one."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat") as file:
                    fields = file.read().rsplit(")", 1)[1].split()
                if int(fields[3]) != self.process.pid or fields[0] in "ZX":
                    continue
                if program is None or os.readlink(f"/proc/{name}/exe") == os.path.realpath(program):
                    found.append(int(name))
            except (OSError, IndexError):
                continue
        return sorted(found)

    def process_of(self, rank, program):
        for pid in self.processes(program):
            with open(f"/proc/{pid}/environ", "rb") as file:
                if f"OMPI_COMM_WORLD_RANK={rank}".encode() in file.read().split(b"\0"):
                    return pid
        raise Failure(f"rank {rank} is not there: {self.said()[-2000:]}")

    def said(self):
        texts = []
        for path in (self.bench.path("out"), *glob.glob(self.bench.path("run", "*", "log.txt")), self.bench.path("run", "log.txt")):
            try:
                with open(path, errors="replace") as file:
                    texts.append(file.read())
            except OSError:
                continue
        return "\n".join(texts)

    def wait_for(self, holds, words, seconds=STARTS):
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end or self.process.poll() is not None and not holds():
                self.end()
                raise Failure(f"{words}: {self.said()[-3000:]}")
            time.sleep(0.02)

    def wait_for_step(self, step):
        self.wait_for(lambda: self.steps() >= step, f"step {step} is not done")

    def steps(self):
        found = re.findall(r"^step (\d+)/", self.said(), re.MULTILINE)
        return int(found[-1]) if found else 0

    def wait_for_end(self, seconds):
        """Until no process is left, mpirun included; the seconds it took, and the exit code."""
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            if self.process.poll() is not None and not self.processes():
                return time.monotonic() - begin, self.process.returncode
            time.sleep(0.02)
        left = self.processes()
        self.end()
        raise Failure(f"{len(left)} processes are left after {seconds:.0f} s: {self.said()[-4000:]}")

    def end(self):
        for pid in [*self.processes(), self.process.pid]:
            try:
                os.kill(pid, 9)
            except OSError:
                continue
        self.process.wait()

    def last_error(self):
        """The last line in which the program says why the job ends."""
        found = re.findall(r"^trireme: error: (.*)$", self.said(), re.MULTILINE)
        return found[-1] if found else ""
