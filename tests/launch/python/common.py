"""What the tests of the module have in common: a small run, the program, and a folder for each test."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import trireme

PROGRAM = os.environ["TRIREME_PROGRAM"]
MPIRUN = [os.environ["TRIREME_MPIRUN"], "--oversubscribe", "-np"]
SENTENCE = "The quick brown fox jumps over the lazy dog, and the dog of the year sleeps on. "
SEQ_LEN, STEPS = 32, 6


def small_run(folder, **more):
    """Nested and with dots: two ranks fit, in each layout of two."""
    text = pathlib.Path(folder) / "text.txt"
    if not text.exists():
        # The part that is kept for validation is whole samples and one token.
        text.write_text((SENTENCE * 80)[: 10 * (10 * SEQ_LEN + 1)])
    config = {
        "data": {"text": text},
        "model": {"layers": 2, "hidden": 32, "heads": 2, "family": "llama"},
        "train": {"steps": STEPS, "seq-len": SEQ_LEN, "micro-batch": 2, "global-batch": 4, "sample-tokens": 0},
        "optimizer.lr": 3e-3,
        "run": {"dir": pathlib.Path(folder) / "run", "threads": 1, "device": "cpu"},
    }
    for key, value in more.items():
        section, _, name = key.partition(".")
        if name in config.get(section, {}):
            config[section][name] = value
        else:
            config[key] = value
    return config


def arguments(config):
    from trireme._config import arguments

    return arguments(config)


def run_program(*words, ranks=1):
    start = MPIRUN + [str(ranks)] if ranks > 1 else []
    done = subprocess.run(start + [PROGRAM, *words], capture_output=True, text=True, check=False)
    return done


def run_script(script, *words, ranks=1):
    """Another interpreter, or several under mpirun, that find the module as this one does."""
    start = MPIRUN + [str(ranks)] if ranks > 1 else []
    command = start + [sys.executable, str(script), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def lines_of(path):
    return [json.loads(line) for line in (pathlib.Path(path) / "metrics.jsonl").read_text().splitlines()]


class FolderTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def assert_ok(self, done):
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def assert_refused(self, kind, words, call, code):
        with self.assertRaises(kind) as raised:
            call()
        self.assertIn(words, str(raised.exception))
        self.assertEqual(raised.exception.code, code)
        self.assertIsInstance(raised.exception, trireme.Error)
