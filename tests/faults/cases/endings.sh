# How a run ends: signals, steps that are not finite, disks that are full, directories and readers that have gone.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # in_ci is read by run.sh, tiny comes from support.sh
in_ci+=(second_signal term_in_a_step usr_in_a_step signals_spare_what_computes ctrl_c_before_the_first_step nonfinite_step full_disk_of_metrics
  closed_descriptors full_stdout no_room_for_the_model directory_removed prompt_is_tried root_as_run_directory
  write_that_returns_0)

# long_run RUN SIGNAL: starts an endless run and sends it the signal once it has done some steps; leaves its exit status in $status.
long_run() {
  text 300 >t.txt
  "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 100000000 --run.dir "$1" "${@:3}" >out 2>&1 &
  local pid=$!
  until [[ -s $1/metrics.jsonl && $(wc -l <"$1/metrics.jsonl") -ge 4 ]]; do sleep 0.05; done
  kill "-$2" $pid
  wait $pid
  status=$?
}

# expect_status CODE
expect_status() {
  if [[ $status != "$1" ]]; then
    echo "exit $status, expected $1: $(tail -n 3 out)"
    exit 1
  fi
}

# TERM in a step: exit 143, the weights under a name that says unfinished, the log ends with the reason
case_term_in_a_step() {
  long_run r TERM
  expect_status 143
  local model
  model=$(compgen -G 'r/model-unfinished-step-*.safetensors') || { cat out; exit 1; }
  says 'trireme: error: ended by SIGTERM after step'
  says "$model"
  ends_with "$model" r/log.txt
  whole_metrics r 4
  [[ ! -e r/model.safetensors ]] || exit 1
  loads "$model"
}

# USR1 and USR2 in a step, as TERM: exit 138 and 140
case_usr_in_a_step() {
  local name
  for name in USR1=138 USR2=140; do
    long_run "r-$name" "${name%=*}"
    expect_status "${name#*=}"
    says "ended by SIG${name%=*} after step"
    ends_with 'model-unfinished-step-' "r-$name/log.txt"
  done
}

# TERM at forty moments of a run: never anything but exit 143
case_term_at_any_moment() {
  local i
  for ((i = 0; i < 40; ++i)); do
    long_run "r$i" TERM
    expect_status 143
  done
}
limit_term_at_any_moment=120

