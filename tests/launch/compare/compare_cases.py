#!/usr/bin/env python3
"""`trireme compare` of runs that were made, as users call it: compare_cases.py PROGRAM"""
import json
import os
import subprocess
import sys
import tempfile

TINY = ["--data.text", "text.txt", "--model.layers", "1", "--model.hidden", "16", "--model.heads", "2", "--train.seq-len",
        "16", "--train.steps", "30", "--train.micro-batch", "2", "--train.sample-tokens", "0", "--run.threads", "1",
        "--checkpoint.keep", "0"]


def call(program, *arguments, code=0):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, f"exit code {done.returncode}: {arguments}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def rewrite(source, target, change):
    """The run with another metrics.jsonl."""
    os.mkdir(target)
    with open(f"{source}/metrics.jsonl", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    with open(f"{target}/metrics.jsonl", "w", encoding="utf-8") as file:
        for record in records:
            if record["step"] > 0:
                change(record)
            file.write(json.dumps(record) + "\n")
        file.write('{"step":31,"lo')


def main():
    program = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        with open("text.txt", "w", encoding="utf-8") as file:
            for i in range(400):
                file.write(f"Line {i} of a text that a small model learns by heart, again and again.\n")
        for name, options in (("a", []), ("again", []), ("other", ["--optimizer.lr", "0.01", "--run.trace", "3:4"])):
            call(program, "train", *TINY, "--run.dir", name, *options)

        out = call(program, "compare", "a", "again")
        assert "configuration: none of" in out and "loss: equal bit for bit, 30 steps" in out, out
        assert "validation loss: equal bit for bit" in out and "A a: 30 steps, trireme " in out, out
        out = json.loads(call(program, "compare", "--json", "a", "other"))
        assert [option["key"] for option in out["options"]] == ["optimizer.lr", "run.trace"], out["options"]
        assert out["options"][0]["b"] == ["0.01"] and not out["loss"]["noise"] and out["loss"]["equal_until"] == 1, out

        def slower(record):
            record["step_ms"] = 100.0 + record["step"] % 3
            record["tok_s"] = 1000.0 / record["step_ms"]
            record.update(core_wait_ms=0.0, checkpoint_wait_ms=0.0, comm_wait_ms=0.0)
            record["loss"] += 0.5
        rewrite("a", "slow", slower)
        rewrite("a", "fast", lambda record: (slower(record), record.update(step_ms=record["step_ms"] / 1.5,
                                                                           tok_s=record["tok_s"] * 1.5,
                                                                           loss=record["loss"] - 0.5)))
        out = call(program, "compare", "fast", "slow")
        assert "speed: B is 50.0 % slower (95 %: " in out and "loss: B is 0.5000 higher" in out, out
        assert "version unknown" in out, out
        call(program, "compare", "fast", "slow", "--fail-slower", "60%", "--fail-loss", "0.6")
        out = call(program, "compare", "fast", "slow", "--fail-slower", "20%", code=5)
        assert "--fail-slower 20%: B is 50.0 % slower" in out, out
        assert "--fail-loss 0.1: loss: B is" in call(program, "compare", "fast", "slow", "--fail-loss", "0.1", code=5)
        call(program, "compare", "fast", "slow", "--html", "page.html")
        with open("page.html", encoding="utf-8") as file:
            page = file.read()
        assert "B is 50.0 % slower" in page and page.rstrip().endswith("</html>"), page[:1000]
        call(program, "compare", "slow", "fast", "--fail-slower", "0", "--fail-loss", "0")
        out = call(program, "compare", "a", "again", "a", "--", "again", "a", "again", "--json")
        assert json.loads(out)["loss"]["verdict"].startswith("equal bit for bit"), out

        for words, arguments in (("two runs are compared", ["a"]), ("two runs are compared", ["a", "again", "other"]),
                                 ("no run after --", ["a", "--"]), ("percent, as 3%", ["a", "a", "--fail-slower", "x"])):
            assert words in call(program, "compare", *arguments, code=2), words
        assert "has no metrics.jsonl" in call(program, "compare", "a", "nowhere", code=3)
        assert "usage: trireme compare" in call(program, "compare", "--help")
    print("compare")


if __name__ == "__main__":
    main()
