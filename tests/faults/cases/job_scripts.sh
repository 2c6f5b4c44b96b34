# The scripts of cluster/slurm, whose ends lead to requeueing or not. tests/cluster runs them under Slurm.
# shellcheck shell=bash disable=SC2034,SC2154 # in_ci, limits, here: of tests/faults/run.sh

in_ci+=(job_script_goes_on job_script_queues_again job_script_stops job_script_leaves_hosts_out job_script_passes_signals_on
  sweep_script_takes_its_line)

# A program that notes its arguments and ends with $EXIT, and a scontrol that notes its own.
fake_cluster() {
  cat >program <<'END'
#!/bin/bash
echo "$@" >>calls
trap 'echo USR1 >>calls; end=75' USR1
touch started
if [[ -n ${HOST_FAILS:-} ]]; then echo "$HOST_FAILS 2026-01-01T00:00:00Z job $SLURM_JOB_ID exit $EXIT rank 1 Killed" >>"$3"; fi
if [[ -n ${WAITS:-} ]]; then until [[ -n ${end:-} ]]; do sleep 0.05; done; sleep 0.3; fi
exit "${end:-$EXIT}"
END
  printf '#!/bin/sh\necho "scontrol $*" >>calls\n' >scontrol
  chmod +x program scontrol
  printf '[run]\ndir =\n[checkpoint]\ndir = elsewhere\n' >run.ini
  script=$here/../../cluster/slurm/train.sbatch
  job=(env "PATH=$PWD:$PATH" TRIREME=./program SLURM_JOB_ID=17 SLURM_JOB_NAME=try)
}

# called TIMES WORDS: the calls have these words, as whole lines.
called() {
  if (($(grep -cFx -- "$2" calls) != $1)); then
    echo "not $1 times '$2' in:"
    cat calls
    exit 1
  fi
}

# The job script finds its run again: in a directory of the job, or the one that configuration or options name
case_job_script_goes_on() {
  fake_cluster
  printf '[run]\ndir = runs/mine\n' >named.ini
  expect 0 "${job[@]}" EXIT=0 "$BASH" "$script" run.ini --train.steps 5
  expect 0 "${job[@]}" EXIT=0 "$BASH" "$script" named.ini
  expect 0 "${job[@]}" EXIT=0 "$BASH" "$script" run.ini --run.dir there --resume must
  expect 0 "${job[@]}" EXIT=0 SLURM_RESTART_COUNT=2 TRIREME_FAILED_HOSTS=bad "$BASH" "$script" --data.text t.txt
  says 'restart 2 of job 17'
  local launch='launch --failed-hosts failed-hosts.txt -- train --config'
  called 1 "$launch run.ini --resume auto --run.dir runs/try-17 --train.steps 5"
  called 1 "$launch named.ini --resume auto"
  called 1 "$launch run.ini --resume auto --run.dir there --resume must"
  called 1 'launch --failed-hosts bad -- train --resume auto --run.dir runs/try-17 --data.text t.txt'
  says_not scontrol calls
  expect 2 "${job[@]}" EXIT=0 "$BASH" "$script"
  expect 7 "${job[@]}" EXIT=0 TRIREME=./none "$BASH" "$script" run.ini
  expect 2 env TRIREME=./program "$BASH" "$script" run.ini
}

# A saved run (exit 75) is queued again under its number, unless --train.stop-after or TRIREME_REQUEUE=no ends it there
case_job_script_queues_again() {
  fake_cluster
  expect 75 "${job[@]}" EXIT=75 "$BASH" "$script" run.ini
  called 1 'scontrol requeue 17'
  expect 75 "${job[@]}" EXIT=75 "$BASH" "$script" run.ini --train.stop-after 5
  expect 75 "${job[@]}" EXIT=75 TRIREME_REQUEUE=no "$BASH" "$script" run.ini
  printf '[train]\nstop-after = 5\n' >stops.ini
  expect 75 "${job[@]}" EXIT=75 "$BASH" "$script" stops.ini
  called 1 'scontrol requeue 17'
}

