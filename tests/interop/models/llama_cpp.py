"""llama.cpp as an oracle, by the package xllamacpp: what it continues token ids with."""
import json
import math
import subprocess
import sys


def greedy(path, tokens, count, forbidden=()):
    """[(token, its log-probability)]: `count` tokens that continue each of the lists `tokens`, none of them `forbidden`, in a
    process of its own, since llama.cpp ends the process that gives it a file it cannot run. RuntimeError with the last of what
    it said. Log-probabilities are those before anything is forbidden; tokens that are no text of their own (parts of characters)
    would be left out of the answer."""
    command = [sys.executable, __file__, str(path), str(count), json.dumps(tokens), json.dumps(list(forbidden))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode != 0 or not done.stdout.strip():
        raise RuntimeError(f"llama.cpp with {path}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return [[tuple(pair) for pair in answer] for answer in json.loads(done.stdout.strip().splitlines()[-1])]


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
    answers = []
    for prompt in prompts:
        reply = server.handle_completions({"prompt": prompt, "n_predict": count, "temperature": 0, "n_probs": 1, "cache_prompt": False,
                                           "logit_bias": [[token, False] for token in forbidden]})
        if "choices" not in reply:
            sys.exit(json.dumps(reply))
        content = reply["choices"][0]["logprobs"]["content"]
        answers.append([(entry["id"], entry["logprob"]) for entry in content])
    assert all(math.isfinite(p) for answer in answers for _, p in answer)
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), json.loads(sys.argv[4]))
