"""Layouts drawn for a model, as options of the program. Over the models every schedule, ZeRO stage and axis is among them."""
import random

SCHEDULES = ("gpipe", "1f1b", "zb-h1")  # and interleaved, in one of each model's
# What each of a model's six layouts has in any case, with up to 8 ranks.
BEGINNINGS = ({"dp": 2, "zero": 3}, {"pp": 2}, {"cp": 2}, {"tp": 2}, {"pp": 2, "schedule": "interleaved"}, {"tp": 2, "cp": 2, "dp": 2})


def draw(seed, experts):
    choose = random.Random(seed)
    layouts = [one(choose, dict(begin), seed + i, experts) for i, begin in enumerate(BEGINNINGS)]
    return [[word for pair in layout for word in pair] for layout in layouts]


def one(choose, layout, number, experts):
    degrees = {axis: layout.get(axis, 1) for axis in ("dp", "tp", "pp", "cp")}
    while degrees["dp"] * degrees["tp"] * degrees["pp"] * degrees["cp"] < choose.choice((2, 4, 8)):
        axis = choose.choice(list(degrees))
        if degrees[axis] < (2 if axis == "pp" else 4):
            degrees[axis] *= 2
    options = [(f"--{axis}", str(n)) for axis, n in degrees.items()]
    copies = degrees["dp"] * degrees["cp"]
    zero = layout.get("zero", choose.choice((0, 1, 2, 3)) if copies > 1 else 0)
    options.append(("--zero", str(zero)))
    if degrees["tp"] > 1:
        options.append(("--parallel.sequence", choose.choice(("on", "off"))))
        options.append(("--parallel.tensor-chunks", choose.choice(("1", "2"))))
    if degrees["pp"] > 1:
        schedule = layout.get("schedule", SCHEDULES[number % len(SCHEDULES)])
        options.append(("--parallel.schedule", schedule))
        if schedule == "interleaved":
            options.append(("--parallel.virtual-stages", "2"))
    if experts and copies > 1:
        options.append(("--ep", str(min(copies, choose.choice((2, 4))))))
    options.append(("--train.recompute", choose.choice(("none", "selective", "full"))))
    options += [("--train.micro-batch", "1"), ("--train.global-batch", str(4 * degrees["dp"])), ("--train.seq-len", "16")]
    return options
