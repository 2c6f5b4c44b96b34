#!/usr/bin/env bash
# How much of the machine a layout uses, against one rank. The two runs alternate, so that a slow minute meets both.
set -euo pipefail

usage() {
  cat <<'END'
Usage: tests/bench/layout_efficiency.sh weak|strong TEXT RANKS ROUNDS [OPTION of trireme train]... [-- OPTION of the layout]...

  weak    one rank of one thread, then RANKS ranks of one thread, each with the work of the one
  strong  one rank of RANKS threads, then RANKS ranks of one thread with the same work together

Options before -- are of both runs (a rank's batch is 8 sequences of 128 tokens of gpt2-10m unless they say otherwise),
those behind it of the layout alone. Prints the median steps, their ratio, and how much of its step the layout's first rank
waited for communication.

  tests/bench/layout_efficiency.sh weak data/kjv.txt 2 3 --train.precision bf16
  tests/bench/layout_efficiency.sh strong data/kjv.txt 2 3 --model.preset gpt2-124m --train.micro-batch 1 \
    --train.global-batch 16 -- --pp 2
END
}

if (($# < 4)) || [[ $1 != weak && $1 != strong ]]; then
  usage >&2
  exit 2
fi
kind=$1 text=$(realpath "$2") ranks=$3 rounds=$4
shift 4
both=()
while (($#)) && [[ $1 != -- ]]; do both+=("$1"); shift; done
if (($#)); then shift; fi
layout=("$@")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ((EUID == 0)); then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi

# train NAME RANKS THREADS OPTION...: "STEP_MS WAIT_MS", the medians without the first two steps.
train() {
  local dir=$work/$1 n=$2 threads=$3
  shift 3
  mpirun -np "$n" --bind-to "$( ((threads > 1)) && echo none || echo core)" build/trireme train --data.text "$text" \
    --data.valid-fraction 0 --train.steps 8 --train.seq-len 128 --train.sample-tokens 0 --run.threads "$threads" \
    --run.dir "$dir" "$@" </dev/null >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
  local key
  for key in step_ms comm_wait_ms; do
    sed -n "s/.*\"$key\":\([0-9.e+-]*\).*/\1/p" "$dir/metrics.jsonl" | tail -n +3 | sort -g |
      awk '{v[NR] = $1} END {printf "%s ", v[int((NR + 1) / 2)]}'
  done
}

defaults=(--model.preset gpt2-10m)
for option in "${both[@]}"; do [[ $option != --model.preset ]] || defaults=(); done
batch() {  # of N ranks that each do the work of one
  local option
  for option in "${both[@]}"; do [[ $option != --train.global-batch ]] || return 0; done
  echo --train.micro-batch 8 --train.global-batch $((8 * $1))
}
one_threads=1 many_batch=$ranks
if [[ $kind == strong ]]; then one_threads=$ranks many_batch=1; fi

for ((round = 1; round <= rounds; ++round)); do
  read -r -a one_batch <<<"$(batch 1)"
  read -r -a layout_batch <<<"$(batch "$many_batch")"
  result=$(train "one$round" 1 "$one_threads" "${defaults[@]}" "${one_batch[@]}" "${both[@]}")
  one=${result%% *}
  result=$(train "many$round" "$ranks" 1 "${defaults[@]}" "${layout_batch[@]}" "${both[@]}" "${layout[@]}")
  read -r many wait <<<"$result"
  awk -v a="$one" -v t="$one_threads" -v b="$many" -v w="$wait" -v n="$ranks" -v r="$round" 'BEGIN {
    printf "round %d: 1 rank of %d thread(s) %.1f ms, %d ranks %.1f ms, efficiency %.1f %%, waited %.1f %%\n",
      r, t, a, n, b, 100 * a / b, 100 * w / b}'
done
