"""Damage: every flipped bit and every truncation of a file is found, and the message names file and tensor."""
import os

from runs import SAVED, expect

RUN = ["--train.micro-batch", "1", "--train.global-batch", "4", "--train.steps", "6"]


def damage(good, draw, is_flip):
    """The bytes with one bit flipped or their end cut off, and the place."""
    place = draw.randrange(len(good))
    if not is_flip:
        return good[:place], place
    bad = bytearray(good)
    bad[place] ^= 1 << draw.randrange(8)
    return bytes(bad), place


def try_damage(bench, draw, newest, is_flip, loads):
    name = draw.choice(sorted(os.listdir(newest)))
    path = os.path.join(newest, name)
    with open(path, "rb") as file:
        good = file.read()
    bad, place = damage(good, draw, is_flip)
    with open(path, "wb") as file:
        file.write(bad)
    printed = bench.run_command([bench.program, "checkpoint", "verify", newest], 4)
    expect(name in printed, f"{'flip' if is_flip else 'cut'} at {place} of {name}: it is not named in {printed}")
    head = int.from_bytes(good[:8], "little") + 8
    if is_flip and name.endswith(".safetensors") and place >= head:
        expect("tensor " in printed, f"flip at {place} of {name}: no tensor is named in {printed}")
    if loads:
        bench.run(1, [*RUN, "--run.dir", "run", "--resume", "must"], 4)
    with open(path, "wb") as file:
        file.write(good)
    return name


def expect_fallback(bench):
    """Damaged ones are passed over; where none is left no run begins with drawn weights."""
    for step, words in ((4, "step-00000002"), (2, "none of the checkpoints")):
        path = bench.path("run", "checkpoints", f"step-{step:08d}", "rank-00000.safetensors")
        with open(path, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last[0] ^ 1]))
        bench.copy("run", "damaged")
        printed = bench.run(1, [*RUN, "--run.dir", "damaged", "--resume", "auto"], 0 if step == 4 else 4)
        expect(words in printed and "is skipped" in printed, printed[-2000:])


def run(bench, cases):
    # Of two pipeline stages, so that there are two files of slices beside the manifest.
    stages = ["--pp", "2", "--train.stop-after", "4", "--checkpoint.every", "2"]
    bench.run(2, [*RUN, "--run.dir", "run", *stages], SAVED)
    newest = bench.path("run", "checkpoints", "step-00000004")
    flips, cuts = [1 + x // cases.count for x in (1999, 199)] if cases.whole else (16, 4)
    if cases.whole:
        cases.draw.seed(cases.draw.random() + cases.number)
    names = [try_damage(bench, cases.draw, newest, i < flips, i in (0, flips)) for i in range(flips + cuts)]
    expect_fallback(bench)
    print(f"{flips} flipped bits and {cuts} truncations were found, in {len(set(names))} files")
