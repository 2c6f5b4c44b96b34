#!/usr/bin/env python3
"""Grammars of drawn JSON schemas beside python's jsonschema (pip install jsonschema).

Usage: tests/interop/serving/schemas.py GRAMMAR_LINES [NUM [SEED]]

GRAMMAR_LINES is the program build/tests/grammar_lines. Of each of NUM (500) schemas the texts that are drawn from its grammar must be
valid, and of drawn values those that it accepts must be; how many valid values it leaves out is printed (members in another order or
beside "properties", integers spelled as 1.0).
"""
import json
import random
import subprocess
import sys

import jsonschema

NAMES = ["a", "b", "ab", 'q"\n']


def draw_schema(draw, depth):
    """A schema of the keywords that are supported."""
    kinds = ["integer", "number", "string", "enum", "const", "type", "pattern"]
    if depth > 0:
        kinds += ["object", "array", "anyOf", "ref", "prefix", "object"]
    kind = draw.choice(kinds)
    if kind in ("integer", "number"):
        schema = {"type": kind}
        for keyword, low in (("minimum", -20), ("exclusiveMinimum", -20), ("maximum", 1), ("exclusiveMaximum", 2)):
            if draw.random() < 0.3:
                schema[keyword] = low + draw.randrange(20)
        return schema
    if kind == "string":
        return {"type": "string", "minLength": draw.randrange(3), "maxLength": draw.randrange(3, 6)}
    if kind == "enum":
        return {"enum": draw.sample(["a", "ab", "\u00e9\n", 1, 12, None, True, [1], {"a": "b"}], 3)}
    if kind == "const":
        return {"const": draw.choice(["a", 5, {"a": [1, "b"]}])}
    if kind == "type":
        return {"type": draw.sample(["null", "boolean", "integer", "string"], 2)}
    if kind == "pattern":
        return {"type": "string", "pattern": draw.choice(["^a+b?$", "b", "^[^a]*$", "(ab|c){2}", "^\\d{2,3}$"])}
    if kind == "object":
        names = draw.sample(NAMES, draw.randrange(1, 4))
        schema = {"type": "object", "properties": {name: draw_schema(draw, depth - 1) for name in names}}
        schema["required"] = draw.sample(names, draw.randrange(len(names) + 1))
        if draw.random() < 0.5:
            schema["additionalProperties"] = draw.choice([False, True, {"type": "integer"}])
        return schema
    if kind == "array":
        return {"type": "array", "items": draw_schema(draw, depth - 1), "minItems": draw.randrange(2), "maxItems": 3}
    if kind == "prefix":
        return {"type": "array", "prefixItems": [draw_schema(draw, depth - 1) for _ in range(2)],
                "items": draw.choice([False, True, {"type": "null"}])}
    if kind == "ref":
        return {"$ref": "#/$defs/x"}
    return {"anyOf": [draw_schema(draw, depth - 1) for _ in range(2)]}


def draw_value(draw, depth):
    kind = draw.randrange(8 if depth else 6)
    if kind == 6:
        return [draw_value(draw, depth - 1) for _ in range(draw.randrange(4))]
    if kind == 7:
        return {name: draw_value(draw, depth - 1) for name in draw.sample(NAMES, draw.randrange(4))}
    return [None, True, draw.randrange(-25, 25), draw.randrange(-99, 99) / 8, draw.choice(NAMES), "b" * draw.randrange(7)][kind]


def compare(validator, values, reply, counts):
    for text in reply["drawn"]:
        assert validator.is_valid(json.loads(text)), (validator.schema, text)
        counts["drawn"] += 1
    for value, accepted in zip(values, reply["accepted"]):
        valid = validator.is_valid(value)
        assert valid or not accepted, (validator.schema, value)
        counts["accepted"] += accepted
        counts["valid"] += valid


def main():
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    draw = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    counts = dict.fromkeys(("schemas", "refused", "drawn", "accepted", "valid", "circles"), 0)
    with subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        for _ in range(number):
            schema = draw_schema(draw, 3)
            schema["$defs"] = {"x": draw_schema(draw, 2)}
            values = [draw_value(draw, 3) for _ in range(60)]
            texts = [json.dumps(value, ensure_ascii=False) for value in values]
            program.stdin.write(json.dumps({"schema": schema, "texts": texts, "draws": 4}) + "\n")
            program.stdin.flush()
            reply = json.loads(program.stdout.readline())
            counts["schemas"] += 1
            if "error" in reply:
                counts["refused"] += 1
                assert "no value" in reply["error"] or "circle" in reply["error"], (schema, reply)
                continue
            validator = jsonschema.Draft202012Validator(schema)
            try:
                compare(validator, values, reply, counts)
            except RecursionError:  # "anyOf" with itself, which jsonschema follows without end
                counts["circles"] += 1
        program.stdin.close()
    print(counts)


if __name__ == "__main__":
    main()