# Errors that would come again anywhere stop the job: usage, input, checkpoints, numerics, no progress; so do those of no known host
case_job_script_stops() {
  fake_cluster
  local code
  for code in 1 2 3 4 5 6 7 93 137; do
    expect "$code" "${job[@]}" EXIT="$code" "$BASH" "$script" run.ini
    says "stopped"
  done
  says_not scontrol calls
}

# A host whose rank crashed is left out when the job is queued again, with those of the list so far
case_job_script_leaves_hosts_out() {
  fake_cluster
  printf '# noted by hand\nn5 2025-01-01T00:00:00Z job 3 exit 7 rank 0 -\n' >failed-hosts.txt
  expect 137 "${job[@]}" EXIT=137 HOST_FAILS=n2 "$BASH" "$script" run.ini
  says 'n2 is left out'
  called 1 'scontrol requeuehold 17'
  called 1 'scontrol update JobId=17 ExcNodeList=n5,n2'
  called 1 'scontrol release 17'
  if [[ $(tail -n 3 calls) != *requeuehold*update*release* ]]; then cat calls; exit 1; fi
  rm calls
  expect 75 "${job[@]}" EXIT=75 "$BASH" "$script" run.ini
  called 1 'scontrol update JobId=17 ExcNodeList=n5,n2'
  rm calls failed-hosts.txt
  expect 3 "${job[@]}" EXIT=3 HOST_FAILS=n2 "$BASH" "$script" run.ini
  says_not scontrol calls
}

# signalled SIGNAL...: starts the job script with a program that waits, and sends it signals; its exit status is in $status.
signalled() {
  rm -f started calls
  "${job[@]}" EXIT=0 WAITS=yes "$BASH" "$script" run.ini >out 2>&1 &
  local pid=$! name
  until [[ -e started ]]; do sleep 0.05; done
  for name in "$@"; do
    kill "-$name" "$pid"
    sleep 0.1
  done
  wait "$pid"
  status=$?
}

# USR1 and TERM reach the ranks once, as USR1, whichever come; only USR1 queues the job again; its exit code is the ranks'
case_job_script_passes_signals_on() {
  fake_cluster
  signalled USR1 USR1 TERM
  if [[ $status != 75 ]]; then echo "exit $status"; cat out; exit 1; fi
  called 1 USR1
  called 1 'scontrol requeue 17'
  signalled TERM USR1
  if [[ $status != 75 ]]; then echo "exit $status"; cat out; exit 1; fi
  called 1 USR1
  says_not scontrol calls
  says 'scontrol requeue 17 goes on'
}

# A sweep: each index of the array has the options of its line and a run directory of its own
case_sweep_script_takes_its_line() {
  fake_cluster
  printf '# learning rates\n--optimizer.lr 1e-3\n\n  --optimizer.lr 3e-4 --data.text "a b.txt"\n' >rates.txt
  local sweep=$here/../../cluster/slurm/sweep.sbatch
  job+=(TRIREME_SLURM="$here/../../cluster/slurm" EXIT=0)
  expect 0 "${job[@]}" SLURM_ARRAY_TASK_ID=2 "$BASH" "$sweep" run.ini rates.txt --train.steps 5
  called 1 'launch --failed-hosts failed-hosts.txt -- train --config run.ini --resume auto --train.steps 5 --optimizer.lr 3e-4 --data.text a b.txt --run.dir runs/rates/2'
  expect 0 "${job[@]}" SLURM_ARRAY_TASK_ID=1 TRIREME_SWEEP=there "$BASH" "$sweep" run.ini rates.txt
  called 1 'launch --failed-hosts failed-hosts.txt -- train --config run.ini --resume auto --optimizer.lr 1e-3 --run.dir there/1'
  expect 2 "${job[@]}" SLURM_ARRAY_TASK_ID=3 "$BASH" "$sweep" run.ini rates.txt
  says 'rates.txt has 2 lines'
  expect 3 "${job[@]}" SLURM_ARRAY_TASK_ID=1 "$BASH" "$sweep" run.ini none.txt
  expect 2 "${job[@]}" "$BASH" "$sweep" run.ini rates.txt
}
