#!/usr/bin/env python3
"""Compares pre-tokenization with Hugging Face's `tokenizers` (its engine is Oniguruma): patterns of published models,
one of each construct, and drawn ones. A pattern gives the same ids in both, or trireme refuses it; what both refuse
is no difference.

    pip install tokenizers && python3 tests/interop/compare_tokenizers.py build/trireme [DRAWN [SEED]]
"""

import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

# Each must load and give the same ids.
PUBLISHED = {
    "GPT-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "Llama 3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+",
    "Qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+",
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$"
    r"|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "Kimi K2": r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "DeepSeek V3": r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "DeepSeek V3, Han": "[一-龥\u3040-ゟ゠-ヿ]+",
    "BLOOM": " ?[^(\\s|[.,!?…。，、।۔،])]+",
}

CONSTRUCTS = [
    r"[\p{L}&&[^\p{Han}]]+", r"[a-z&&[^aeiou]&&[b-x]]", r"[^a-z&&[aeiou]]+", r"[[a-c][x-z]]+", r"[^[a-c]\s]+", r"[]a]+",
    r"[^]a]+", r"[a-]+", r"[-a]+", r"[\w-.]+", r"[a\-c]+", r"^a", r"a$", r"^", r"$", r"\Aa", r"a\z", r"a\Z", r"b\Z", r"\h+",
    r"\H+", r"\R", r"\N+", r"\O{3}", r"\X", r"\v", r"\x41", r"\x{4e16}", r"A", r"\u4e16", r"\xe4", r"\w+", r"\W+",
    r"\d+", r"\bA", r"o\b", r"\B", r"\b", r"[[:alpha:]]+", r"[[:^alpha:]]+", r"[[:punct:]]+", r"[[:word:]]+",
    r"[[:xdigit:]]+", r"[[:upper:]]", r"[[:lower:]]", r"[[:alnum:]]", r"[[:cntrl:]]", r"[[:space:]]+", r"[[:foo:]]+",
    r"\p{Alpha}+", r"\p{^L}+", r"\P{^L}+", r"\p{Letter}", r"\p{uppercase letter}", r"\p{Greek}+", r"\p{Hiragana}+",
    r"\p{Common}+", r"\p{Inherited}+", r"\p{Alphabetic}+", r"\p{Any}", r"\p{ASCII}", r"\p{Cn}+", r"\p{L&}", r"\pL",
    r"\p{Katakana}+", r"\p{Arabic}+", r"\p{Latin}+", r"\p{Punct}+", r"\p{Graph}+", r"\p{Emoji}", r"a{2}?", r"a{1,2}+", r"a{1,3}?",
    r"a{,2}", r"a{2,}+", r"a{2}+", r"a{2}{2}", r"a{,}", r"a{x}", r"a{3,1}", r"a**", r"a+?", r"a++a", r"a?+a", r"a*+a",
    r"x*", r"a|", r"(?=[A-Z])", r"(?<=[a-z])(?=[A-Z])", r"(?<!a)b", r"(?<=a|bc)d", r"(?>a+)a", r"(?i)AB", r"a(?i)b|C",
    r"(?i:ss)", r"(?i:st)", r"(?i:k)", r"(?i:s)", r"(?i)[a-z]+", r"(?i)[^a]+", r"(?i)\p{Lu}+", r"(?i)\w+", r"(?m).+",
    r".+", r"(?m:.)+", r"(?x)a b", r"(?s).", r"(?-i:a)", r"(a)\1", r"(?<n>a)\k<n>", r"(?<n>a)b", r"(?~ab)", r"(?(1)a|b)",
    r"(?#no)a", r"a(?#no)+", r"(*FAIL)", r"a)", r"(a", r"[a", r"*a", r"(?=a)*", r"^*", r"\Qa\E", r"\G", r"\Ka", r"a\Kb",
    r"\y", r"\1", r"\0", r"\101", r"\cA", r"\C-a", r"\M-a", r"[\d-z]", r"[a-c-e]", r"[--a]", r"[z-a]", r"[a-\d]", r"[a&&]",
    r"[&&a]", r"[a&b]+", r"[a[:b]", r"[\b]", r"\e", r"\a", r"a]b", r"a}b", r"a{b", r" ?[^\s\p{L}&&[^a]]+", r"[^\S\n]+",
    r"[\D\s]+", r"[^\W_]+", r"[\p{^L}\d]+", r"[a-z--[aeiou]]", r"\s", r"\S+", r"[\s\d]+", r"\p{M}+", r"[[[a]b]c]+", r"(?:|a)+b",
]

