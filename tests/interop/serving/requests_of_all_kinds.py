"""Requests of all kinds, drawn from a seed, and what their answers say."""
import json
import pathlib
import random

from served import post, stream

DOCS = pathlib.Path(__file__).parents[3] / "docs"
SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12},
                                           "age": {"type": "integer", "minimum": 0, "maximum": 120},
                                           "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 3}},
          "required": ["name", "age", "tags"], "additionalProperties": False}


def words_of_the_docs():
    return " ".join(" ".join(path.read_text().split()) for path in sorted(DOCS.glob("*.md")))


class Requests:
    """drawn(): (path, body) of a request to a model of at least 2048 tokens. Beginnings are shared, of lengths up to several passes."""

    def __init__(self, seed, has_chat=True, has_schemas=True, most_tokens=24):
        self.draw, self.text = random.Random(seed), words_of_the_docs()
        self.shared = [self.piece(length) for length in (300, 900, 2500)]
        self.has_chat, self.has_schemas, self.most_tokens = has_chat, has_schemas, most_tokens

    def piece(self, length):
        start = self.draw.randrange(len(self.text) - length)
        return self.text[start:start + length]

    def prompt(self):
        kind = self.draw.random()
        if kind < 0.3:
            return self.draw.choice(self.shared) + self.piece(self.draw.randrange(4, 60))
        if kind < 0.4:
            return self.piece(self.draw.randrange(2500, 4500))
        if kind < 0.5:
            return [self.draw.randrange(100, 40000) for _ in range(self.draw.randrange(1, 50))]
        return self.piece(self.draw.randrange(4, 200))

    def drawn(self):
        body = {"max_tokens": self.draw.randrange(1, self.most_tokens + 1), "temperature": 0}
        if self.draw.random() < 0.6:
            body.update(temperature=self.draw.choice((0.5, 1.0, 1.5)), seed=self.draw.randrange(2**31))
            body.update(self.draw.choice(({}, {"top_p": 0.9}, {"top_k": 40}, {"min_p": 0.05}, {"repetition_penalty": 1.2},
                                          {"presence_penalty": 0.7, "frequency_penalty": 0.3})))
            if self.draw.random() < 0.3:
                body["n"] = self.draw.randrange(2, 4)
        if self.draw.random() < 0.2:
            body["stop"] = self.draw.choice((["."], [" the", "\n"], ", "))
        if self.draw.random() < 0.1:
            body["logit_bias"] = {str(self.draw.randrange(100, 40000)): self.draw.choice((-100, 5)) for _ in range(3)}
        if self.draw.random() < 0.1:
            body["min_tokens"] = min(4, body["max_tokens"])
        body["stream"] = self.draw.random() < 0.4
        if self.has_chat and self.draw.random() < 0.3:
            return "/v1/chat/completions", self.chat(body)
        return "/v1/completions", self.completion(body)

    def chat(self, body):
        said = [{"role": "system", "content": "You answer in few words."}] if self.draw.random() < 0.5 else []
        body["messages"] = said + [{"role": "user", "content": self.piece(self.draw.randrange(10, 120))}]
        if self.draw.random() < 0.5:
            body.update(logprobs=True, top_logprobs=self.draw.randrange(0, 6))
        if self.has_schemas and self.draw.random() < 0.4:
            body["response_format"] = self.draw.choice(
                ({"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": SCHEMA}}))
            for name in ("stop", "min_tokens", "logit_bias"):
                body.pop(name, None)
        return body

    def completion(self, body):
        body["prompt"] = self.prompt()
        if self.draw.random() < 0.5:
            body["logprobs"] = self.draw.randrange(0, 6)
            if self.draw.random() < 0.5:
                body.update(echo=True, stream=False)
        return body


def said(port, path, body):
    """What is promised to be the same each time: of each choice text, end, and log-probabilities with all their digits."""
    pieces = stream(port, path, body) if body["stream"] else [post(port, path, body)]
    choices = {}
    for piece in pieces:
        for choice in piece["choices"]:
            held = choices.setdefault(choice["index"], {"text": "", "finish": None, "scores": []})
            held["text"] += (choice.get("delta") or choice.get("message") or {"content": choice.get("text")}).get("content") or ""
            held["finish"] = choice.get("finish_reason") or held["finish"]
            held["scores"] += scores_of(choice.get("logprobs"))
    return json.dumps(choices, sort_keys=True)


def scores_of(logprobs):
    if not logprobs:
        return []
    if "content" in logprobs:
        return logprobs["content"] or []
    columns = [logprobs[name] for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset") if logprobs.get(name) is not None]
    return [list(row) for row in zip(*columns, strict=True)]
