"""llama.cpp as an oracle, by the package xllamacpp: how likely it finds given tokens."""
import json
import pathlib
import subprocess
import sys
import tempfile


def scores(path, tokens, first):
    """Log-probabilities of tokens[first:], each after those before it, in a process of its own (llama_cpp.greedy()). RuntimeError
    with the last of what it said."""
    with tempfile.TemporaryDirectory() as folder:
        asked = pathlib.Path(folder) / "asked.json"
        asked.write_text(json.dumps({"path": str(path), "tokens": tokens, "first": first}))
        done = subprocess.run([sys.executable, __file__, str(asked)], capture_output=True, text=True, timeout=3000)
    if done.returncode != 0 or not done.stdout.strip():
        raise RuntimeError(f"llama.cpp with {path}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def serve(path, tokens, first):
    import xllamacpp
    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.n_ctx = 512
    parameters.n_gpu_layers = 0
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = 1
    parameters.warmup = parameters.fit_params = False
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(parameters)
    found = []
    for at in range(first, len(tokens)):
        reply = server.handle_completions({"prompt": tokens[:at], "n_predict": 1, "temperature": 0, "n_probs": 1 << 20,
                                           "cache_prompt": True, "ignore_eos": False})
        if "choices" not in reply:
            sys.exit(json.dumps(reply))
        entry = reply["choices"][0]["logprobs"]["content"][0]
        of_token = [other["logprob"] for other in entry["top_logprobs"] if other["id"] == tokens[at]]
        if not of_token:
            sys.exit(f"token {tokens[at]} is not among the {len(entry['top_logprobs'])} that came back")
        found.append(of_token[0])
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    asked = json.loads(pathlib.Path(sys.argv[1]).read_text())
    serve(asked["path"], asked["tokens"], asked["first"])
