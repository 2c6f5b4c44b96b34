#!/usr/bin/env bash
# The program under mpirun, as a user meets it: training, repeating a run from its config.ini, and every kind of bad input, each with its
# message, its exit code, and all ranks gone.
# Usage: tests/launch/mpi/train_cases.sh PROGRAM MPIRUN layouts|experts|faults
set -uo pipefail
program=$1 mpirun=$2 part=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0

complain() { echo "FAILED: $*" >&2; failures=$((failures + 1)); }

# train RANKS OPTION...: a tiny run; its output is in out.
train() {
  local ranks=$1
  shift
  timeout 60 "$mpirun" --oversubscribe --bind-to none -np "$ranks" "$program" train --run.threads 1 "$@" >out 2>&1
}

# fails CODE TEXT RANKS OPTION...: the run ends with CODE, says TEXT, and leaves no rank behind.
fails() {
  local code=$1 text=$2 status
  shift 2
  train "$@"
  status=$?
  [[ $status == "$code" ]] || complain "exit code $status, expected $code: $*"
  grep -qF -- "$text" out || complain "no '$text' in: $(cat out)"
  if pgrep -f "$program train.*$work" >/dev/null; then complain "ranks are left: $*"; fi
}

for ((i = 0; i < 400; ++i)); do echo "Line $i of a text that a small model learns by heart, again and again."; done >text.txt
tiny=(--data.text "$work/text.txt" --model.layers 2 --model.hidden 32 --model.heads 2 --train.seq-len 32 --train.steps 6
  --train.micro-batch 2 --train.global-batch 8 --train.log-every 1 --train.sample-tokens 8)

# The loss of each step, to 5 digits.
losses() { sed -n 's/.*"loss":\([0-9]*\.[0-9]\{5\}\).*/\1/p' "$1/metrics.jsonl" | tr '\n' ' '; }

mixture=("${tiny[@]}" --moe.experts 4 --moe.bias-rate 0.001 --moe.z-loss 0.001)

layouts() {
  train 1 "${tiny[@]}" --run.dir one || complain "one rank: $(cat out)"
  train 2 "${tiny[@]}" --run.dir two || complain "two ranks: $(cat out)"
  train 4 "${tiny[@]}" --run.dir four || complain "four ranks: $(cat out)"
  train 2 "${tiny[@]}" --tp 2 --run.dir tensor --run.profile-step 3 || complain "two tensor ranks: $(cat out)"
  for words in 'profile of step 3' 'which computed the longest' 'waiting for tensor'; do
    grep -q "$words" out || complain "no '$words' in the profile: $(cat out)"
  done
  # All ops are there; of the table's longest ones nobody knows which they will be.
  for words in '"cat":"attention"' linear_backward_weight; do
    grep -q "$words" tensor/profile.json || complain "no '$words' in tensor/profile.json"
  done
  train 2 "${tiny[@]}" --tp 2 --run.check-collectives on --run.dir checked || complain "checked collectives: $(cat out)"
  [[ $(losses checked) == "$(losses tensor)" ]] || complain "checked collectives change losses: $(losses checked)"
  train 4 "${tiny[@]}" --tp 2 --parallel.sequence on --run.dir sequence || complain "sequence parallelism: $(cat out)"
  train 2 "${tiny[@]}" --cp 2 --run.dir context || complain "two context ranks: $(cat out)"
  train 4 "${tiny[@]}" --zero 3 --run.dir zero || complain "ZeRO 3: $(cat out)"
  grep -q -- '--- sample ---' out || complain "ZeRO 3: no sample in: $(cat out)"
  train 4 "${tiny[@]}" --zero 3 --parallel.shard 2 --run.dir shards || complain "ZeRO 3 in groups of 2: $(cat out)"
  cmp -s four/model.safetensors zero/model.safetensors || complain "ZeRO 3 has other weights than plain data parallelism"
  grep -h -o '"val_loss":[^,}]*' four/metrics.jsonl >plain_val
  [[ -s plain_val ]] || complain "no validation loss in four/metrics.jsonl"
  grep -h -o '"val_loss":[^,}]*' zero/metrics.jsonl | cmp -s - plain_val || complain "ZeRO 3 evaluates otherwise"
  header_bytes=$(($(od -An -tu8 -N8 one/model.safetensors) + 8))
  for layout in two four tensor sequence context zero shards; do
    awk -v a="$(losses one)" -v b="$(losses $layout)" 'BEGIN {
      n = split(a, x); if (n != 6 || split(b, y) != n) exit 1
      for (i = 1; i <= n; ++i) if (x[i] - y[i] > 2e-5 || y[i] - x[i] > 2e-5) exit 1
    }' || complain "losses depend on the ranks: $(losses one) / $layout: $(losses $layout)"
    cmp -s -n "$header_bytes" one/model.safetensors $layout/model.safetensors || complain "$layout: another model file"
    [[ $(stat -c %s one/model.safetensors) == $(stat -c %s $layout/model.safetensors) ]] || complain "$layout: another size"
  done

  train 2 --config two/config.ini --run.dir again || complain "from config.ini: $(cat out)"
  strip() { sed 's/"time":[^,]*,//; s/"step_ms".*//' "$1/metrics.jsonl"; }
  [[ $(strip two) == "$(strip again)" ]] || complain "a run from config.ini is another run"
  cmp -s two/model.safetensors again/model.safetensors || complain "weights of equal runs differ"
  [[ $(grep -c '^step .*| loss ' out) == 6 ]] || complain "not one line a step, from one rank: $(cat out)"
}

