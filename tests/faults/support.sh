# What cases of tests/faults have in common; sourced by run.sh.
# shellcheck shell=bash

# text LINES: a text that a small model learns.
text() {
  local i
  for ((i = 0; i < $1; ++i)); do echo "Line $i of a text that a small model learns by heart, again and again."; done
}

# A run of some milliseconds a step, without checkpoints (tests/checkpoints is about these).
# shellcheck disable=SC2034 # used by cases
tiny=(--model.layers 1 --model.hidden 32 --model.heads 2 --train.seq-len 16 --train.micro-batch 2 --train.sample-tokens 0
  --run.threads 1 --checkpoint.keep 0)

# expect CODE COMMAND...: runs it with its output in out, and fails unless it exits with CODE.
expect() {
  local code=$1 status
  shift
  "$@" >out 2>&1
  status=$?
  if [[ $status != "$code" ]]; then
    echo "exit $status, expected $code: $*"
    head -c 4000 out
    exit 1
  fi
}

# says WORDS [FILE]: the file (out) has them.
says() {
  if ! grep -qF -- "$1" "${2:-out}"; then
    echo "no '$1' in ${2:-out}:"
    head -c 4000 "${2:-out}"
    exit 1
  fi
}

# says_not WORDS [FILE]
says_not() {
  if grep -qF -- "$1" "${2:-out}"; then
    echo "'$1' is in ${2:-out}"
    exit 1
  fi
}

# ends_with WORDS FILE: they are in its last line.
ends_with() {
  if ! tail -n 1 "$2" | grep -qF -- "$1"; then
    echo "$2 does not end with '$1': $(tail -n 2 "$2")"
    exit 1
  fi
}

# whole_metrics RUN [LEAST]: every line of metrics.jsonl is an object, at least LEAST of them.
whole_metrics() {
  if grep -qv '^{"step":[0-9]*,.*}$' "$1/metrics.jsonl" || (($(wc -l <"$1/metrics.jsonl") < ${2:-1})); then
    echo "metrics of $1:"
    head -c 2000 "$1/metrics.jsonl"
    exit 1
  fi
}

# loads FILE: weights that a run can begin with.
loads() {
  expect 0 "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 1 --model.load "$1" --run.dir loaded
}

# no_model RUN: no weights were written, finished or not, nor parts of them.
no_model() {
  if compgen -G "$1/model*" >/dev/null; then
    echo "$1 has $(ls "$1")"
    exit 1
  fi
}

# ids_that_are_none_later FILE: 400,000 16-bit ids, of which 65535 are some that are not among the 64 blocks of 4,096 that are looked
# at before the first step. A run that takes 256 ids a step comes upon one of them within some ten steps.
ids_that_are_none_later() {
  local block
  head -c 800000 /dev/zero >"$1"
  for block in 0 16 32 48; do
    head -c 3000 /dev/zero | tr '\0' '\377' | dd of="$1" bs=2 seek=$((block * 6284 + 4500)) conv=notrunc status=none
  done
}
