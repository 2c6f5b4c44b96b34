#!/usr/bin/env bash
# Weak scaling of data parallelism from 1 to N ranks of one thread each: every rank has the same work at both sizes, and the runs
# alternate, so that a slow minute of the machine meets both.
# Usage: tests/bench/data_parallel_efficiency.sh TEXT [RANKS [ROUNDS [OPTION OF trireme train]...]]
#   tests/bench/data_parallel_efficiency.sh data/kjv.txt 2 3 --model.preset gpt2-10m --train.precision bf16
set -euo pipefail
text=$(realpath "$1"); ranks=${2:-2}; rounds=${3:-3}
shift $(($# < 3 ? $# : 3))
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
batch=8
steps=8
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ((EUID == 0)); then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi

# median_ms RANKS NAME OPTION...: the median step of a run, without its first two.
median_ms() {
  local n=$1 dir=$work/$2
  shift 2
  mpirun -np "$n" --bind-to core build/trireme train --data.text "$text" --data.valid-fraction 0 --train.steps $steps \
    --train.seq-len 128 --train.micro-batch $batch --train.global-batch $((batch * n)) --train.sample-tokens 0 \
    --run.threads 1 --run.dir "$dir" "$@" >/dev/null
  sed -n 's/.*"step_ms":\([0-9.]*\).*/\1/p' "$dir/metrics.jsonl" | tail -n +3 | sort -n |
    awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'
}

for ((round = 1; round <= rounds; ++round)); do
  one=$(median_ms 1 "one$round" --model.preset gpt2-10m "$@")
  many=$(median_ms "$ranks" "many$round" --model.preset gpt2-10m "$@")
  awk -v a="$one" -v b="$many" -v n="$ranks" -v r="$round" \
    'BEGIN {printf "round %d: 1 rank %.1f ms, %d ranks %.1f ms, efficiency %.1f %%\n", r, a, n, b, 100 * a / b}'
done
