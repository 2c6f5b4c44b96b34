#!/usr/bin/env python3
"""How fast a GGUF file generates: this program, llama.cpp and ik_llama.cpp, one after the other in turns.

    pip install xllamacpp ik-llama-cpp-python
    python3 tests/interop/models/generation_speed.py build/trireme SmolLM2-135M-Instruct.Q4_1.gguf [--turns 5] [--threads 1 2]

A prompt of 563 tokens, then 64 tokens one by one. Medians over the turns, and ratios to each of the others of the same turn
(their median), since a machine's load comes and goes. Each program runs in a process of its own, once before it is timed.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

PROMPT, COUNT = 563, 64


def of_trireme(program, gguf, threads):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out.json"
        subprocess.run([program, "bench", "generate", gguf, "--prompt-tokens", str(PROMPT), "--decode-tokens", str(COUNT),
                        "--threads", str(threads), "--repeats", "1", "--json", out], check=True, capture_output=True)
        found = json.loads(out.read_text())
    return [found["prompt_tokens_per_second"]["median"], found["decode_tokens_per_second"]["median"], found["share_of_stream"]]


def tokens(seed):
    return [(seed * 7919 + i * 104729) % 40000 + 100 for i in range(PROMPT)]


def of_llama_cpp(gguf, threads):
    import xllamacpp
    parameters = xllamacpp.CommonParams()
    parameters.model.path = gguf
    parameters.n_ctx = 2048
    parameters.n_gpu_layers = 0
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    parameters.fit_params = False
    server = xllamacpp.Server(parameters)
    for seed in range(2):
        reply = server.handle_completions({"prompt": tokens(seed), "n_predict": COUNT + 1, "temperature": 0, "top_k": 1,
                                           "cache_prompt": False, "ignore_eos": True})
    timings = reply["timings"]
    assert timings["prompt_n"] == PROMPT, timings
    return [timings["prompt_per_second"], timings["predicted_per_second"]]


def of_ik_llama_cpp(gguf, threads):
    import ik_llama_cpp._ctypes_api as api
    from ik_llama_cpp import _internals
    context = _internals.IkContext(_internals.IkModel(gguf), n_ctx=2048, n_threads=threads, flash_attn=False)

    def decode(some, at, with_logits=True):
        batch = _internals.make_batch_range(some, pos_start=at, logits_last=with_logits)
        assert context.decode(batch) == 0
        api.llama_batch_free(batch)
        if with_logits:
            context.get_logits(-1)[0]

    for seed in range(2):
        context.kv_cache_clear()
        prompt = tokens(seed)
        begin = time.perf_counter()
        for at in range(0, PROMPT, 512):
            decode(prompt[at:at + 512], at, at + 512 >= PROMPT)
        between = time.perf_counter()
        for i in range(COUNT):
            decode([prompt[i]], PROMPT + i)
        end = time.perf_counter()
    return [PROMPT / (between - begin), COUNT / (end - between)]


def elsewhere(name, gguf, threads):
    done = subprocess.run([sys.executable, __file__, "--one", name, gguf, str(threads)], capture_output=True, text=True, timeout=600,
                          env={**os.environ, "OMP_NUM_THREADS": str(threads)})
    if done.returncode != 0:
        raise RuntimeError(f"{name}: exit {done.returncode}\n{done.stderr[-1500:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    if sys.argv[1:2] == ["--one"]:
        measure = {"llama.cpp": of_llama_cpp, "ik_llama.cpp": of_ik_llama_cpp}[sys.argv[2]]
        print(json.dumps(measure(sys.argv[3], int(sys.argv[4]))), flush=True)
        os._exit(0)  # a server's threads need no end
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("gguf")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    for threads in arguments.threads:
        rates = {"trireme": [], "llama.cpp": [], "ik_llama.cpp": []}
        for _ in range(arguments.turns):
            rates["trireme"].append(of_trireme(arguments.program, arguments.gguf, threads))
            for name in ("llama.cpp", "ik_llama.cpp"):
                rates[name].append(elsewhere(name, arguments.gguf, threads))
        print(f"{threads} thread(s), {arguments.turns} turns: tokens/s, median (least to most), and trireme's ratio")
        for part, what in enumerate((f"prompt of {PROMPT}", f"decoding {COUNT}")):
            for name, values in rates.items():
                found = [value[part] for value in values]
                ratio = statistics.median(ours[part] / theirs[part] for ours, theirs in zip(rates["trireme"], values))
                print(f"  {what:<14} {name:<13} {statistics.median(found):9.1f} ({min(found):.1f} to {max(found):.1f})   {ratio:5.2f}")
        print(f"  decoding reads {100 * statistics.median(v[2] for v in rates['trireme']):.0f} % of the memory's stream rate", flush=True)


if __name__ == "__main__":
    main()
