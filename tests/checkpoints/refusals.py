"""What a run does not go on from, and what it says."""
import ctypes
import os
import time

from runs import SAVED, expect, last_step

RUN = ["--train.micro-batch", "1", "--train.global-batch", "4", "--train.steps", "6"]


class Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


def forge_proof(checkpoint):
    """Gives a manifest another proof hash, under a hash of its own that is right."""
    path = os.path.join(checkpoint, "manifest.json")
    with open(path, "rb") as file:
        body = file.read().split(b"\n", 1)[1]
    begin = body.index(b'"proof":"') + len(b'"proof":"')
    body = body[:begin] + (b"1" if body[begin:begin + 1] == b"0" else b"0") + body[begin + 1:]
    xxh3 = ctypes.CDLL("libxxhash.so.0").XXH3_128bits
    xxh3.restype, xxh3.argtypes = Hash128, [ctypes.c_char_p, ctypes.c_size_t]
    digest = xxh3(body, len(body))
    with open(path, "wb") as file:
        file.write(f'{{"xxh3":"{digest.high:016x}{digest.low:016x}",\n'.encode() + body)


def run(bench, cases):
    del cases
    resume = ["--run.dir", "run", "--resume"]
    printed = bench.run(1, [*RUN, *resume, "must"], 4)
    expect("there is no checkpoint" in printed, printed)
    printed = bench.run(1, [*RUN, *resume, "auto", "--train.stop-after", "4", "--checkpoint.every", "2"], SAVED)
    expect("at most 4 at a time" in printed, printed)
    # What is saved so far can be tried: the tokenizer lies beside it from the start.
    bench.run_command([bench.program, "generate", "run/checkpoints/step-00000002", "In the", "--max-tokens", "3"])

    # All accidental changes at once; what may change passes, and is said.
    with open(bench.path("other.txt"), "w") as text:
        text.write("Another text, in other words. " * 200)
    printed = bench.run(1, [*RUN, *resume, "auto", "--train.seed", "5", "--model.layers", "3", "--data.text", "other.txt"], 2)
    for words in ("train.seed: 1337 in the checkpoint, 5 here", "model.layers: 2 in the checkpoint, 3 here", "data: ", "--init-from"):
        expect(words in printed, f"'{words}' is not in: {printed}")
    printed = bench.run(1, [*RUN, *resume, "7"], 4)
    expect("has checkpoints of the steps 4, 2" in printed, printed)

    # Back to an earlier one: the later one is set aside.
    bench.copy("run", "back")
    printed = bench.run(1, [*RUN, "--run.dir", "back", "--resume", "2", "--optimizer.lr", "1e-3"])
    expect("was renamed to" in printed and "changed: optimizer.lr: 0.0006 in the checkpoint, 0.001 here" in printed, printed)
    expect(os.path.isdir(bench.path("back", "checkpoints", "step-00000004.aside")), "step 4 is not set aside")
    expect(os.path.isdir(bench.path("back", "checkpoints", "step-00000002")), "step 2 is")

    # Files that are whole, of a state that is not what was saved.
    bench.copy("run", "forged")
    forge_proof(bench.path("forged", "checkpoints", "step-00000004"))
    for printed in (bench.run(1, [*RUN, "--run.dir", "forged", "--resume", "must"], 4),
                    bench.run_command([bench.program, "checkpoint", "verify", "forged"], 4)):
        expect("proof hash" in printed and "step-00000004" in printed, printed)

    # Two failures behind the same checkpoint: the one before it is taken.
    bench.copy("run", "failing")
    for attempt in range(3):
        options = [*RUN, "--run.dir", "failing", "--resume", "auto"]
        if attempt < 2:
            bench.run(1, [*options, "--train.steps", "6", "--checkpoint.minutes", "0", "--optimizer.lr", "1e30"], None)
        else:
            printed = bench.run(1, options)
            expect("2 runs resumed from it" in printed and "step-00000002 after step 2" in printed, printed[-3000:])

    # Weights alone, from a checkpoint, a run and a file, and by the former name of the option.
    bench.run(1, [*RUN, *resume, "auto"])
    bench.run_command([bench.program, "checkpoint", "export", "run", "weights.safetensors"])
    losses = set()
    for name, source in (("--init-from", "run/checkpoints/step-00000006"), ("--init-from", "run"), ("--model.load", "weights.safetensors")):
        printed = bench.run(1, [*RUN, "--train.steps", "1", "--optimizer.warmup", "0", name, source, "--checkpoint.keep", "0", "--run.dir", "begun", "--train.log-every", "1"])
        losses.add([line for line in printed.splitlines() if line.startswith("step 1/1 | loss")][0].split("|")[1])
        bench.remove("begun")
    expect(len(losses) == 1, f"losses {losses}")

    # A finished run is not done again; one that goes further is.
    printed = bench.run(1, [*RUN, *resume, "auto"])
    expect("there is nothing to do" in printed, printed)
    bench.run(1, [*RUN, *resume, "auto", "--train.steps", "8"])
    expect(last_step(bench.path("run")) == 8, "the run did not go further")
    with open(bench.path("run", "config.ini")) as config:
        expect("steps = 8" in config.read(), "config.ini is not that of the last attempt")

    # Two runs in one directory.
    process = bench.start(1, [*RUN, "--train.steps", "100000000", "--run.dir", "held", "--resume", "auto"])
    while process.poll() is None and last_step(bench.path("held")) < 1:
        time.sleep(0.01)
    printed = bench.run_command(bench.command(1, [*RUN, "--run.dir", "held", "--resume", "auto"]), 2)
    expect(f"process {process.pid}" in printed, printed)
    process.terminate()
    expect(process.wait(timeout=30) == SAVED, "the first run did not save")

    # Tools.
    for action in (["ls", "run"], ["show", "run"], ["verify", "run"], ["consolidate", "run", "whole"]):
        bench.run_command([bench.program, "checkpoint", *action])
    printed = bench.run_command([bench.program, "checkpoint", "diff", "run", "whole"])
    expect("the state is the same" in printed, printed)
    bench.run_command([bench.program, "checkpoint", "diff", "run", "failing"], 4)
    print("refusals, lock and tools")
