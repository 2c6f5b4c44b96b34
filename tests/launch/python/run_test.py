#!/usr/bin/env python3
"""Runs of one rank: the same as the program's, and what can be read of them."""
import pathlib
import resource
import signal
import subprocess
import sys
import threading
import time
import unittest
import warnings

import numpy as np
import trireme

from common import SENTENCE, SEQ_LEN, STEPS, FolderTest, arguments, lines_of, run_program, run_script, small_run


class OneRank(FolderTest):
    def test_steps_are_those_of_the_program(self):
        config = small_run(self.folder, **{"train.eval-every": 3})
        self.assert_ok(run_program("train", *arguments(small_run(self.folder, **{"train.eval-every": 3}))))
        steps = []
        with trireme.Run(config) as run:
            self.assertEqual((run.steps_done, run.num_steps), (0, STEPS))
            self.assertEqual(pathlib.Path(run.directory), self.folder / "run-2")
            for step in run:
                steps.append(step)
            run.finish()
            weights = run.weights()
        theirs = lines_of(self.folder / "run")
        for step, line in zip(steps, theirs[1:], strict=True):
            for key in ("step", "tokens", "loss", "grad_norm", "lr", "loss_scale"):
                self.assertEqual(getattr(step, key), line[key], key)
            self.assertEqual(step.val_loss, line.get("val_loss"))
        self.assertEqual([s.step for s in steps if s.val_loss is not None], [3, STEPS])
        saved = trireme.RunFiles(self.folder / "run").weights()
        self.assertEqual(weights.keys(), saved.keys())
        for name, values in weights.items():
            self.assertEqual((values.dtype, values.shape), (np.float32, saved[name].shape))
            np.testing.assert_array_equal(values, saved[name], name)
        mine, other = trireme.RunFiles(self.folder / "run-2").config, trireme.RunFiles(self.folder / "run").config
        self.assertEqual(mine, other)

    def test_gradients_are_what_the_optimizer_takes(self):
        rate, eps, decay = 1e-2, 1e-3, {"optimizer.weight-decay": 0, "optimizer.clip": 0}
        config = small_run(self.folder, **{"optimizer.lr": rate, "optimizer.eps": eps, "optimizer.schedule": "constant", "train.precision": "fp16", "train.loss-scale": 64}, **decay)
        with trireme.Run(config) as run:
            before = run.weights()
            passes = run.forward_backward()
            gradients = run.gradients()
            some = run.gradients(["embedding.tokens.weight"])
            self.assertEqual(run.learning_rate, rate)
            step = run.update()
            after = run.weights()
        self.assertEqual((passes.loss, passes.grad_norm), (step.loss, step.grad_norm))
        self.assertEqual(passes.num_targets, 4 * SEQ_LEN)
        self.assertEqual(list(some), ["embedding.tokens.weight"])
        norm = np.sqrt(sum(np.sum(g.astype(np.float64) ** 2) for g in gradients.values()))
        self.assertAlmostEqual(norm / passes.grad_norm, 1, places=6)
        for name, g in gradients.items():  # AdamW's first step
            expected = before[name] - rate * g / (np.abs(g) + eps)
            np.testing.assert_allclose(after[name], expected, rtol=0, atol=2e-6, err_msg=name)

    def test_calls_that_do_not_fit_are_refused(self):
        with trireme.Run(small_run(self.folder, **{"train.steps": 1, "checkpoint.keep": 0})) as run:
            self.assert_refused(trireme.UserError, "no step is in flight", run.update, 2)
            self.assert_refused(trireme.UserError, "between forward_backward() and update()", run.gradients, 2)
            self.assert_refused(trireme.UserError, "checkpoint.keep is 0", run.save_checkpoint, 2)
            self.assert_refused(trireme.UserError, "0 of 1 steps are done", run.finish, 2)
            run.forward_backward()
            self.assert_refused(trireme.UserError, "a step is in flight", run.step, 2)
            self.assert_refused(trireme.UserError, "a step is in flight", lambda: run.evaluate("text"), 2)
            self.assert_refused(trireme.UserError, "did you mean embedding.tokens.weight", lambda: run.weights(["embedding.token.weight"]), 2)
            run.update()
            self.assert_refused(trireme.UserError, "all 1 steps are done", run.step, 2)
        self.assert_refused(trireme.UserError, "this run has ended", run.weights, 2)
        self.assertFalse(run.is_open)

    def test_configurations_are_checked_as_on_the_command_line(self):
        def start(**more):
            return lambda: trireme.Run(small_run(self.folder, **more))

        self.assert_refused(trireme.UserError, "config: model.laers is not an option of trireme train; did you mean model.layers?", start(**{"model.laers": 3}), 2)
        self.assert_refused(trireme.UserError, "config: n_layer is not an option of trireme train; nanoGPT's n_layer is model.layers here", start(n_layer=3), 2)
        self.assert_refused(ValueError, "config: model.layers is 'two'; allowed:", start(**{"model.layers": "two"}), 2)
        self.assert_refused(trireme.UserError, "run.dir is given twice", lambda: trireme.Run({"run.dir": "a", "run": {"dir": "b"}}), 2)
        self.assert_refused(trireme.UserError, "is None, a NoneType", start(**{"model.preset": None}), 2)
        with self.assertRaises(trireme.UserError) as raised:
            start(**{"parallel.tensor": 3, "moe.top-k": 2})()
        theirs = run_program("train", *arguments(small_run(self.folder, **{"parallel.tensor": 3, "moe.top-k": 2})))
        self.assertEqual(theirs.returncode, 2)
        said = theirs.stderr.replace("trireme: error: ", "").replace("command line:", "config:").strip()
        self.assertEqual(str(raised.exception), said)
        self.assert_refused(trireme.UserError, "nowhere.txt", start(**{"data": {"text": "nowhere.txt"}}), 3)
        self.assertFalse((self.folder / "run").exists())

    def test_resolves_without_starting(self):
        options = trireme.resolve(small_run(self.folder), world_size=2)
        self.assertEqual((options["parallel.data"], options["train.global-batch"]), ("2", "4"))
        self.assertEqual(options["checkpoint.async"], "on")

    def test_a_run_goes_on_from_its_checkpoint(self):
        whole = [step.loss for step in trireme.Run(small_run(self.folder, **{"run.dir": self.folder / "whole"}))]
        with trireme.Run(small_run(self.folder)) as run:
            run.step(), run.step()
            weights, path = run.weights(), run.save_checkpoint()
            run.step()
        checkpoint = trireme.Checkpoint(path)
        self.assertEqual((checkpoint.state["step"], checkpoint.state["tokens"]), (2, 2 * 4 * SEQ_LEN))
        self.assertEqual(checkpoint.config["model.layers"], "2")
        for name, values in weights.items():
            self.assertEqual(checkpoint.tensors[name], ("f32", values.shape))
            np.testing.assert_array_equal(checkpoint.read(name), values, name)
            self.assertIn("optimizer.first_moment." + name, checkpoint.tensors)
        again = small_run(self.folder)
        again["run"]["resume"] = "must"
        with trireme.Run(again) as run:
            self.assertEqual(run.steps_done, 2)
            losses = [step.loss for step in run]
        self.assertEqual(losses, whole[2:])
        metrics = trireme.read_metrics(self.folder / "run")
        np.testing.assert_array_equal(metrics["step"], np.arange(STEPS + 1))
        self.assertEqual(metrics["loss"][1:].tolist(), whole)
        parts = [name for name in metrics if name.startswith("breakdown.") and name not in ("breakdown.steps", "breakdown.step_ms")]
        np.testing.assert_allclose(sum(metrics[name][-1] for name in parts), metrics["breakdown.step_ms"][-1], rtol=1e-6)
        self.assertEqual((metrics["loss"].dtype, metrics["tokens"].dtype), (np.float64, np.int64))
        self.assertTrue(np.isnan(metrics["loss"][0]) and metrics["val_loss"][0] > 0)
        self.assertEqual(trireme.RunFiles(self.folder / "run").checkpoints()[0].state["step"], STEPS)

    def test_a_save_that_fails_is_told_and_the_run_goes_on(self):
        limit, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        with trireme.Run(small_run(self.folder)) as run:
            run.step()
            earlier = run.save_checkpoint()
            run.step()
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))  # Python ignores the signal
            try:
                self.assert_refused(trireme.MachineError, "the checkpoint of step 2 was not saved", run.save_checkpoint, 4)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            self.assertTrue(run.is_open)
            self.assertEqual([c.path for c in trireme.RunFiles(run.directory).checkpoints()], [earlier])
            run.step()
            self.assertEqual(trireme.Checkpoint(run.save_checkpoint()).state["step"], 3)

    def test_what_is_closed_early_is_no_error_in_the_log(self):
        with trireme.Run(small_run(self.folder)) as run:
            run.step()
        log = trireme.RunFiles(self.folder / "run").log
        self.assertTrue(log.endswith(f"trireme: closed after step 1 of {STEPS}; what was saved by then stays\n"), log)
        self.assertNotIn("error", log)

    def test_former_names_of_options_are_warned_of(self):
        trireme.Run(small_run(self.folder, **{"train.steps": 1})).train()
        start = {"model.load": self.folder / "run", "run.dir": self.folder / "next"}
        words = "config: model.load is the former name of model.init-from"
        with self.assertWarnsRegex(FutureWarning, words) as warned:
            self.assertEqual(trireme.resolve(small_run(self.folder, **start), world_size=1)["model.init-from"], str(self.folder / "run"))
        self.assertEqual(warned.filename, __file__)
        with self.assertWarnsRegex(FutureWarning, words) as warned:
            trireme.Run(small_run(self.folder, **start)).close()
        self.assertEqual(warned.filename, __file__)
        with self.assertWarnsRegex(FutureWarning, words) as warned:
            trireme.Model(self.folder / "run", {"model.load": self.folder / "run"}).close()
        self.assertEqual(warned.filename, __file__)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with self.assertRaises(FutureWarning):
                trireme.Run(small_run(self.folder, **start))
            trireme.resolve(small_run(self.folder), world_size=1)

    def test_metrics_of_experts(self):
        config = small_run(self.folder, **{"train.steps": 2, "moe.experts": 4, "moe.every": 2})
        with trireme.Run(config) as run:
            run.train()
        metrics = trireme.read_metrics(self.folder / "run")
        self.assertEqual(list(metrics["experts.layer"]), [0])
        load = metrics["experts.load"]
        self.assertEqual((load.shape, metrics["experts.imbalance"].shape), ((3, 1, 4), (3, 1)))
        self.assertTrue(np.isnan(load[0]).all(), "before the first step")
        lines = lines_of(self.folder / "run")
        for step in (1, 2):
            np.testing.assert_array_equal(load[step, 0], lines[step]["experts"][0]["load"])
            self.assertAlmostEqual(metrics["experts.imbalance"][step, 0], lines[step]["experts"][0]["imbalance"])
            self.assertAlmostEqual(load[step, 0].sum(), 1, places=4)

    def test_what_is_open_at_the_end_is_closed_the_last_one_first(self):
        script = self.folder / "script.py"
        script.write_text(
            "import trireme\n"
            "from trireme._ranks import keep\n"
            "class Open:\n"
            "    def __init__(self, number):\n"
            "        self.number = number\n"
            "    def close(self):\n"
            "        print(self.number)\n"
            "trireme.rank()\n"
            "kept = [keep(Open(number)) for number in range(12)]\n"
            "del kept[5]\n"
        )
        done = run_script(script)
        self.assert_ok(done)
        self.assertEqual(done.stdout.split(), [str(number) for number in range(11, -1, -1) if number != 5])

    def test_damage_is_told(self):
        with trireme.Run(small_run(self.folder, **{"train.steps": 1})) as run:
            run.train()
        checkpoint = trireme.Checkpoint(self.folder / "run")
        self.assertEqual(checkpoint.find_damage(), [])
        for file in pathlib.Path(checkpoint.path).glob("*.safetensors"):
            content = bytearray(file.read_bytes())
            content[-1] ^= 1
            file.write_bytes(content)
        self.assertEqual(len(checkpoint.find_damage()), 1)
        damaged = 0
        for name in checkpoint.tensors:
            try:
                checkpoint.read(name)
            except trireme.UserError as error:
                self.assertEqual(error.code, 4)
                damaged += 1
        self.assertEqual(damaged, 1)
        self.assert_refused(trireme.UserError, "neither a checkpoint nor a run", lambda: trireme.Checkpoint(self.folder), 4)
        self.assert_refused(trireme.UserError, "has no config.ini", lambda: trireme.RunFiles(self.folder), 2)

    def test_bfloat16(self):
        config = small_run(self.folder, **{"train.precision": "bf16", "train.master": "none", "train.steps": 1})
        with trireme.Run(config) as run:
            run.train()
            weights = run.weights()
        checkpoint = trireme.Checkpoint(self.folder / "run")
        name = "embedding.tokens.weight"
        self.assertEqual(checkpoint.tensors[name][0], "bf16")
        bits, values = checkpoint.read(name, raw=True), checkpoint.read(name)
        self.assertEqual((bits.dtype, values.dtype, weights[name].dtype), (np.uint16, np.float32, np.float32))
        np.testing.assert_array_equal((bits.astype(np.uint32) << 16).view(np.float32), values)
        np.testing.assert_array_equal(weights[name], values)

    def test_text_is_evaluated_and_written(self):
        with trireme.Run(small_run(self.folder)) as run:
            last = run.train()
            text = (self.folder / "text.txt").read_text()
            kept = text[-(10 * SEQ_LEN + 1) :]
            trained = run.evaluate(kept)
        self.assertAlmostEqual(trained.loss, last.val_loss, places=9)
        with trireme.Model(self.folder / "run") as model:
            again = model.evaluate(kept)
            self.assertEqual(again.num_tokens, 10 * SEQ_LEN)
            self.assertAlmostEqual(again.loss, trained.loss, places=9)
            self.assertAlmostEqual(again.perplexity, np.exp(again.loss), places=9)
            one = model.evaluate(kept[: SEQ_LEN // 2])  # less than a sample
            self.assertEqual(one.num_tokens, SEQ_LEN // 2 - 1)
            parts = [model.evaluate(kept[: 2 * SEQ_LEN + 1]), model.evaluate(kept[2 * SEQ_LEN :])]
            whole = sum(p.loss * p.num_tokens for p in parts) / again.num_tokens
            self.assertAlmostEqual(whole, again.loss, places=9)
            self.assert_refused(trireme.UserError, "predicts nothing", lambda: model.evaluate("x"), 2)
            written = model.sample("The ", num_tokens=8, seed=3)
            self.assertEqual(written, model.sample("The ", num_tokens=8, seed=3))
            self.assertTrue(written.startswith("The "))
            self.assertEqual(model.sample("The ", num_tokens=0), "The ")
            # Beyond the sequence length, where the text goes on in new sequences.
            for prompt in ("The ", text[: 3 * SEQ_LEN]):
                longer = model.sample(prompt, num_tokens=5 * SEQ_LEN)
                self.assertEqual(longer, model.sample(prompt, num_tokens=5 * SEQ_LEN))
                self.assertTrue(longer.startswith(prompt))
                self.assertGreater(len(longer), len(prompt) + SEQ_LEN)  # a character has at most four bytes
            self.assert_refused(trireme.UserError, "num_tokens is -1; allowed: 0 or more", lambda: model.sample("The ", num_tokens=-1), 2)
        self.assert_refused(trireme.UserError, "model is closed", lambda: model.evaluate("text"), 2)

    def test_other_threads_run_meanwhile(self):
        with trireme.Run(small_run(self.folder, **{"train.steps": 1})) as run:
            text, times = SENTENCE * 300, []

            def evaluate():
                times.append(time.monotonic())
                run.evaluate(text)
                times.append(time.monotonic())

            worker = threading.Thread(target=evaluate)
            worker.start()
            ticks = []
            while worker.is_alive():
                ticks.append(time.monotonic())
                time.sleep(0.001)
            begin, end = times
            quarter = (end - begin) / 4
            self.assertTrue(any(begin + quarter < tick < end - quarter for tick in ticks))

    def test_interrupts_come_between_steps(self):
        script = self.folder / "script.py"
        script.write_text(
            f"import sys, trireme\n"
            f"sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})\n"
            "from common import small_run\n"
            "run = trireme.Run(small_run(sys.argv[1], **{'train.steps': 100000}))\n"
            "try:\n"
            "    for step in run:\n"
            "        if step.step == 3: print('begun', flush=True)\n"
            "except KeyboardInterrupt:\n"
            "    print(run.steps_done, run.save_checkpoint())\n"
        )
        process = subprocess.Popen([sys.executable, script, self.folder], stdout=subprocess.PIPE, text=True)
        self.assertEqual(process.stdout.readline(), "begun\n")
        process.send_signal(signal.SIGINT)
        words = process.communicate()[0].split()
        self.assertEqual(process.returncode, 0)
        self.assertGreaterEqual(int(words[0]), 3)
        self.assertEqual(trireme.Checkpoint(words[1]).state["step"], int(words[0]))

    def test_stubs_name_what_is_there(self):
        import ast

        import trireme._core as core

        package = pathlib.Path(trireme.__file__).parent
        self.assertTrue((package / "py.typed").is_file())
        stub = ast.parse((package / "_core.pyi").read_text())
        classes = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}

        def members(name):
            own = {n.name for n in classes[name].body if isinstance(n, ast.FunctionDef)}
            own |= {n.target.id for n in classes[name].body if isinstance(n, ast.AnnAssign)}
            for base in classes[name].bases:
                if getattr(base, "id", None) in classes:
                    own |= members(base.id)
            return {m for m in own if not m.startswith("__")}

        functions = {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}
        there = {name for name in vars(core) if not name.startswith("_")}
        self.assertEqual({name for name in functions | set(classes) if not name.startswith("_")}, there)
        for name in there & set(classes):
            real = {m for m in dir(getattr(core, name)) if not m.startswith("_")}
            if issubclass(getattr(core, name), Exception):
                real &= members(name)
            self.assertEqual(members(name), real, name)
        for name in trireme.__all__:
            self.assertTrue(hasattr(trireme, name), name)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]])
