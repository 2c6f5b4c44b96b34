"""Damage: every flipped bit and every truncation of a file is found, and the message names file and tensor."""
import os
import random

from runs import SAVED, expect

RUN = ["--train.micro-batch", "1", "--train.global-batch", "4", "--train.steps", "6"]


def run(bench, seed, whole):
    draw = random.Random(seed)
    bench.run(1, [*RUN, "--run.dir", "run", "--train.stop-after", "4", "--checkpoint.every", "2"], SAVED)
    newest = bench.path("run", "checkpoints", "step-00000004")
    files = sorted(os.listdir(newest))
    flips, cuts = (2000, 200) if whole else (16, 4)
    for i in range(flips + cuts):
        name = draw.choice(files)
        path = os.path.join(newest, name)
        with open(path, "rb") as file:
            good = file.read()
        bad = bytearray(good)
        if i < flips:
            place = draw.randrange(len(good))
            bad[place] ^= 1 << draw.randrange(8)
        else:
            place = draw.randrange(len(good))
            del bad[place:]
        with open(path, "wb") as file:
            file.write(bad)
        printed = bench.run_command([bench.program, "checkpoint", "verify", newest], 4)
        expect(name in printed, f"{'flip' if i < flips else 'cut'} at {place} of {name}: it is not named in {printed}")
        head = int.from_bytes(good[:8], "little") + 8
        if i < flips and name.endswith(".safetensors") and place >= head:
            expect("tensor " in printed, f"flip at {place} of {name}: no tensor is named in {printed}")
        if i in (0, flips):
            bench.run(1, [*RUN, "--run.dir", "run", "--resume", "must"], 4)
        with open(path, "wb") as file:
            file.write(good)
    # Damaged ones are passed over; where none is left no run begins with drawn weights.
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
    print(f"{flips} flipped bits and {cuts} truncations were found")
