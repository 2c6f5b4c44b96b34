# Formats are known, never guessed: files, headers, text, JSON and patterns. Sourced by tests/faults/run.sh; each case runs in an
# empty folder of its own and succeeds when the program in $TRIREME behaves as docs/reliability.md promises.
# shellcheck shell=bash disable=SC2034,SC2317 # the cases are called by name

in_ci+=(text_as_tokens int32_as_tokens program_as_tokens nanogpt_is_named_in_the_banner magic_one_bit_away megatron_overlap
  json_lines_by_content compressed_text number_overflow_in_json empty_text end_of_text_is_known_or_named file_cut_during_run)

# formats_refuses CODE TEXT COMMAND...: the command ends with CODE within 20 s and says TEXT.
formats_refuses() {
  local code=$1 text=$2 status=0
  shift 2
  timeout 20 "$@" >out 2>&1 || status=$?
  if [[ $status != "$code" ]]; then echo "exit code $status, expected $code: $*: $(tail -n 3 out)"; return 1; fi
  if ! grep -qF -- "$text" out; then echo "no '$text' in: $(tail -n 3 out)"; return 1; fi
}

# formats_trains TEXT OPTION...: two steps of a tiny model, with TEXT in the banner.
formats_trains() {
  local text=$1
  shift
  if ! timeout 60 "$TRIREME" train --model.layers 1 --model.hidden 16 --model.heads 2 --train.seq-len 16 --train.steps 2 \
    --train.micro-batch 2 --train.sample-tokens 0 --run.threads 1 --run.dir run "$@" >out 2>&1; then
    echo "train $* failed: $(tail -n 3 out)"
    return 1
  fi
  if ! grep -qF -- "$text" out; then echo "no '$text' in: $(cat out)"; return 1; fi
}

# formats_inspect NAME TEXT: `data inspect` refuses the file NAME with TEXT, and so does `train`.
formats_inspect() {
  formats_refuses 3 "$2" "$TRIREME" data inspect "$1" &&
    formats_refuses 3 "$2" "$TRIREME" train --data.tokens "$1" --model.vocab 65536 --model.layers 1 --run.threads 1
}

# formats_ids FORMAT COUNT BELOW: COUNT ids below BELOW as Python's struct writes them.
formats_ids() {
  python3 -c 'import random, struct, sys
random.seed(1)
form, count, below = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sys.stdout.buffer.write(struct.pack(f"<{count}{form}", *(random.randrange(below) for _ in range(count))))' "$@"
}

formats_text() { for ((i = 0; i < 60; ++i)); do echo "Line $i of a text for a small model."; done; }

case_text_as_tokens() { formats_text >a.bin && formats_inspect a.bin 'it is text'; }
case_text_named_tok() { formats_text >a.tok && formats_inspect a.tok TRIREMET; }
case_jsonl_as_tokens() { for ((i = 0; i < 40; ++i)); do echo "{\"text\": \"$i\"}"; done >a.bin && formats_inspect a.bin 'JSON lines'; }
case_int32_as_tokens() { formats_ids i 1000 50000 >a.bin && formats_inspect a.bin '32- or 64-bit ids'; }
case_uint32_large_vocabulary() { formats_ids I 1000 200000 >a.bin && formats_inspect a.bin '32- or 64-bit ids'; }
case_int64_as_tokens() { formats_ids q 1000 50000 >a.bin && formats_inspect a.bin '32- or 64-bit ids'; }
case_uint8_as_tokens() { formats_ids B 200000 65 >a.bin && formats_inspect a.bin 'distributed alike'; }
case_zeros_as_tokens() { head -c 4096 /dev/zero >a.bin && formats_inspect a.bin 'nothing but zeros'; }
case_program_as_tokens() { cp "$TRIREME" a.bin && formats_inspect a.bin ELF; }
case_numpy_as_tokens() { { printf '\x93NUMPY\x01\x00'; formats_ids H 500 900; } >a.bin && formats_inspect a.bin NumPy; }
case_utf16_as_tokens() { { printf '\xff\xfe'; formats_ids H 500 120; } >a.bin && formats_inspect a.bin UTF-16; }
case_megatron_without_index() { formats_ids H 500 900 >c4_text_document.bin && formats_inspect c4_text_document.bin c4_text_document.idx; }
case_index_as_tokens() { { printf 'MMIDIDX\x00\x00'; formats_ids B 500 200; } >a.bin && formats_inspect a.bin Megatron; }
case_tokens_by_another_name() { formats_ids H 500 900 >a.u16 && formats_inspect a.u16 'does not end in .bin'; }
case_empty_token_file() { : >a.bin && formats_inspect a.bin 'it is empty'; }