experts() {
  train 1 "${mixture[@]}" --run.dir experts1 || complain "a mixture of experts: $(cat out)"
  train 4 "${mixture[@]}" --ep 2 --pp 2 --run.dir experts4 || complain "two expert ranks in two stages: $(cat out)"
  grep -q 'load [0-9.]*x' out || complain "no load of experts in: $(cat out)"
  grep -q -- '--- sample ---' out || complain "expert ranks: no sample in: $(cat out)"
  awk -v a="$(losses experts1)" -v b="$(losses experts4)" 'BEGIN {
    n = split(a, x); if (n != 6 || split(b, y) != n) exit 1
    for (i = 1; i <= n; ++i) if (x[i] - y[i] > 2e-5 || y[i] - x[i] > 2e-5) exit 1
  }' || complain "losses depend on expert ranks: $(losses experts1) / $(losses experts4)"
  cmp -s -n "$((($(od -An -tu8 -N8 experts1/model.safetensors)) + 8))" experts1/model.safetensors experts4/model.safetensors ||
    complain "expert ranks write another model file"
  [[ $(stat -c %s experts1/model.safetensors) == $(stat -c %s experts4/model.safetensors) ]] || complain "experts4: another size"
  grep -q '"experts":\[{"layer":0,"imbalance":' experts4/metrics.jsonl || complain "no loads in experts4/metrics.jsonl"

  train 2 "${mixture[@]}" --ep 2 --parallel.expert-chunks 2 --model.load experts4/model.safetensors --run.dir loaded ||
    complain "from weights of another layout: $(cat out)"
  [[ $(grep -o 'step 0/6 | val loss .*' out) == "step 0/6 | val loss $(sed -n 's/step 6.*val loss //p' experts4/log.txt)" ]] ||
    complain "loaded weights evaluate otherwise: $(grep val out) / $(grep val experts4/log.txt)"
  train 2 "${mixture[@]}" --tp 2 --ep 2 --parallel.expert-tensor 1 --model.bias off --run.dir folded ||
    complain "whole experts over tensor ranks: $(cat out)"
  grep -q -- '--- sample ---' out || complain "whole experts over tensor ranks: no sample in: $(cat out)"
}