# INT, TERM, USR1 and USR2 interrupt one thread of a rank, which computes nothing: a handler's frame may overwrite what a thread computes
case_signals_spare_what_computes() {
  text 300 >t.txt
  "$MPIRUN" --oversubscribe -np 2 "$TRIREME" train --data.text t.txt "${tiny[@]}" --run.threads 2 --train.steps 100000000 --run.dir r >out 2>&1 &
  local pid=$! rank blocked threads=0 open=0
  until [[ -s r/metrics.jsonl && $(wc -l <r/metrics.jsonl) -ge 4 ]]; do sleep 0.05; done
  rank=$(pgrep -P $pid -f "$TRIREME train" | tail -n 1)
  while read -r blocked; do
    ((++threads))
    if (((blocked & 0x4a02) != 0x4a02)); then ((++open)); fi # bits of signals 2, 10, 12 and 15
  done < <(sed -n 's/^SigBlk:\t/0x/p' "/proc/$rank"/task/*/status)
  kill -TERM "$rank"
  wait $pid
  status=$?
  expect_status 143
  if ((threads < 3 || open != 1)); then
    echo "$open of $threads threads take signals"
    exit 1
  fi
}

# Ctrl-C in a step, as TERM: exit 130
case_ctrl_c_in_a_step() {
  set -m # or a job in the background ignores it
  long_run r INT
  expect_status 130
  says 'ended by SIGINT after step'
  ends_with 'model-unfinished-step-' r/log.txt
}

# A signal that the shell has told the run to ignore, as it does in the background, ends nothing
case_ignored_signal() {
  text 300 >t.txt
  "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 300 --run.dir r >out 2>&1 &
  local pid=$!
  until [[ -s r/metrics.jsonl ]]; do sleep 0.02; done
  kill -INT $pid
  wait $pid
  status=$?
  expect_status 0
  [[ -s r/model.safetensors ]]
}

# A signal while text is read: at once, exit 143, and it is said that nothing is saved
case_ctrl_c_before_the_first_step() {
  head -c 20000000 /dev/urandom | base64 >t.txt # no word comes twice: its vocabulary takes long to learn
  "$TRIREME" train --data.text t.txt --data.tokenizer bpe --data.bpe-vocab 60000 "${tiny[@]}" --run.dir r >out 2>&1 &
  local pid=$!
  sleep 1.5
  kill -TERM $pid
  wait $pid
  status=$?
  expect_status 143
  says 'ended by a signal before the first step: nothing is saved'
}

# A second signal while the first is obeyed ends the run at once
case_second_signal() {
  text 300 >t.txt
  "$TRIREME" train --data.text t.txt --model.layers 4 --model.hidden 256 --model.heads 4 --train.seq-len 256 --train.micro-batch 64 \
    --train.steps 1000 --data.valid-fraction 0 --run.threads 1 --run.dir r >out 2>&1 &
  local pid=$!
  until grep -q 'MFU is against' out; do sleep 0.05; done
  kill -TERM $pid
  sleep 0.3
  kill -TERM $pid
  wait $pid
  status=$?
  expect_status 143
}

# A signal during an evaluation ends it between its batches
case_signal_in_evaluation() {
  text 60000 >t.txt
  "$TRIREME" train --data.text t.txt --model.layers 2 --model.hidden 128 --model.heads 2 --train.seq-len 64 --data.valid-fraction 0.9 \
    --train.steps 10 --run.threads 1 --checkpoint.keep 0 --run.dir r >out 2>&1 &
  local pid=$!
  until [[ -s r/log.txt ]]; do sleep 0.05; done
  sleep 1.5
  kill -TERM $pid
  wait $pid
  status=$?
  expect_status 143
  ends_with 'Nothing is saved: no step was completed' r/log.txt
  no_model r
}

# TERM of one of two ranks: both stop at one step, with whole weights and one message
case_term_of_one_rank() {
  text 300 >t.txt
  "$MPIRUN" --oversubscribe -np 2 "$TRIREME" train --data.text t.txt "${tiny[@]}" --tp 2 --train.steps 100000000 --run.dir r >out 2>&1 &
  local pid=$! rank
  until [[ -s r/metrics.jsonl && $(wc -l <r/metrics.jsonl) -ge 4 ]]; do sleep 0.05; done
  rank=$(pgrep -P $pid -f "$TRIREME train" | tail -n 1)
  kill -TERM "$rank"
  wait $pid
  status=$?
  expect_status 143
  if [[ $(grep -c 'trireme: error' out) != 1 ]]; then cat out; exit 1; fi
  ends_with 'model-unfinished-step-' r/log.txt
  loads r/model-unfinished-step-*.safetensors
}

# TERM of mpirun, which kills its ranks a second later: what there is, is saved by then
case_term_of_mpirun() {
  text 300 >t.txt
  "$MPIRUN" --oversubscribe -np 2 "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 100000000 --run.dir r >out 2>&1 &
  local pid=$!
  until [[ -s r/metrics.jsonl && $(wc -l <r/metrics.jsonl) -ge 4 ]]; do sleep 0.05; done
  kill -TERM $pid
  wait $pid
  ends_with 'model-unfinished-step-' r/log.txt
  whole_metrics r 4
  loads r/model-unfinished-step-*.safetensors
}

# A signal while the weights are saved: they are complete under their name, no text follows, exit 143
case_signal_while_saving() {
  text 300 >t.txt
  local model=(--model.layers 2 --model.hidden 512 --model.heads 2 --train.seq-len 16 --train.micro-batch 1 --data.valid-fraction 0 --run.threads 1
    --checkpoint.keep 0)
  "$TRIREME" train --data.text t.txt "${model[@]}" --train.steps 2 --train.sample-tokens 100000 --run.dir r >out 2>&1 &
  local pid=$!
  until compgen -G 'r/model.safetensors*' >/dev/null; do sleep 0.01; done
  kill -TERM $pid
  wait $pid
  status=$?
  expect_status 143
  ends_with 'The weights are complete in r/model.safetensors' r/log.txt
  [[ $(compgen -G 'r/model*') == r/model.safetensors ]] || exit 1
  expect 0 "$TRIREME" train --data.text t.txt "${model[@]}" --train.steps 1 --train.sample-tokens 0 --model.load r/model.safetensors
}

# A loss that is not finite: exit 5, the weights of the last good step are kept or it is said why not
case_nonfinite_step() {
  text 300 >t.txt
  expect 5 "$TRIREME" train --data.text t.txt "${tiny[@]}" --optimizer.lr 1e10 --optimizer.schedule constant --optimizer.clip 0 --train.steps 60 --run.dir r
  says 'The run ends'
  whole_metrics r 1
  if compgen -G 'r/model-unfinished-step-*' >/dev/null; then
    ends_with 'The weights after step' r/log.txt
  else
    ends_with 'Nothing is saved' r/log.txt
  fi
}

# eps 0: weights that are not finite are not written, and it is said
case_nonfinite_weights() {
  text 300 >t.txt
  expect 5 "$TRIREME" train --data.text t.txt "${tiny[@]}" --optimizer.eps 0 --train.steps 40 --run.dir r
  says 'Nothing is saved'
  ends_with 'Nothing is saved' r/log.txt
  no_model r
}

# A loss that is not finite on two ranks: one message, exit 5
case_nonfinite_step_of_two_ranks() {
  text 300 >t.txt
  expect 5 "$MPIRUN" --oversubscribe -np 2 "$TRIREME" train --data.text t.txt "${tiny[@]}" --optimizer.lr 1e10 \
    --optimizer.schedule constant --optimizer.clip 0 --train.steps 60 --run.dir r
  if [[ $(grep -c 'trireme: error' out) != 1 ]]; then cat out; exit 1; fi
  grep -q '^trireme: error' out || exit 1 # on a line of its own
}

# The files of metrics may not grow any more: it is said once, the lines that are there are whole, and the weights are saved
case_full_disk_of_metrics() {
  text 300 >t.txt
  # 64 KiB hold the weights, and the metrics of some hundred steps, but no checkpoint.
  (ulimit -f 64 && exec "$TRIREME" train --data.text t.txt --model.layers 1 --model.hidden 16 --model.heads 2 --train.seq-len 16 \
    --train.micro-batch 1 --train.sample-tokens 0 --run.threads 1 --train.steps 600 --train.log-every 100 --run.dir r \
    --checkpoint.keep 0) >out 2>&1
  status=$?
  expect_status 0
  if [[ $(grep -c 'metrics.jsonl: cannot be written: File too large; the run continues' out) != 1 ]]; then cat out; exit 1; fi
  says 'metrics.jsonl lacks'
  whole_metrics r 100
  [[ -s r/model.safetensors ]]
}

# No room for the model's file: refused before the first step with both figures, exit 7
case_no_room_for_the_model() {
  text 300 >t.txt
  (ulimit -f 16 && exec "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 5 --run.dir r) >out 2>&1
  status=$?
  expect_status 7
  says 'files are limited to 16 KiB (ulimit -f)'
  says_not 'step 1/5'
  says '(ulimit -f)' r/log.txt
  ends_with 'Nothing is saved: no step was completed' r/log.txt
  no_model r
}

# The disk fills during the run: exit 7, said that nothing is saved, no half file
case_full_disk_at_the_end() {
  text 300 >t.txt
  "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 200 --run.dir r >out 2>&1 &
  local pid=$!
  until [[ -s r/metrics.jsonl ]]; do sleep 0.02; done
  prlimit --fsize=10000:10000 --pid $pid
  wait $pid
  status=$?
  expect_status 7
  says 'Nothing is saved'
  no_model r
  whole_metrics r 1
}

# preload FUNCTION WHERE: a library, ./FUNCTION.so, in which it returns 0 for files whose path has WHERE.
preload() {
  local offset='' pass=''
  if [[ $1 == pwrite* ]]; then offset=', off_t at' pass=', at'; fi
  cat >"$1.c" <<END
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
ssize_t $1(int fd, const void* bytes, size_t size$offset) {
  char link[64], path[4096] = "";
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  if (readlink(link, path, sizeof path - 1) > 0 && strstr(path, "$2")) return 0;
  ssize_t (*next)(int, const void*, size_t$offset) = dlsym(RTLD_NEXT, "$1");
  return next(fd, bytes, size$pass);
}
END
  cc -shared -fPIC -o "$1.so" "$1.c" -ldl || exit 1
}

# A write that takes no byte and gives no reason is an error, no endless loop
case_write_that_returns_0() {
  text 300 >t.txt
  preload write metrics.jsonl
  preload pwrite model.safetensors
  expect 0 env LD_PRELOAD=./write.so "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 5 --run.dir r
  says 'metrics.jsonl: cannot be written: nothing was written; the run continues'
  says 'metrics.jsonl lacks 6 of its records'
  [[ -s r/model.safetensors ]] || exit 1
  expect 7 env LD_PRELOAD=./pwrite.so "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 5 --run.dir s
  says 'Nothing is saved'
  no_model s
}

# The run directory is removed during the run: it is made anew for the weights, exit 0
case_directory_removed() {
  text 300 >t.txt
  "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 300 --run.dir r >out 2>&1 &
  local pid=$!
  until [[ -s r/metrics.jsonl ]]; do sleep 0.02; done
  rm -r r
  wait $pid
  status=$?
  expect_status 0
  says 'r had disappeared and was created again'
  [[ -s r/model.safetensors && -s r/config.ini ]]
}

# The run directory is removed and its place closed: exit 7, which is no usage error, and nothing is saved
case_directory_replaced_by_a_file() {
  text 300 >t.txt
  "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 300 --run.dir r >out 2>&1 &
  local pid=$!
  until [[ -s r/metrics.jsonl ]]; do sleep 0.02; done
  rm -r r && echo >r
  wait $pid
  status=$?
  expect_status 7
  says 'Nothing is saved'
}

# Descriptors 0 to 2 that are closed: the files are those of any other run
case_closed_descriptors() {
  text 300 >t.txt
  "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 5 --run.dir a >&-
  "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 5 --run.dir b <&- >&-
  "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 5 --run.dir c <&- >&- 2>&-
  local run
  for run in a b c; do
    [[ -s $run/model.safetensors ]] || exit 1
    whole_metrics $run 6
    if [[ $(grep -ac 'val loss' $run/events.out.*) != 0 ]]; then exit 1; fi
  done
}

# /dev/full as standard output: the run is complete, and exit 7 says it
case_full_stdout() {
  text 300 >t.txt
  "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 5 --run.dir r >/dev/full 2>out
  status=$?
  expect_status 7
  says 'standard output could not be written: No space left on device. The run is complete'
  [[ $(compgen -G 'r/model*') == r/model.safetensors ]] || exit 1
  ends_with 'The weights are complete in r' r/log.txt
  "$TRIREME" info >/dev/full 2>out
  status=$?
  expect_status 7
}

# A reader of standard output that goes away ends no run
case_reader_goes_away() {
  text 300 >t.txt
  "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 100 --train.log-every 1 --run.dir r 2>err | head -n 1 >/dev/null
  says 'Broken pipe' err
  [[ -s r/model.safetensors ]]
}

# A pipe that nobody reads holds up no signal
case_full_pipe() {
  text 300 >t.txt
  mkfifo pipe
  exec 9<>pipe
  "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 100000000 --train.log-every 1 --run.dir r >pipe 2>out &
  local pid=$!
  local before=-1 now=0
  until ((now >= 4 && now == before)); do # the pipe is full: nothing goes on
    before=$now
    sleep 1
    now=$(grep -c . r/metrics.jsonl 2>/dev/null)
  done
  kill -TERM $pid
  wait $pid
  status=$?
  expect_status 143
  ends_with 'model-unfinished-step-' r/log.txt
}

# A prompt that is no text of the tokenizer's is refused before the first step; the default one is left out
case_prompt_is_tried() {
  printf 'abcdefgh%.0s' {1..40} >letters
  local run=("$TRIREME" train --data.text letters --data.tokenizer char --train.steps 3 --model.layers 1 --model.hidden 32
    --model.heads 2 --train.seq-len 16 --run.threads 1)
  expect 0 "${run[@]}" --run.dir r
  says 'a line break, which is not in it'
  says '--- sample ---'
  expect 2 "${run[@]}" --train.sample-prompt XYZ --run.dir s
  says '--train.sample-prompt'
  [[ ! -e s ]]
}

# More memory than there is, by prediction: refused before it is taken, with options that need less
case_too_large_for_memory() {
  text 300 >t.txt
  expect 7 "$TRIREME" train --data.text t.txt --preset llama3-405b --train.seq-len 64 --run.device cpu --run.dir r
  says 'are predicted to need'
  says '--train.'
  says '--run.check-memory off'
  [[ ! -e r ]]
}

# --run.dir with a folder that cannot be numbered is refused
case_root_as_run_directory() {
  local dir
  for dir in / // . .. ./ ../.. /..; do
    expect 2 "$TRIREME" train --data.text t.txt "${tiny[@]}" --run.dir "$dir"
    says 'choose a new directory'
  done
}

# A token beyond the vocabulary in the middle of a run: exit 3, its place named, the weights of the steps before saved
case_bad_token_in_the_middle() {
  ids_that_are_none_later ids.bin
  expect 3 "$TRIREME" train --data.tokens ids.bin --data.format nanogpt --model.vocab 300 --data.valid-fraction 0 "${tiny[@]}" --train.steps 2000 --run.dir r
  says 'ids.bin'
  says 'The weights after step'
  ends_with 'model-unfinished-step-' r/log.txt
  whole_metrics r 1
}
