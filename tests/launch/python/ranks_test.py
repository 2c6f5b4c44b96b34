#!/usr/bin/env python3
"""Two ranks under mpirun: the program's steps, one rank's gradients, and ends in good order."""
import json
import pathlib
import sys
import unittest

import numpy as np
import trireme

from common import FolderTest, arguments, lines_of, run_program, run_script, small_run

SCRIPT = pathlib.Path(__file__).parent / "ranks_script.py"


class TwoRanks(FolderTest):
    def train(self, case="train", ranks=2, **options):
        """What the script leaves: its result, the gradients of the first step, and each rank's weights before it."""
        self.assert_ok(run_script(SCRIPT, case, self.folder, *(f"{k}={v}" for k, v in options.items()), ranks=ranks))
        result = json.loads((self.folder / "result.json").read_text())
        gradients = dict(np.load(self.folder / "gradients.npz"))
        return result, gradients, [dict(np.load(self.folder / f"weights-{r}.npz")) for r in range(ranks)]

    def assert_follows(self, layout, one):
        result, gradients, weights = layout
        result_of_one, gradients_of_one, weights_of_one = one
        np.testing.assert_allclose(result["losses"], result_of_one["losses"], rtol=1e-5)
        self.assertAlmostEqual(result["evaluated"], result_of_one["evaluated"], places=4)
        self.assertEqual(gradients.keys(), gradients_of_one.keys())
        for name, values in gradients_of_one.items():
            scale = np.abs(values).max()
            np.testing.assert_allclose(gradients[name], values, rtol=0, atol=1e-5 * scale, err_msg=name)
        for of_rank in weights:
            self.assertEqual(of_rank.keys(), weights_of_one[0].keys())
            for name, values in weights_of_one[0].items():
                np.testing.assert_array_equal(of_rank[name], values, name)

    def test_layouts_follow_one_rank_and_are_the_programs(self):
        one = self.train(ranks=1)
        for number, (case, options) in enumerate(
            [("train", {"parallel.zero": 2}), ("mpi4py_train", {"parallel.tensor": 2}), ("train", {"parallel.pipeline": 2})]
        ):
            with self.subTest(**options):
                layout = self.train(case, **options)
                self.assert_follows(layout, one)
                if number == 0:
                    config = small_run(self.folder, **options, **{"run.dir": self.folder / "theirs"})
                    self.assert_ok(run_program("train", *arguments(config), ranks=2))
                    self.assertEqual([l["loss"] for l in lines_of(self.folder / "theirs")[1:]], layout[0]["losses"])
        done = run_script(SCRIPT, "model", self.folder, ranks=2)
        self.assert_ok(done)
        self.assertAlmostEqual(float(done.stdout), one[0]["evaluated"], places=4)
        self.assert_ok(run_script(SCRIPT, "metrics_alone", self.folder, ranks=2))

    def test_one_rank_that_fails_ends_the_job(self):
        done = run_script(SCRIPT, "one_fails", self.folder, "train.steps=100000", ranks=2)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("rank 1: Traceback", done.stderr)
        self.assertIn("rank 1 has had enough", done.stderr)

    def test_what_all_refuse_is_said_once(self):
        done = run_script(SCRIPT, "all_refuse", self.folder, "parallel.tensor=3", ranks=2)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(done.stderr.count("Traceback"), 1, done.stderr)
        self.assertIn("UserError", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]])