faults() {
  fails 2 'train.stps' 2 "${tiny[@]}" --train.stps 3
  fails 2 'model.heads 2 does not divide by parallel.tensor 3' 3 "${tiny[@]}" --tp 3
  fails 2 'train.seq-len 32 does not divide by 2 x parallel.context 3 = 6' 3 "${tiny[@]}" --cp 3
  fails 2 'parallel.shard 3 does not divide the 4 ranks' 4 "${tiny[@]}" --zero 1 --parallel.shard 3
  fails 2 'moe.experts 4 does not divide by parallel.expert 3: nearest are --parallel.expert 2 or 4' 3 "${mixture[@]}" --ep 3
  fails 2 'parallel.expert 2 has no effect on a dense model' 2 "${tiny[@]}" --ep 2
  fails 2 'moe.top-k has no effect' 2 "${tiny[@]}" --moe.top-k 1
  fails 2 'global-batch' 2 "${tiny[@]}" --train.global-batch 7
  fails 3 'no-such-file.txt' 2 "${tiny[@]}" --data.text no-such-file.txt
  printf 'fine so far \xff\xfe and no more' >latin.txt
  fails 3 'latin.txt' 2 "${tiny[@]}" --data.text "$work/latin.txt" --data.tokenizer char
  "$program" data build text.txt --out tokens >out 2>&1 || complain "data build: $(cat out)"
  head -c 4000 tokens/train.tok >cut.tok
  fails 3 'cut.tok' 2 "${tiny[@]:2}" --data.tokens "$work/cut.tok"
  fails 2 'vocab' 2 "${tiny[@]}" --model.vocab 100
  fails 7 '/proc' 2 "${tiny[@]}" --run.dir /proc/no/such/place

  # fp16: the scale backs off until gradients fit, and a scale that never fits ends the run, by name and code.
  train 2 "${tiny[@]}" --tp 2 --train.precision fp16 --train.steps 12 --train.loss-scale-start 16777216 --run.dir scaled || complain "fp16: $(cat out)"
  grep -q 'first non-finite gradient.*skipped, loss scale 16777216 -> 8388608' out || complain "no skipped step is named: $(cat out)"
  grep -q '"skipped":true' scaled/metrics.jsonl || complain "no skipped step in: $(cat scaled/metrics.jsonl)"
  tail -1 scaled/metrics.jsonl | grep -q '"skipped"' && complain "the scale never fitted: $(cat scaled/metrics.jsonl)"
  lr_of() { sed -n "$2"' s/.*"lr":\([^,]*\),.*/\1/p' "$1/metrics.jsonl"; }
  first_update=$(grep -n '"loss"' scaled/metrics.jsonl | grep -v '"skipped"' | head -1 | cut -d: -f1) # line 1 is step 0
  [[ $(lr_of scaled "$first_update") == $(lr_of scaled 2) && $(lr_of scaled 13) != $(lr_of scaled 2) ]] || complain "skipped steps moved the schedule: $(cat scaled/metrics.jsonl)"
  [[ -e scaled/model.safetensors ]] || complain "no model after skipped steps"
  fails 5 'still overflow at the minimum loss scale' 2 "${tiny[@]}" --train.precision fp16 --train.loss-scale-start 16777216 --train.loss-scale-floor 16777216
  fails 5 '--train.nonfinite is stop' 2 "${tiny[@]}" --train.precision fp16 --train.loss-scale 16777216 --run.dir stopped
  [[ -e stopped/model.safetensors ]] && complain "a model of a stopped run"

  # A disk that is full: no file may grow beyond 16 KiB. Alone, since MPI needs files of its own; the case before shows that ranks
  # end when rank 0 cannot write.
  (ulimit -f 16; exec "$program" train "${tiny[@]}" --run.dir "$work/full") >out 2>&1
  status=$?
  [[ $status == 7 ]] || complain "full disk: exit code $status, expected 7"
  grep -qF "$work/full" out || complain "full disk: no path in: $(cat out)"
}

case $part in
  layouts) layouts ;;
  experts) experts ;;
  faults) faults ;;
  *) complain "no part is called $part" ;;
esac
((failures == 0)) && echo "all cases passed"
exit $((failures != 0))
