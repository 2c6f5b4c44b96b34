#!/usr/bin/env python3
"""tests/gpu.sh with programs, a GPU and an mpirun that only pretend: order, limits, results that outlive every end."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = re.search(r"gpu_programs=\((.*)\)", (ROOT / "tests/gpu/programs.sh").read_text(encoding="utf-8"))[1].split()
STAGES = ["smoke", "conformance", "steps", "ops", "ncu", "golden", "peer", "races", "products", "ranks"]

# Notes that it was called; fails or hangs where it is told to; leaves what the real program leaves.
PROGRAM = r"""#!/bin/bash
words="${0##*/} $*"
echo "$words" >>"$FAKE_CALLS"
echo "output of $words"
if [[ $FAKE_FAIL && $words =~ $FAKE_FAIL ]]; then echo "a \"bad\" end"; exit 7; fi
if [[ $FAKE_HANG && $words =~ $FAKE_HANG ]]; then trap '' TERM; while :; do sleep 0.1; done; fi
for word; do
  case $word in
    --benchmark_out=*)
      echo '{"benchmarks": [{"name": "'"$FAKE_CASE"'", "real_time": 36.5, "tokens_per_s": 100.0, "MFU": 0.4}]}' >"${word#*=}" ;;
  esac
done
if [[ $words == trireme\ info* ]]; then echo "  CUDA devices       1"; fi
if [[ $words == trireme\ bench\ ops* ]]; then echo '{"ops": []}' >"${@: -1}"; fi
if [[ $words =~ ^trireme\ train.*--run.dir\ ([^ ]*) ]]; then mkdir -p "${BASH_REMATCH[1]}" && echo '{"loss":1.5}' >"${BASH_REMATCH[1]}/metrics.jsonl"; fi
exit 0
"""
TOOLS = {
    "nvidia-smi": 'case $* in *compute_cap*) echo "NVIDIA Fake, 9.0, 580.1" ;; *) echo "1980, 3201, 500.5, 60, 0x0000000000000004" ;; esac',
    "ncu": 'while [[ $1 != */training_step_bench ]]; do shift; done; "$@"; echo "    Duration      us    12.34"',
    "compute-sanitizer": 'while [[ $1 != */cuda_tests ]]; do shift; done; exec "$@"',
    "mpirun": 'while [[ $1 != env ]]; do shift; done; OMPI_COMM_WORLD_RANK=0 exec "$@"',
    "ldd": 'echo "  libcudnn.so.9 => /somewhere/libcudnn.so.9 (0x1)"',
}


class GpuScriptTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.out = self.folder / "out"
        self.calls = self.folder / "calls"
        self.calls.touch()
        (self.folder / "bundle/bin").mkdir(parents=True)
        for name in PROGRAMS:
            self.write(self.folder / "bundle/bin" / name, PROGRAM)
        self.tools(*TOOLS)

    def write(self, path, text):
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def tools(self, *names):
        shutil.rmtree(self.folder / "tools", ignore_errors=True)
        (self.folder / "tools").mkdir()
        self.write(self.folder / "tools/python3", f'#!/bin/bash\nexec {sys.executable} "$@"\n')
        for name in names:
            self.write(self.folder / "tools" / name, "#!/bin/bash\n" + TOOLS[name] + "\n")

    def start(self, *options, **fakes):
        environment = {"PATH": f"{self.folder}/tools:/usr/bin:/bin", "FAKE_CALLS": str(self.calls), "FAKE_FAIL": "", "FAKE_HANG": "",
                       "FAKE_CASE": "gpt2_124m_16x1024/bf16/threads:1/real_time"}
        environment |= {f"FAKE_{name.upper()}": value for name, value in fakes.items()}
        return subprocess.Popen([ROOT / "tests/gpu.sh", "--prebuilt", self.folder / "bundle", "--out", self.out, *options],
                                env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run_script(self, *options, **fakes):
        """Exit status and output."""
        process = self.start(*options, **fakes)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def rows(self):
        return [json.loads(line) for line in (self.out / "gpu.jsonl").read_text(encoding="utf-8").splitlines()]

    def results(self):
        return {row["check"]: row["result"] for row in self.rows()}

    def report(self):
        return json.loads((self.out / "gpu.json").read_text(encoding="utf-8"))

    def test_all_stages_run_in_their_order_and_leave_a_few_flat_files(self):
        code, output = self.run_script()
        rows = self.rows()
        self.assertEqual({row["result"] for row in rows if row["stage"] != "peer"}, {"passed"}, output)
        self.assertEqual(list(dict.fromkeys(row["stage"] for row in rows)), ["libraries", *STAGES])
        self.assertEqual(code, 3, "no PyTorch here: the peer is not run")
        self.assertEqual(self.results()["peer: PyTorch"], "not run")
        files = list(self.out.iterdir())
        self.assertLessEqual(len(files), 8)
        for file in files:
            self.assertTrue(file.is_file() and re.fullmatch(r"[A-Za-z0-9._-]+", file.name), file)
        self.assertIn("output of trireme info", (self.out / "logs.txt").read_text(encoding="utf-8"))
        self.assertIn("step: llama3_1b_4x2048_graph, cudnn", (self.out / "table.txt").read_text(encoding="utf-8"))

    def test_the_report_has_figures_and_the_state_of_the_gpu(self):
        self.run_script("--stages", "steps,ncu")
        report = self.report()
        self.assertEqual(report["device"], "NVIDIA Fake, 9.0, 580.1")
        self.assertEqual({step["attention"] for step in report["training_steps"]}, {"own", "cudnn"})
        self.assertEqual(report["kernels"]["attention dq"], {"Duration": "12.34 us"})
        clocks = [row["gpu"] for row in self.rows() if row["gpu"]]
        self.assertIn({"sm_mhz": [1980, 1980], "memory_mhz": [3201, 3201], "watt": [500, 500], "celsius": [60, 60],
                       "throttled": ["0x0000000000000004"]}, clocks)

    def test_stages_run_alone_by_name_and_number_and_in_the_order_asked_for(self):
        self.run_script("--stages", "9,smoke")
        self.assertEqual(list(dict.fromkeys(row["stage"] for row in self.rows())), ["libraries", "products", "smoke"])

    def test_each_implementation_of_attention_is_asked_for(self):
        self.run_script("--stages", "steps")
        calls = self.calls.read_text(encoding="utf-8")
        for attention in ("own", "cudnn"):
            self.assertIn(f"training_step_bench --device=cuda --attention={attention} --deterministic=", calls)
        self.tools("nvidia-smi")  # without the ldd that sees cuDNN
        self.run_script("--stages", "conformance")
        self.assertEqual(self.results()["conformance: attention, cudnn"], "not run")

    def test_a_failure_is_a_row_and_the_others_run(self):
        code, output = self.run_script("--stages", "smoke,products", fail="Gemm.LargeSizes")
        self.assertEqual(code, 1)
        self.assertEqual(self.results(), {"libraries": "passed", "smoke: the program sees the GPU": "passed", "smoke: a product": "FAILED",
                                          "smoke: an attention": "passed", "conformance: products": "passed"})
        self.assertEqual(self.rows()[2]["note"], 'exit 7: a "bad" end')
        self.assertIn("output of cuda_tests", output)

    def test_what_ignores_its_limit_is_killed_and_the_rest_says_why_it_did_not_run(self):
        begin = time.monotonic()
        code, _ = self.run_script("--stages", "smoke", "--seconds", "8", hang="Gemm.LargeSizes")
        self.assertLess(time.monotonic() - begin, 20)
        self.assertEqual(code, 1)
        rows = {row["check"]: row for row in self.rows()}
        self.assertRegex(rows["smoke: a product"]["note"], "not done after [5-8] s")
        self.assertEqual(rows["smoke: an attention"]["note"], "no time left of 8 s")

    def stopped_in_the_middle(self, number):
        process = self.start("--stages", "smoke", hang="Gemm.LargeSizes")
        for _ in range(100):
            if "LargeSizes" in self.calls.read_text(encoding="utf-8"):
                break
            time.sleep(0.1)
        process.send_signal(number)
        # What hangs keeps the output open until it is killed in its turn.
        code = process.wait(timeout=3)
        with process.stdout:
            pass
        return code

    def test_results_outlive_a_signal(self):
        self.assertEqual(self.stopped_in_the_middle(signal.SIGTERM), 143)
        self.assertEqual(self.rows()[-1]["note"], "stopped by TERM")
        self.assertEqual([check["result"] for check in self.report()["checks"]], ["passed", "passed", "FAILED"])
        self.assertIn("stopped by TERM", (self.out / "table.txt").read_text(encoding="utf-8"))
        self.assertIn("output of cuda_tests", (self.out / "logs.txt").read_text(encoding="utf-8"))

    def test_results_outlive_a_kill(self):
        """The report has the figures so far; it is written anew where a check brings some."""
        self.assertEqual(self.stopped_in_the_middle(signal.SIGKILL), -signal.SIGKILL)
        self.assertEqual(self.results(), {"libraries": "passed", "smoke: the program sees the GPU": "passed"})
        self.assertIn("output of trireme info", (self.out / "logs.txt").read_text(encoding="utf-8"))

    def test_without_a_gpu_nothing_runs_and_everything_says_so(self):
        self.tools()
        code, _ = self.run_script()
        self.assertEqual(code, 3)
        self.assertEqual({row["note"] for row in self.rows()[1:]}, {"nvidia-smi shows no GPU"})
        self.assertGreater(len(self.rows()), 30)
        self.assertEqual(self.calls.read_text(encoding="utf-8"), "")

    def test_a_missing_library_is_named_before_anything_runs(self):
        self.tools("nvidia-smi")
        lib = self.folder / "libnowhere.so"
        (self.folder / "empty.c").write_text("int nowhere(void) { return 0; }\n", encoding="utf-8")
        (self.folder / "main.c").write_text("int nowhere(void); int main(void) { return nowhere(); }\n", encoding="utf-8")
        subprocess.run(["cc", "-shared", "-o", lib, self.folder / "empty.c"], check=True)
        subprocess.run(["cc", "-o", self.folder / "bundle/bin/trireme", self.folder / "main.c", lib], check=True)
        lib.unlink()
        begin = time.monotonic()
        code, output = self.run_script()
        self.assertLess(time.monotonic() - begin, 5)
        self.assertEqual(code, 1)
        self.assertRegex(self.rows()[0]["note"], "^trireme lacks .*libnowhere.so$")
        self.assertIn("libnowhere.so", output)
        self.assertEqual(len(self.rows()), 1)
        self.assertEqual(self.calls.read_text(encoding="utf-8"), "")

    def test_libraries_of_python_wheels_are_found(self):
        wheels = self.folder / "site/nvidia/cudnn/lib"
        wheels.mkdir(parents=True)
        self.tools("nvidia-smi")
        self.write(self.folder / "tools/python3", f'#!/bin/bash\nPYTHONPATH={self.folder}/site exec {sys.executable} "$@"\n')
        process = self.start("--", "bash", "-c", "echo $LD_LIBRARY_PATH")
        self.assertTrue(process.communicate(timeout=20)[0].startswith(str(wheels)))

    def test_wrong_options_are_refused(self):
        for options in (["--stages", "smoke,speed"], ["--stages", "11"], ["--stage", "1"], ["--seconds", "many"], ["--stages"]):
            code, output = self.run_script(*options)
            self.assertEqual(code, 2, options)
            self.assertIn("Usage: tests/gpu.sh", output)
        shutil.rmtree(self.folder / "bundle/bin")
        self.assertEqual(self.run_script()[0], 2)

    def test_losses_have_to_agree(self):
        for name, losses in ("a", (2.0, 1.5)), ("b", (2.0, 1.501)), ("c", (2.0, 1.6)), ("d", (2.0,)):
            (self.folder / name).mkdir()
            (self.folder / name / "metrics.jsonl").write_text("".join(f'{{"step":1,"loss":{x},"lr":1}}\n' for x in losses), "utf-8")
        for other, code in ("b", 0), ("c", 1), ("d", 1), ("nothing", 1):
            done = subprocess.run([ROOT / "tests/gpu/same_losses.sh", self.folder / "a", self.folder / other, "true"],
                                  capture_output=True, check=False)
            self.assertEqual(done.returncode, code, (other, done))

    def test_the_fastest_of_the_peers_is_the_measure(self):
        (self.folder / "gpu.json").write_text("{}", encoding="utf-8")
        (self.folder / "step-gpt2_graph-own.json").write_text(
            json.dumps({"benchmarks": [{"name": "gpt2_graph/bf16/x", "real_time": 1, "tokens_per_s": 90.0}]}), encoding="utf-8")
        peer = {"gpt2/bf16, plain": {"case": "gpt2/bf16", "tokens_per_s": 50.0, "ms": 1},
                "gpt2/bf16, padded": {"case": "gpt2/bf16", "tokens_per_s": 100.0, "ms": 1},
                "gpt2/bf16, broken": {"error": "no kernel"}}
        (self.folder / "peer.json").write_text(json.dumps({"peer": "P", "cases": peer}), encoding="utf-8")
        subprocess.run([sys.executable, ROOT / "tests/bench/peers/compare.py", self.folder / "gpu.json", self.folder], check=True,
                       capture_output=True)
        (step,) = json.loads((self.folder / "gpu.json").read_text(encoding="utf-8"))["training_steps"]
        self.assertEqual((step["peer"], step["ratio"], step["attention"]), ("gpt2/bf16, padded", 0.9, "own"))


if __name__ == "__main__":
    os.environ.pop("LD_LIBRARY_PATH", None)
    unittest.main()
