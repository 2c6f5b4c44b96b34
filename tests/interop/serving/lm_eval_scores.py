"""lm-evaluation-harness with two tasks in local files: by its `local-completions`, from a server, and by its `hf` model."""
import json
import pathlib

import lm_eval
import lm_eval.tasks
import torch
import transformers

from served import expect

BOUND = 1e-4  # of a token's log-likelihood; transformers computes in fp32
FACTS = (
    ("The capital of France is", ("Paris", "London", "a river", "Madrid")),
    ("Water is made of hydrogen and", ("oxygen", "iron", "helium", "wood")),
    ("The opposite of hot is", ("cold", "warm", "fire", "summer")),
    ("Two plus two equals", ("four", "five", "nine", "a number of people")),
    ("A week has", ("seven days", "two days", "twelve months", "no end")),
    ("The sun rises in the", ("east", "west", "kitchen", "evening")),
    ("Bees make", ("honey", "milk", "bread", "stones")),
    ("The largest planet is", ("Jupiter", "Mars", "Earth", "the Moon")),
    ("Shakespeare wrote", ("Hamlet", "Faust", "the Iliad", "Don Quixote")),
    ("Ice is frozen", ("water", "air", "sand", "sugar and salt")),
)
TASKS = {"local_choices": {"output_type": "multiple_choice", "doc_to_text": "{{question}}", "doc_to_target": "label",
                           "doc_to_choice": "{{choices}}", "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}]},
         "local_texts": {"output_type": "generate_until", "doc_to_text": "{{question}}", "doc_to_target": "{{choices[0]}}",
                         "generation_kwargs": {"until": ["\n\n", "?"], "max_gen_toks": 24, "do_sample": False, "temperature": 0},
                         "metric_list": [{"metric": "exact_match"}]}}


def write_tasks(folder):
    tasks = folder / "tasks"
    tasks.mkdir(exist_ok=True)
    with open(tasks / "facts.jsonl", "w", encoding="utf-8") as file:
        for number, (question, choices) in enumerate(FACTS):
            turned = number % len(choices)
            label = (len(choices) - turned) % len(choices)
            file.write(json.dumps({"question": question, "choices": [*choices[turned:], *choices[:turned]], "label": label}) + "\n")
    for name, task in TASKS.items():
        # YAML reads JSON
        (tasks / f"{name}.yaml").write_text(json.dumps({"task": name, "dataset_path": "json", "test_split": "test",
                                                        "dataset_kwargs": {"data_files": {"test": str(tasks / "facts.jsonl")}}, **task}))
    return lm_eval.tasks.TaskManager(include_path=str(tasks), include_defaults=False)


def evaluate(model, manager, **arguments):
    """{task: [(what is asked, the answers)]}, and {task: metrics}"""
    found = lm_eval.simple_evaluate(model=model, tasks=list(TASKS), task_manager=manager, log_samples=True, bootstrap_iters=0,
                                    verbosity="ERROR", **arguments)
    answers = {name: [sample["resps"] for sample in sorted(samples, key=lambda sample: sample["doc_id"])]
               for name, samples in found["samples"].items()}
    metrics = {name: {key: float(value) for key, value in values.items() if key.endswith(",none") and "stderr" not in key}
               for name, values in found["results"].items()}
    return answers, metrics


def by_transformers(gguf, manager):
    path = pathlib.Path(gguf)
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32,
                                                              attn_implementation="eager")
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    from lm_eval.models.huggingface import HFLM
    return evaluate(HFLM(pretrained=model.eval(), tokenizer=tokenizer, device="cpu", batch_size=1), manager)


def compare(gguf, port, folder, tokenizer):
    manager = write_tasks(folder)
    expected, their_metrics = by_transformers(gguf, manager)
    said = []
    for how, more in (("tokenizer in a local folder", {"tokenizer": str(tokenizer), "tokenizer_backend": "huggingface", "batch_size": 4}),
                      ("tokenizer of the server", {"tokenizer_backend": "remote", "num_concurrent": 4, "batch_size": 1})):
        found, our_metrics = evaluate("local-completions", manager, model_args={
            "model": json_model(port), "base_url": f"http://127.0.0.1:{port}/v1/completions", "max_retries": 1, **more})
        ours = [value for sample in found["local_choices"] for value in sample]
        theirs = [value for sample in expected["local_choices"] for value in sample]
        apart = max(abs(float(a[0][0]) - float(b[0][0])) for a, b in zip(ours, theirs, strict=True))
        greedy = sum(str(a[0][1]) == str(b[0][1]) for a, b in zip(ours, theirs))
        texts = sum(a[0][0] == b[0][0] for a, b in zip(found["local_texts"], expected["local_texts"], strict=True))
        said.append(f"{how}: {len(ours)} log-likelihoods to {apart:.1e}, {greedy} of {len(ours)} alike greedy, {texts} of {len(FACTS)} "
                    f"texts equal, {our_metrics['local_choices']}")
        expect(apart <= 4 * BOUND and greedy == len(ours) and texts == len(FACTS) and our_metrics == their_metrics,
               f"{said[-1]}; transformers: {their_metrics}; {found['local_texts']} {expected['local_texts']}")
    return "; ".join(said)


def json_model(port):
    from served import get
    return json.loads(get(port, "/v1/models")[1])["data"][0]["id"]
