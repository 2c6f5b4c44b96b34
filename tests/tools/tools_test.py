#!/usr/bin/env python3
"""The tools of the tests say what they should, also where something is wrong."""
import importlib.util
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem + "_under_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class UsageTest(unittest.TestCase):
    def report(self, text, *options):
        with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
            file.write(text)
            file.flush()
            done = subprocess.run([sys.executable, HERE / "usage.py", file.name, *options], capture_output=True, text=True,
                                  check=False)
        return done.returncode, done.stdout + done.stderr

    def test_names_what_is_too_dear(self):
        code, output = self.report("test\tA.Cheap\t19.9\t30\nentry\ta.1of2\t20.5\t11\n")
        self.assertEqual(code, 1)
        self.assertIn("too dear: entry a.1of2 takes 20.5 s of processor time, the limit is 20 s", output)
        self.assertNotIn("too dear: test A.Cheap", output)

    def test_fails_beyond_a_multiple_of_the_limit_alone(self):
        code, output = self.report("test\tA.B\t30\t30\n", "--fail-beyond", "2")
        self.assertEqual(code, 0)
        self.assertIn("too dear: test A.B", output)
        self.assertEqual(self.report("test\tA.B\t41\t30\n", "--fail-beyond", "2")[0], 1)

    def test_passes_below_the_limit_and_without_one(self):
        self.assertEqual(self.report("test\tA.B\t19\t30\n")[0], 0)
        self.assertEqual(self.report("test\tA.B\t100\t30\n", "--limit", "0")[0], 0)

    def test_lint_takes_as_long_as_a_change_is_large(self):
        self.assertEqual(self.report("entry\tlint.headers\t90\t50\n")[0], 0)

    def test_no_tests_are_a_fault_and_so_is_a_damaged_file(self):
        self.assertEqual(self.report("")[0], 1)
        self.assertIn(":2: not 'KIND NAME", self.report("test\tA.B\t1\t1\ntest A.C\n")[1])


class StructureTest(unittest.TestCase):
    def report(self, files):
        with tempfile.TemporaryDirectory() as root:
            for name, text in files.items():
                path = pathlib.Path(root, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return subprocess.run([sys.executable, HERE / "structure.py", root], capture_output=True, text=True,
                                  check=True).stdout

    def test_finds_circles_and_backward_arrows(self):
        output = self.report({"runtime/a/a.h": '#include "runtime/b/b.h"\n', "runtime/b/b.h": '#include "runtime/c/c.h"\n',
                              "runtime/c/c.h": '#include "runtime/a/a.h"\n#include "models/m.h"\n', "models/m.h": "\n"})
        self.assertIn("backward 1, circles 1", output)
        self.assertIn("runtime/c -> models", output)
        self.assertIn("runtime/a <-> runtime/b <-> runtime/c", output)

    def test_a_house_in_order_has_none(self):
        output = self.report({"runtime/a/a.h": "\n", "models/m/m.cpp": '#include "runtime/a/a.h"\nbool f() { return g.size() == 1; }\n'})
        self.assertIn("arrows between folders 1, backward 0, circles 0", output)
        self.assertIn("one rank, in parallel and models: 1", output)


class AffectedTest(unittest.TestCase):
    affected = load(HERE / "affected.py")

    def labels(self, *files):
        return self.affected.labels_of(files)

    def test_a_room_is_seen_by_what_stands_on_it(self):
        self.assertEqual(self.labels("launch/cli/option.cpp"), {"lint", "launch", "mpi", "cuda_training"})
        self.assertEqual(self.labels("parallel/plan/parallel_plan.cpp"),
                         {"lint", "parallel", "models", "launch", "mpi", "cuda_training"})
        self.assertEqual(self.labels("runtime/comm/mpi/mpi_communicator.cpp"), set(self.affected.LABELS))

    def test_kernels_are_seen_on_the_host_alone(self):
        self.assertEqual(self.labels("runtime/ops/cuda/norm.cu"), {"lint", "cuda_on_host", "cuda_training"})

    def test_tests_are_seen_by_their_own_program(self):
        self.assertEqual(self.labels("tests/models/layers/layers_gradient_test.cpp"), {"lint", "models"})
        self.assertEqual(self.labels("tests/launch/mpi/train_cases.sh"), {"lint", "mpi"})

    def test_text_is_linted_and_what_everything_is_built_with_is_seen_by_all(self):
        self.assertEqual(self.labels("docs/moe.md", "README.md"), {"lint"})
        self.assertEqual(self.labels("cmake/targets.cmake"), set(self.affected.LABELS))
        self.assertEqual(self.labels("tests/support/layout_run.cpp"), set(self.affected.LABELS))
        self.assertEqual(self.labels(), set())


class MutationTest(unittest.TestCase):
    script = load(HERE.parent / "mutation/run.py")
    TEXT = "== a-name\nfile: {}\nkind: wrong sign\ntests: runtime_tests A.*\n-  return a + b;\n+  return a - b;\n"

    def mutation(self, source):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        (pathlib.Path(folder.name) / "x.cpp").write_text(source)
        self.script.ROOT = pathlib.Path(folder.name)
        return self.script.Mutation(self.TEXT.format("x.cpp"))

    def test_changes_the_one_place(self):
        source = "int f() {\n  return a + b;\n}\n"
        mutation = self.mutation(source)
        self.assertIsNone(mutation.fault())
        self.assertEqual(mutation.apply_to(source), "int f() {\n  return a - b;\n}\n")

    def test_lines_that_are_gone_or_occur_twice_do_not_fit(self):
        self.assertIn("occur 0 times", self.mutation("int f();\n").fault())
        self.assertIn("occur 2 times", self.mutation("  return a + b;\n  return a + b;\n").fault())
        self.assertIn("occur 0 times", self.mutation("  return a + b; // more\n").fault())


class SlowestTest(unittest.TestCase):
    def test_adds_up_jobs_of_a_build_and_its_tests(self):
        with tempfile.TemporaryDirectory() as folder:
            build = pathlib.Path(folder) / "build"
            (build / "Testing/Temporary").mkdir(parents=True)
            (build / ".ninja_log").write_text("# ninja log v5\n0\t9000\t0\ttests/a.o\tx\n10\t2010\t0\ttests/a.o\tx\n0\t1000\t0\tlib.a\tx\n")
            (build / "Testing/Temporary/LastTest.log").write_text("1/1 Testing: a.1of1\nTest time =   7.00 sec\n")
            done = subprocess.run([sys.executable, HERE / "slowest.py", str(build)], capture_output=True, text=True, check=True)
        self.assertIn("3 jobs, 10 s added up", done.stdout)
        self.assertRegex(done.stdout, r"7\.0 s +70\.0 % +build: a\.1of1")


if __name__ == "__main__":
    unittest.main()