case_nanogpt_is_named_in_the_banner() {
  formats_ids H 2000 900 >a.bin &&
    formats_trains 'nanogpt format, 2,000 tokens of 16 bits' --data.tokens a.bin --model.vocab 900
}
case_nanogpt_by_name() {
  formats_ids H 2000 900 >a.u16 &&
    formats_trains 'nanogpt format' --data.tokens a.u16 --model.vocab 900 --data.format nanogpt
}
case_ids_beyond_the_vocabulary() {
  formats_ids H 2000 900 >a.bin &&
    formats_refuses 3 'outside the vocabulary of 500' "$TRIREME" train --data.tokens a.bin --model.vocab 500 --model.layers 1
}
case_format_of_the_wrong_kind() {
  formats_text >a.txt && formats_refuses 2 'is a token format' "$TRIREME" train --data.text a.txt --data.format llmc
}

# Every bit of llm.c's magic and of our own.
case_magic_one_bit_away() {
  formats_ids H 1000 900 >body
  python3 - <<'P' || return 1
import struct
body = open("body", "rb").read()
llmc = struct.pack("<3i", 20240520, 1, 1000) + bytes(1012) + body
tok = b"TRIREMET" + struct.pack("<IIQQQ", 1, 2, 900, 1000, 0) + bytes(24) + body
for name, whole, bits in (("llmc", llmc, 32), ("tok", tok, 64)):
    open(f"{name}-good.bin", "wb").write(whole)
    for bit in range(0, bits, 5):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        open(f"{name}-{bit}.bin", "wb").write(flipped)
P
  local file
  for file in llmc-good.bin tok-good.bin; do "$TRIREME" data inspect "$file" >out 2>&1 || { cat out; return 1; }; done
  rm ./*-good.bin
  for file in llmc-*.bin tok-*.bin; do formats_refuses 3 header "$TRIREME" data inspect "$file" || return 1; done
}

# An index of three sequences of two tokens, with the offsets given.
formats_megatron() {
  formats_ids H 6 900 >m.bin
  python3 -c 'import struct, sys
offsets = [int(a) for a in sys.argv[1:]]
open("m.idx", "wb").write(b"MMIDIDX\0\0" + struct.pack("<QBQQ3i3q4q", 1, 8, 3, 4, 2, 2, 2, *offsets, 0, 1, 2, 3))' "$@"
}
case_megatron_in_another_order() {
  formats_megatron 8 0 4 && "$TRIREME" data inspect m.bin >out 2>&1 && grep -qF '6 tokens of 16 bits in 3 documents' out
}
case_megatron_overlap() { formats_megatron 0 0 8 && formats_refuses 3 'overlap at byte 0' "$TRIREME" data inspect m.bin; }
case_megatron_half_tokens() { formats_megatron 0 4 7 && formats_refuses 3 'begins at byte 7' "$TRIREME" data inspect m.bin; }
case_megatron_gap() { formats_megatron 4 8 8 && formats_refuses 3 'leave a gap at byte 0' "$TRIREME" data inspect m.bin; }

# Text, JSON lines and what is compressed.
case_json_lines_by_content() {
  for ((i = 0; i < 40; ++i)); do echo "{\"text\": \"document $i\"}"; done >corpus.json
  formats_trains 'JSON lines' --data.text corpus.json || return 1
  grep -q 'in 40 documents' out
}
case_json_document() {
  printf '[\n{"text": "a"},\n{"text": "b"}\n]\n' >a.json
  formats_refuses 3 'not one object per line' "$TRIREME" data build a.json --out o
}
case_compressed_text() {
  local name bytes
  while read -r name bytes; do
    { printf '%b' "$bytes"; formats_ids B 400 256; } >"a.txt"
    formats_refuses 3 "$name" "$TRIREME" data build a.txt --out o || return 1
    formats_inspect a.txt "$name" || return 1
  done <<'L'
gzip \x1f\x8b\x08\x00
zstd \x28\xb5\x2f\xfd
xz \xfd7zXZ\x00
bzip2 BZh91AY\x26SY
lz4 \x04\x22\x4d\x18
zip PK\x03\x04
7z 7z\xbc\xaf\x27\x1c
Parquet PAR1
L
}
case_text_that_is_utf16() { formats_text | iconv -t UTF-16LE >a.txt && formats_refuses 3 'zero bytes' "$TRIREME" data build a.txt --out o; }
case_bytes_as_text_by_name() { { printf '\x1f\x8b\x08'; formats_text; } >a && formats_trains 'plain text' --data.text a --data.format text; }
case_tokens_as_text() {
  formats_text >a.txt && "$TRIREME" data build a.txt --out o >out && formats_refuses 3 'token file' "$TRIREME" data build o/train.tok --out p
}
case_number_overflow_in_json() {
  printf '{"text":"fine"}\n{"text":"also","score":1e999}\n' >a.jsonl
  printf '{"model": 1e999}' >t.json
  formats_refuses 3 'a.jsonl:2' "$TRIREME" data build a.jsonl --out o &&
    formats_refuses 3 t.json "$TRIREME" data build a.jsonl --out o --tokenizer t.json
}
case_empty_text() {
  : >empty.txt
  printf '{"text":""}\n' >empty.jsonl
  formats_refuses 3 'empty.txt holds no text' "$TRIREME" train --model.layers 1 --data.text empty.txt &&
    formats_refuses 3 'empty.jsonl holds no text' "$TRIREME" train --model.layers 1 --data.text empty.jsonl
}

# formats_tokenizer PATTERN [ADDED]: t.json over bytes, with the merges a b, ab c, b c and a Split by PATTERN.
formats_tokenizer() {
  python3 - "$@" <<'P'
import json, sys
keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
spelled = {b: chr(b) for b in keep}
for b in range(256):
    spelled.setdefault(b, chr(256 + len(spelled) - len(keep)))
vocab = {spelled[b]: b for b in range(256)} | {"ab": 256, "abc": 257, "bc": 258}
added = sys.argv[2] if len(sys.argv) > 2 else "<|endoftext|>"
json.dump({
    "added_tokens": [{"id": 260, "content": added, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}],
    "normalizer": {"type": "Sequence", "normalizers": []},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": sys.argv[1]}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]},
    "model": {"type": "BPE", "vocab": vocab, "merges": ["a b", "ab c", "b c"]}}, open("t.json", "w"))
P
}
# formats_words TEXT PATTERN IDS: the ids of TEXT.
formats_words() {
  formats_tokenizer "$2" || return 1
  printf '%b' "$1" >a.txt
  if ! "$TRIREME" data build a.txt --out o --tokenizer t.json --valid-fraction 0 >out 2>&1; then cat out; return 1; fi
  local ids
  ids=$(tail -c +65 o/train.tok | od -An -v -tu2 | tr -s ' \n' ' ')
  if [[ ${ids# } != "$3 " && ${ids# } != "$3" ]]; then echo "$2: ids '$ids', expected '$3'"; return 1; fi
}
case_pattern_intersection() { formats_words 'abc' '[a-z&&[^c]]+' '256 99'; }
case_pattern_nested_class() { formats_words 'abcx' '[x[ab]]+' '256 99 120'; }
case_pattern_line_ends() { formats_words 'ab\nabc' 'ab$' '256 10 257' && formats_words 'abc\nabc' '^a' '97 258 10 97 258'; }
case_pattern_hexadecimal() { formats_words 'abcg' '\h{2}' '256 99 103'; }
case_pattern_interval_plus() { formats_words 'ababab' '(?:ab){1,2}+' '256 256 256'; }
case_pattern_empty_matches() { formats_words 'abc' '(?=b)' '97 258'; }
case_pattern_inline_option() { formats_words 'abxC' 'a(?i)b|x' '256 120 67'; }
case_pattern_refused_by_construct() {
  local construct pattern
  printf 'abc' >a.txt
  while IFS=$'\t' read -r construct pattern; do
    formats_tokenizer "$pattern" || return 1
    formats_refuses 3 "$construct" "$TRIREME" data build a.txt --out o --tokenizer t.json || return 1
  done <<'L'
the escape \X	\X+
the escape \G	\Ga
the escape \K	a\Kb
the group (?~	(?~ab)
a negated class under (?i)	(?i)[^a]
the property Emoji	\p{Emoji}
a repeat of a repeat	a**
the escape \1	(a)\1
L
}
case_end_of_text_is_known_or_named() {
  for ((i = 0; i < 150; ++i)); do echo "{\"text\": \"abc $i\"}"; done >a.jsonl
  formats_tokenizer '\s+' '<fin>'
  formats_trains 'no known end-of-text token' --data.text a.jsonl --data.tokenizer t.json || return 1
  formats_trains 'in 150 documents' --data.text a.jsonl --data.tokenizer t.json --data.end-of-text '<fin>' || return 1
  if grep -q 'no end-of-text' out; then echo 'named, and yet missed'; return 1; fi
  formats_tokenizer '\s+' '<｜end▁of▁sentence｜>'
  formats_trains 'in 150 documents' --data.text a.jsonl --data.tokenizer t.json || return 1
  if grep -q 'no end-of-text' out; then echo 'a known name is missed'; return 1; fi
}

case_file_cut_during_run() {
  formats_ids H 4000000 250 >a.bin
  "$TRIREME" train --data.tokens a.bin --model.vocab 256 --model.layers 1 --model.hidden 16 --model.heads 2 --train.seq-len 64 \
    --train.steps 1000000 --train.eval-batches 1 --run.threads 1 --run.dir run >out 2>&1 &
  local pid=$! status=0
  for ((i = 0; i < 100; ++i)); do
    if grep -q 'step ' out; then break; fi
    sleep 0.2
  done
  truncate -s 1000 a.bin
  for ((i = 0; i < 100; ++i)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.2
  done
  kill -9 "$pid" 2>/dev/null
  wait "$pid" || status=$?
  if [[ $status != 3 ]]; then echo "exit code $status, expected 3: $(tail -n 2 out)"; return 1; fi
  grep -q '^trireme: error: a.bin: byte .* has 1000 now' out
}

# 40,000 tensors: 12 s with a quadratic reader.
case_header_of_40000_tensors() {
  python3 - <<'P'
import struct
n = 40000
entry = '"layers.%d.experts.%d.weight":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}'
header = ("{" + ",".join(entry % (i // 256, i % 256, i, i + 1) for i in range(n)) + "}").encode()
open("n.safetensors", "wb").write(struct.pack("<Q", len(header)) + header + bytes(n))
P
  formats_text >a.txt
  formats_refuses 3 'does not fit the model' timeout 5 "$TRIREME" train --data.text a.txt --model.layers 1 --model.hidden 16 \
    --model.heads 2 --train.seq-len 16 --train.steps 1 --run.threads 1 --model.load n.safetensors
}

case_pointers_of_git_lfs() {
  printf 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n' >a
  formats_text >a.txt
  formats_inspect a 'Git LFS' && formats_refuses 3 'Git LFS' "$TRIREME" data build a --out o &&
    formats_refuses 3 'Git LFS' "$TRIREME" data build a.txt --out o --tokenizer a &&
    formats_refuses 3 'Git LFS' "$TRIREME" train --data.text a.txt --model.load a --model.layers 1 --train.seq-len 16
}
case_pytorch_weights() {
  formats_text >a.txt
  { printf 'PK\x03\x04'; formats_ids B 300 256; } >a.pt
  formats_refuses 3 "PyTorch's .pt" "$TRIREME" train --data.text a.txt --model.load a.pt --model.layers 1 --train.seq-len 16
}
