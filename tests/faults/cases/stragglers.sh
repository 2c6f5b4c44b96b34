# Ranks that are slower than the others. Sourced by tests/faults/run.sh.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154,SC2317 # in_ci is read by run.sh; the cases are called by name
in_ci+=(a_slowed_rank_is_named)
limit_a_slowed_rank_is_named=120

# A rank that is slower than the others of its stage is named with its host, in the log, the metrics and the summary.
case_a_slowed_rank_is_named() {
  text 200 >t.txt
  cc -shared -fPIC -o slow_rank.so "${here:?}/slow_rank.c" -ldl || return 1
  expect 0 env LD_PRELOAD="$PWD/slow_rank.so" SLOW_RANK=1 "$MPIRUN" --oversubscribe --bind-to none -np 2 \
    "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.precision bf16 --train.global-batch 8 --train.steps 30 --train.log-every 5 \
    --train.eval-every 0 --run.dir run
  says "warning: rank 1 on $(uname -n) is a straggler: in 5 log windows"
  says_not "warning: rank 0"
  says "slowest: rank 1 on $(uname -n), which computed"
  says 'slowest rank 1 ('
  says '"straggler":true' run/metrics.jsonl
  says 'is a straggler' run/log.txt
}
