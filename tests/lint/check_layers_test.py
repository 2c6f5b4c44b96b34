#!/usr/bin/env python3
"""check_layers.py finds each kind of fault when it is planted, and nothing in a tree without one."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent


class CheckLayersTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = pathlib.Path(self.folder.name)
        self.put("runtime/base/error.h", "#pragma once\n#include <string>\n")
        self.put("runtime/comm/mpi/mpi_communicator.cpp", '#include <mpi.h>\n#include "runtime/base/error.h"\n')
        self.put("parallel/plan/parallel_plan.h", '#pragma once\n#include "runtime/base/error.h"\n')

    def put(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def check(self):
        command = [sys.executable, HERE / "check_layers.py", self.root, HERE / "rules.txt"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    def expect(self, line):
        code, output = self.check()
        self.assertEqual(code, 1, output)
        self.assertIn(line, output)
        self.assertIn("1 fault(s)", output)

    def test_a_clean_tree_passes(self):
        self.assertEqual(self.check(), (0, "3 source files, 0 fault(s) of layering\n"))

    def test_upwards_include(self):
        self.put("runtime/base/x.h", '#pragma once\n\n#include "parallel/plan/parallel_plan.h"\n')
        self.expect("runtime/base/x.h:3: runtime/base may not include parallel/plan/parallel_plan.h")

    def test_only_the_listed_file_of_a_room(self):
        self.put("parallel/plan/other.h", "#pragma once\n")
        self.put("cluster/a.cpp", '#include "parallel/plan/parallel_plan.h"\n')
        self.assertEqual(self.check()[0], 0)
        self.put("cluster/b.cpp", '#  include "parallel/plan/other.h"\n')
        self.expect("cluster/b.cpp:1: cluster may not include parallel/plan/other.h")

    def test_vendor_header_away_from_home(self):
        self.put("runtime/comm/x.cpp", "#include <mpi.h>\n")
        self.expect("runtime/comm/x.cpp:1: mpi.h may only be included in runtime/comm/mpi")

    def test_words_that_are_not_for_a_room(self):
        self.put("models/spec/x.cpp", 'name + ".weight"; config.bias;\n')
        self.put("models/cost/x.cpp", '// name + ".weight"\n')
        self.assertEqual(self.check()[0], 0)
        self.put("models/layers/x.cpp", 'add(name + ".weight");\n')
        self.expect('models/layers/x.cpp:1: .weight" is not for this room')
        self.put("models/layers/x.cpp", "")
        self.put("models/cost/model_size.cpp", "if (c.bias) add(c.ffn_size);\n")
        self.expect("models/cost/model_size.cpp:1: .bias is not for this room")

    def test_relative_include(self):
        self.put("runtime/base/x.cpp", '#include "error.h"\n')
        self.expect('runtime/base/x.cpp:1: "error.h" is no file of this repository')

    def test_file_without_a_room(self):
        self.put("runtime/x.cpp", "")
        self.expect("runtime/x.cpp:1: belongs to no room")

    def test_header_without_a_guard(self):
        self.put("runtime/base/x.h", "")
        self.expect("runtime/base/x.h:1: a header without #pragma once")

    def test_an_empty_tree_is_a_fault(self):
        with tempfile.TemporaryDirectory() as empty:
            self.root = pathlib.Path(empty)
            self.assertEqual(self.check()[0], 1)


if __name__ == "__main__":
    unittest.main()
