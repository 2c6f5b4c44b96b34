#!/usr/bin/env python3
"""Chains of `trireme compress` that cut, share, prune and train back, as users call them.

usage: chain_cases.py PROGRAM MPIRUN chain|gates|interrupted|divided
"""
import glob
import math
import os
import signal
import subprocess
import time

from compress_cases import SHORT, Cases, expect, main

CHAIN = """[calibration]
samples = 4
[step cut]
method = cut
neurons = 50%
[step back]
method = distill
steps = 12
checkpoint.every = 2
[step sparse]
method = sparsegpt
sparsity = 50%
[step again]
method = train
steps = 6
checkpoint.every = 2
[step int8]
method = gptq
weights = int8
group = 32
embedding = int8:32
"""
# With it no program of others reads the result.
SHARED = CHAIN.replace("[step back]", "[step share]\nmethod = share\nlayers = 1\n[step back]")


class Chains(Cases):
    def chain_into(self, out, *arguments, text=CHAIN, **more):
        return self.call("compress", "run", "--out", out, "--recipe", self.write("chain.ini", text), *SHORT[2:], *arguments, **more)

    # Parts

    def chain(self):
        said = self.chain_into("small", "--export", "gguf:q8_0").stdout
        expect("64 of 128 neurons stay" in said and "% of the weights of layers are zeros" in said, said)
        report = self.report("small")
        steps = {step["figures"]["name"]: step for step in report["steps"]}
        cut, back, sparse, again, int8 = (steps[name]["figures"] for name in ("cut", "back", "sparse", "again", "int8"))
        expect(len({figures["fp32_bytes"] for figures in (report["base"], cut, int8)}) == 1, report["base"])
        expect(cut["bytes"] < 0.9 * report["base"]["fp32_bytes"] and cut["bytes"] == back["bytes"], (cut, back))
        expect(back["perplexity"] < cut["perplexity"] and again["perplexity"] < sparse["perplexity"], (cut, back, sparse, again))
        for figures in (sparse, again, int8):
            expect(math.isclose(figures["zeros"], 0.5, abs_tol=0.02), figures)
        expect(cut["zeros"] == 0 and len(steps["cut"]["cut"]["layers"][0]["neurons"][0]) == 64, steps["cut"]["cut"])
        trained = [at for at in steps["back"]["training"] if "loss" in at]
        expect(len(trained) == 12 and trained[-1]["loss"] < trained[0]["loss"], steps["back"]["training"])
        page = open("small/report.html", encoding="utf-8").read()
        expect(all(word in page for word in ("neurons that stay", "loss, nats a token: back", "zeros of each matrix")), page[:2000])
        config = open("small/config.ini", encoding="utf-8").read()
        expect("ffn = 64\n" in config and "[distill]" not in config and "[prune]" not in config, config)
        for model in ("small", "small/model-q8_0.gguf"):
            text = self.call("generate", model, "Line 3 of", "--max-tokens", 20, "--threads", 1).stdout
            expect(len(text) == 21, text)
        self.structured()
        self.shared()

    def structured(self):
        """Heads and layers by number, and one step alone."""
        self.compress("less", "--method", "cut", "--heads", 2, "--neurons", "25%", "--gate.size", "9/10")
        config = open("less/config.ini", encoding="utf-8").read()
        expect("heads = 2\n" in config and "ffn = 96\n" in config, config)
        self.compress("pattern", "--method", "wanda", "--pattern", "2:4")
        expect(self.report("pattern")["steps"][0]["figures"]["zeros"] == 0.5, self.report("pattern")["steps"][0]["figures"])

    def shared(self):
        """Layers that come to share the weights that measure best."""
        self.compress("shared", "--method", "share", "--layers", 1)
        report, config = self.report("shared"), open("shared/config.ini", encoding="utf-8").read()
        step = report["steps"][0]
        [folded] = step["shared"]["sets"]
        best = min(folded["trials"], key=lambda trial: trial["loss"])
        expect(folded["layers"] == [0, 1] and len(folded["trials"]) == 3 and folded["weights_of"] == best["weights_of"], folded)
        expect("share = 1\n" in config and step["figures"]["bytes"] < 0.8 * report["base"]["fp32_bytes"], (config, step["figures"]))
        expect("losses of what was tried" in open("shared/report.html", encoding="utf-8").read(), "report.html")

    def gates(self):
        """A limit on a step on the way ends the chain there; those of the command line are the result's."""
        text = CHAIN.replace("steps = 12\n", "steps = 2\ngate.kl = 0\n")
        done = self.chain_into("gated", text=text, code=8)
        expect("step back does not pass its gate: --gate.kl 0" in done.stderr, done.stderr)
        expect(not glob.glob("gated*"), os.listdir("."))
        self.refuse("neurons 1%: of 128, in multiples of 16, none would go", "--method", "cut", "--neurons", "1%")
        self.refuse("layers 3: the model has 2", "--method", "cut", "--layers", 3)
        self.refuse("nothing is left to prune", "--method", "wanda", "--skip", "layers.*")
        wrong = self.write("wrong.ini", CHAIN.replace("checkpoint.every = 2\n[step sparse]", "optimizer.lrr = 1\n[step sparse]"))
        self.refuse("step back: optimizer.lrr is not an option of trireme train", "--recipe", wrong)
        self.refuse("none would be folded; give a number from 1 to 1", "--method", "share", "--layers", 2)
        self.refuse("model.share 1, not 0", "--method", "share", "--layers", 1, "--export", "gguf:q8_0")
        twice = self.write("twice.ini", CHAIN + "[step late]\nmethod = cut\nneurons = 50%\n")
        self.refuse("[step late] cuts units behind [step sparse]", "--recipe", twice, code=3)

    def interrupted(self):
        """Killed in the middle of each step, it goes on to the same bits."""
        self.chain_into("whole", text=SHARED)
        places = ("step-1/units.json", "step-2/sets.json", "train-3/checkpoints/step-*", "step-4/block-00000.safetensors",
                  "train-5/checkpoints/step-*", "step-6/block-00000.safetensors")
        for number, place in enumerate(places):
            how = signal.SIGTERM if number % 2 else signal.SIGKILL
            with subprocess.Popen(self.command("compress", "run", "--out", "killed", "--recipe", "chain.ini", *SHORT[2:]),
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
                until = time.time() + 60
                while time.time() < until and running.poll() is None and not glob.glob(f"killed.partial/{place}"):
                    time.sleep(0.002)
                running.send_signal(how)
                said = running.communicate(timeout=60)
            if running.returncode == 0:  # it was done before the signal came
                break
            expect(running.returncode in (75, -how), f"{place}: {running.returncode}: {said}")
            expect(not os.path.exists("killed") and os.path.isdir("killed.partial"), os.listdir("."))
        if not os.path.exists("killed"):
            said = self.chain_into("killed", text=SHARED).stdout
            expect("going on: " in said, said)
        self.expect_equal_weights("killed", "whole")

    def divided(self):
        """Two ranks make what one makes."""
        text = SHARED.replace("steps = 12", "steps = 3").replace("steps = 6", "steps = 3").replace("= int8\n", "= int8\nactivations = exact\n")
        self.chain_into("alone", text=text)
        self.chain_into("tp", "--tp", 2, text=text, ranks=2)
        for one, two in zip(self.report("alone")["steps"], self.report("tp")["steps"]):
            ours, theirs = one["figures"], two["figures"]
            expect(math.isclose(ours["perplexity"], theirs["perplexity"], rel_tol=5e-3), (ours, theirs))
            expect(math.isclose(ours["bytes"], theirs["bytes"], rel_tol=0.01), (ours, theirs))


if __name__ == "__main__":
    main(Chains)
