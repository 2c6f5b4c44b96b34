#!/usr/bin/env python3
"""Writes test sources one below the other into one file, which compiles in less time than they do alone.

Usage: put_together.py OUT SOURCE...

Each source's unnamed namespace gets a name there, since helpers of two sources may have the same one, and `test::` is said
whole, which a neighbour's trireme::launch::test would hide. With --fits in place of OUT it prints those that can stand beside
others: a `using namespace` outside of the unnamed one, or a macro, would reach the sources behind."""

import re
import sys
from pathlib import Path

UNNAMED = re.compile(r"^namespace \{$", re.MULTILINE)
SUPPORT = re.compile(r"(?<![\w:])test::")
LEAK = re.compile(r"^(using namespace|#define) ", re.MULTILINE)


def fits(text):
    """Whether a source can stand beside others: all of its own is in one unnamed namespace up to the end."""
    return len(UNNAMED.findall(text)) == 1 and not LEAK.search(text) and re.search(
        r"^\}  // namespace\n+(\}  // namespace [\w:]+\n*)+\Z", text, re.MULTILINE) is not None


def together(sources):
    parts = []
    for number, source in enumerate(sources):
        text = Path(source).read_text(encoding="utf-8")
        name = f"unnamed_{number}_{re.sub(r'[^a-zA-Z0-9]', '_', Path(source).stem)}"
        if "namespace trireme::launch {" in text:
            text = SUPPORT.sub("trireme::test::", text)
        parts.append(f'#line 1 "{source}"\n' + UNNAMED.sub(f"namespace {name} {{", text))
    return "\n".join(parts)


def main():
    if sys.argv[1] == "--fits":
        print(";".join(s for s in sys.argv[2:] if fits(Path(s).read_text(encoding="utf-8"))), end="")
        return
    text = together(sys.argv[2:])
    out = Path(sys.argv[1])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
