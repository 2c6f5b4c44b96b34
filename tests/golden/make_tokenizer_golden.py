#!/usr/bin/env python3
"""Makes tests/golden/tokenizer/: two small byte-level BPE tokenizers of Hugging Face's `tokenizers` library and the
ids that it gives for strings that are easy to get wrong.

    pip install tokenizers && python3 tests/golden/make_tokenizer_golden.py
"""

import json
import pathlib

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

OUT = pathlib.Path(__file__).parent / "tokenizer"

LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Sentences of our own; repeated pieces give the trainer something to merge.
TRAINING_TEXT = """The rowers sit in three banks, one above the other, and pull as one.
The rowers of the lowest bank can't see the sea; they hear the piper and don't lose the beat.
When the piper plays faster, the rowers row faster; when he's silent, they'll rest and we've peace.
In the year 480 there were 200 ships, in 2024 there are 1024 ranks: 3 banks, 170 oars, 12345 beats.
\tThe ship turns;  the wind turns.   The oars don't.\r\n\r\nÉtés, naïve, Straße, мир и море, море и мир, 海の船, 海の波.
Three banks! Three banks!! Three banks!!! (And the oars: //// ---- ====) 🚢🚢 🌊
"""

CASES = [
    "", " ", "  ", "\n", "\n\n", " \n ", "\t\tx", "a", "the", " the", "The rowers", "  The rowers  ",
    "don't can't he's we've they'll I'm you'd they're", "DON'T HE'S 'S 's' ''s", "12345678 3.14 1,000", "x1y22z333",
    "Straße Étés naïve e\u0301", "мир и море", "海の船が来る", "مرحبا بالعالم", "हिन्दी", "🚢🌊👩‍🚀🇬🇷",
    "a\u00a0b\u2003c\u3000d\u180ee\u200bf\u2028g\u0085h", "one\r\ntwo\rthree\n\n\nfour \n five\n \n",
    "<|endoftext|>", "a<|endoftext|>b", "<|endoftext|><|endoftext|>", "<|endoftext", "x <|endoftext|> y<|end|>",
    "<|end|>text|>", "\u0000\u0001\u007f", "!!! ... --- ??? ($%^&*)", "_under_score_ snake_case", "½ ² ⅷ ① ٣",
    "banksbanksbanks", "oars   oars", "a" * 40, " " * 17 + "x", "\n" * 9 + "x",
]  # fmt: skip


def train(pre_tokenizer, vocab_size, marks):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([TRAINING_TEXT * 2], trainer)
    tokenizer.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    return json.loads(tokenizer.to_str())


def main():
    OUT.mkdir(exist_ok=True)
    gpt2 = train(pre_tokenizers.ByteLevel(add_prefix_space=False), 420, ["<|endoftext|>"])
    llama3 = train(
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(LLAMA3_PATTERN), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        ),
        400,
        ["<|endoftext|>", "<|end|>", "<|end|>text|>"],
    )
    # Older files spell a merge as one string; Llama 3 takes whole words first, which shows once merges are gone.
    merges = llama3["model"]["merges"]
    llama3["model"]["merges"] = [" ".join(m) for i, m in enumerate(merges) if i < 60 or i % 4]
    llama3["model"]["ignore_merges"] = True

    expected = [{"text": text} for text in CASES]
    for name, contents in {"gpt2": gpt2, "llama3": llama3}.items():
        (OUT / f"{name}.json").write_text(json.dumps(contents, ensure_ascii=False) + "\n")
        tokenizer = Tokenizer.from_file(str(OUT / f"{name}.json"))
        for case in expected:
            case[name] = tokenizer.encode(case["text"], add_special_tokens=False).ids
    (OUT / "expected.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in expected) + "\n]\n")


if __name__ == "__main__":
    main()