TEXTS = [
    "Hello wOrld's aaa aaaa ab abc", "a\nab\n\nb\n", "世界abcカタひら, ー々。", "x\u00a0y\u2028z\u0085\r\n\tA", "A&B [C] x-y_z ]a)(",
    "ßsſtﬁ ss st fi K\u212a", "1234 ½²Ⅷ ٣", "e\u0301o\u200d👍🏽 🇩🇪", "a]b}c{d 'S 'LL", "", "aab^a$.b|c", "\x01\x7f\x08ÄÖ مرحبا\u0640",
]  # fmt: skip


def alphabet():
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelled = {b: chr(b) for b in keep}
    for b in range(256):
        spelled.setdefault(b, chr(256 + len(spelled) - len(keep)))
    return spelled


def tokenizer_of(pattern):
    """Every stretch of the texts is a token, so that ids show where words end."""
    spelled = alphabet()
    vocab, merges = {spelled[b]: b for b in range(256)}, []
    for text in TEXTS:
        word = [spelled[b] for b in text.encode()]
        for begin in range(len(word)):
            whole = word[begin]
            for letter in word[begin + 1 : begin + 12]:
                if whole + letter not in vocab:
                    vocab[whole + letter] = len(vocab)
                    merges.append([whole, letter])
                whole += letter
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    bytes_step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    mark = {"id": len(vocab), "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True}  # fmt: skip
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [mark], "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, bytes_step]}, "post_processor": None, "decoder": None,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocab, "merges": merges},
    }  # fmt: skip


def theirs(config):
    try:
        tokenizer = Tokenizer.from_str(json.dumps(config))
        ids = []
        for text in TEXTS:
            if text:
                ids += ([config["added_tokens"][0]["id"]] if ids else []) + tokenizer.encode(text).ids
        return ids
    except Exception as error:  # the library has no class of its own for this
        return f"refused: {error}"


def ours(program, config, folder):
    (folder / "t.json").write_text(json.dumps(config))
    (folder / "d.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    done = subprocess.run([program, "data", "build", folder / "d.jsonl", "--out", folder / "o", "--tokenizer", folder / "t.json",
                           "--valid-fraction", "0", "--threads", "1"], capture_output=True, text=True)  # fmt: skip
    if done.returncode == 3:
        return f"refused: {done.stderr.strip()}"
    if done.returncode != 0:
        sys.exit(f"exit code {done.returncode}: {done.stderr}")
    data = (folder / "o/train.tok").read_bytes()
    width = struct.unpack_from("<I", data, 12)[0]
    return list(struct.unpack_from(f"<{(len(data) - 64) // width}{'H' if width == 2 else 'I'}", data, 64))


def draw(rng, depth=0):
    pieces = ["a", "b", "A", "s", r"\s", r"\w", r"\p{L}", r"[^\s\p{L}]", r"\p{Lu}", ".", "^", "$", r"\b", "[a-z&&[^aeiou]]",
              r"[[a-c]\d]", "'", r"\p{N}{1,3}", r"\h", "世", "[^a]", r"[\p{L}&&[^\p{Han}]]", r"\n", "(?!\\S)", "(?=[A-Z])"]  # fmt: skip
    out = ""
    for _ in range(rng.randint(1, 4)):
        piece = rng.choice(pieces) if depth > 1 or rng.random() < 0.8 else f"({rng.choice(['?:', '', '?>', '?i:'])}{draw(rng, depth + 1)})"
        out += piece + rng.choice(["", "", "", "+", "*", "?", "+?", "++", "{2}", "{1,2}", "{,2}", "{2}?", "{1,2}+", "|", "*?"])
    return out


def main():
    program, drawn = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200
    rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    cases = [(name, pattern) for name, pattern in PUBLISHED.items()] + [("", pattern) for pattern in CONSTRUCTS]
    cases += [("", draw(rng)) for _ in range(drawn)]
    same = refused = 0
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        for name, pattern in cases:
            config = tokenizer_of(pattern)
            got, expected = ours(program, config, pathlib.Path(folder)), theirs(config)
            if isinstance(got, str):
                refused += 1
                if name or "--show" in sys.argv:
                    print(f"{name or pattern}: {got[-250:]}\n   theirs: {str(expected)[:60]}")
                faults += [name] if name else []
            elif got == expected:
                same += 1
            else:
                faults.append(pattern)
                print(f"OTHER IDS for {pattern!r}:\n   {str(got)[:150]}\n   {str(expected)[:150]}")
    print(f"{same} the same, {refused} refused here, {len(faults)} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
