"""llama.cpp as an oracle, by the package xllamacpp: what it continues token ids with."""
import json
import math
import pathlib
import subprocess
import sys
import tempfile

LIKELIEST = 20  # tokens whose log-probabilities are asked for


def greedy(path, tokens, count, forbidden=()):
    """[(token, its log-probability)]: `count` tokens that continue each of the lists `tokens`, none of them `forbidden`, in a
    process of its own, since llama.cpp ends the process that gives it a file it cannot run. RuntimeError with the last of what
    it said. Log-probabilities are those before anything is forbidden; tokens that are no text of their own (parts of characters)
    would be left out of the answer."""
    return [[(token, p) for token, p, _ in answer] for answer in greedy_with_margins(path, tokens, count, forbidden)]


def greedy_with_margins(path, tokens, count, forbidden=()):
    """[(token, its log-probability, by how much that exceeds the next token's that is not forbidden)], as greedy(); the margin is
    a lower bound where all the likeliest are forbidden."""
    with tempfile.TemporaryDirectory() as folder:
        asked = pathlib.Path(folder) / "asked.json"
        asked.write_text(json.dumps({"path": str(path), "count": count, "prompts": tokens, "forbidden": list(forbidden)}))
        done = subprocess.run([sys.executable, __file__, str(asked)], capture_output=True, text=True, timeout=1800)
    if done.returncode != 0 or not done.stdout.strip():
        raise RuntimeError(f"llama.cpp with {path}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return [[tuple(entry) for entry in answer] for answer in json.loads(done.stdout.strip().splitlines()[-1])]


def serve(path, count, prompts, forbidden):
    import xllamacpp
    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.n_ctx = 512
    parameters.n_gpu_layers = 0
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = 1
    parameters.warmup = parameters.fit_params = False
    # Everything that rounds more than fp32 does is off.
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(parameters)
    answers, never = [], set(forbidden)
    for prompt in prompts:
        reply = server.handle_completions({"prompt": prompt, "n_predict": count, "temperature": 0, "n_probs": LIKELIEST,
                                           "cache_prompt": False, "ignore_eos": True,
                                           "logit_bias": [[token, False] for token in forbidden]})
        if "choices" not in reply:
            sys.exit(json.dumps(reply))
        answers.append([])
        for entry in reply["choices"][0]["logprobs"]["content"]:
            others = [other for other in entry["top_logprobs"] if other["id"] != entry["id"]]
            allowed = [other["logprob"] for other in others if other["id"] not in never] or [others[-1]["logprob"]]
            answers[-1].append((entry["id"], entry["logprob"], entry["logprob"] - max(allowed)))
    assert all(math.isfinite(p) for answer in answers for _, p, _ in answer)
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    asked = json.loads(pathlib.Path(sys.argv[1]).read_text())
    serve(asked["path"], asked["count"], asked["prompts"], asked["forbidden"])
