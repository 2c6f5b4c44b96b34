# Ranks that are slower than the others. Sourced by tests/faults/run.sh.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154,SC2317 # in_ci is read by run.sh; the cases are called by name
in_ci+=(a_slowed_rank_is_named)
limit_a_slowed_rank_is_named=120

# stop_and_go PID: as long as the process lives it is stopped three times as long as it takes to compute for 20 ms, on a busy
# machine as on a quiet one.
stop_and_go() {
  python3 - "$1" <<'END'
import os, signal, sys, time
pid = int(sys.argv[1])
def computed():  # seconds
    with open(f"/proc/{pid}/schedstat") as file:
        return int(file.read().split()[0]) * 1e-9
try:
    while True:
        begin, before = time.monotonic(), computed()
        while computed() - before < 0.02 and time.monotonic() - begin < 2:
            time.sleep(0.005)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(3 * (time.monotonic() - begin))
        os.kill(pid, signal.SIGCONT)
except (FileNotFoundError, ProcessLookupError):
    pass
END
}

# A rank that is slower than the others of its stage is named with its host, in the log, the metrics and the summary.
case_a_slowed_rank_is_named() {
  text 200 >t.txt
  # shellcheck disable=SC2016 # expanded by the ranks
  "$MPIRUN" --oversubscribe --bind-to none -np 2 bash -c '[[ $OMPI_COMM_WORLD_RANK == 1 ]] && echo $$ >pid; exec "$@"' _ \
    "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.seq-len 64 --train.micro-batch 16 \
    --train.global-batch 64 --train.steps 72 --train.log-every 8 \
    --train.eval-every 0 --run.dir run >out 2>&1 </dev/null &
  local job=$!
  until [[ -s pid && -s run/metrics.jsonl ]]; do
    kill -0 "$job" || { cat out; return 1; }
    sleep 0.05
  done
  stop_and_go "$(cat pid)"
  wait "$job" || { cat out; return 1; }
  says "warning: rank 1 on $(uname -n) is a straggler: in 5 log windows"
  says_not "warning: rank 0"
  says "slowest: rank 1 on $(uname -n), which computed"
  says 'slowest rank 1 ('
  says '"straggler":true' run/metrics.jsonl
  says 'is a straggler' run/log.txt
}
