# Numbers at the edge of what can be counted, evaluations larger than memory, and what people see.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # in_ci is read by run.sh, tiny comes from support.sh
in_ci+=(eval_batches_overflow products_of_options costs_at_the_edge evaluation_streams config_from_another_folder
  line_fits_the_terminal short_validation_part raw_bytes_of_a_sample validation_before_step_1)

# --train.eval-batches beyond all data evaluates all of it
case_eval_batches_overflow() {
  text 200 >t.txt
  expect 0 "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 1 --run.dir all
  grep 'val loss' all/log.txt >wanted
  local batches
  for batches in 9007199254740992 4503599627370496 1152921504606847 100000; do
    expect 0 "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 1 --train.eval-batches $batches --run.dir r$batches
    grep 'val loss' r$batches/log.txt | cmp - wanted || exit 1
  done
  says_not 'val loss 0.0000'
}

# Options whose products no number holds are refused by name, exit 2, and nothing wraps
case_products_of_options() {
  local dry=("$TRIREME" train --data.text t.txt --dry-run)
  expect 2 "${dry[@]}" --train.steps 9007199254740992 --train.seq-len 1048576 --train.global-batch 4294967296 --train.micro-batch 4096
  says 'train.steps'
  expect 2 "${dry[@]}" --train.micro-batch 16777216 --model.max-positions 268435456 --train.seq-len 268435456
  says 'train.micro-batch'
  expect 2 "${dry[@]}" --model.layers 16384 --model.hidden 1048576 --model.heads 1 --model.ffn 4194304 --moe.experts 16384
  says 'parameters, more than can be counted'
  expect 2 "${dry[@]}" --train.micro-batch 1 --train.global-batch 4294967296
  says '--train.micro-batch 4096'
  expect 2 "${dry[@]}" --parallel.bucket-mib 1e300
  says 'parallel.bucket-mib'
  expect 2 "${dry[@]}" --moe.experts 4 --moe.capacity drop --moe.capacity-factor 1e300
  says 'moe.capacity-factor'
  expect 2 "${dry[@]}" --optimizer.lr 1e300
  says 'optimizer.lr'
  expect 2 "${dry[@]}" --optimizer.eps 1e-60
  says 'optimizer.eps'
  expect 2 "${dry[@]}" --dp 1048576 --tp 4096 # 2^32
  says 'is 4294967296 ranks'
  expect 2 "${dry[@]}" --tp 1048576 --pp 1048576 --cp 1048576
  expect 2 "${dry[@]}" --pp 4096 --parallel.schedule interleaved --parallel.virtual-stages 1048576
  says 'stages; the maximum'
  expect 2 "${dry[@]}" --train.steps 9007199254740993
  expect 2 "${dry[@]}" --train.steps 1e400
}

# Costs of a schedule at the edge of floating point: drawn, or refused with what is allowed
case_costs_at_the_edge() {
  local costs
  for costs in 1e308,1e308,1e308 1e-308,1,1 1,1,1,1e200 nan,1,1 1,inf,1; do
    expect 2 "$TRIREME" schedule --pp 2 --micro-batches 2 --costs $costs
    says '1e-100 to 1e100'
  done
  for costs in 1e100,1e100,1e100 1e-100,1e-100,0 1e100,1e-100,0 1e-100,1e100,1e100,1e100 1,1,0; do
    expect 0 "$TRIREME" schedule --pp 3 --micro-batches 4 --costs $costs --svg out.svg
    says_not nan
    says_not inf
    says_not nan out.svg
  done
}

# An evaluation of 15,000 samples takes no more memory than the prediction, within 10 %
case_evaluation_streams() {
  head -c 300000 /dev/zero | tr '\0' 'a' >t.txt
  expect 0 "$TRIREME" train --data.text t.txt --data.valid-fraction 0.8 --model.layers 1 --model.hidden 32 --model.heads 2 \
    --train.seq-len 16 --train.micro-batch 64 --train.steps 2 --train.log-every 1 --train.sample-tokens 0 --run.threads 1 --run.dir r
  local predicted measured
  predicted=$(sed -n 's/.*predicted \([0-9]*\) KiB per rank.*/\1/p' out)
  measured=$(sed -n 's/.*"mem_bytes":\([0-9]*\),.*/\1/p' r/metrics.jsonl | tail -n 1)
  if ((measured > 1024 * predicted * 11 / 10 || measured == 0)); then
    echo "predicted $predicted KiB, measured $measured bytes"
    exit 1
  fi
}

# An evaluation in any number of pieces has the bits of one rank's: over a pipeline, data ranks and ZeRO 3
case_evaluation_of_layouts() {
  text 300 >t.txt
  local layout=0 options
  for options in '' '--pp 2 --model.layers 2' '--dp 2' '--zero 3'; do
    # shellcheck disable=SC2086
    expect 0 "$MPIRUN" --oversubscribe -np 2 "$TRIREME" train --data.text t.txt "${tiny[@]}" $options --train.global-batch 4 --train.steps 1 --run.dir r$layout
    layout=$((layout + 1))
  done
  [[ $(grep -c 'val loss' r0/log.txt r1/log.txt r2/log.txt r3/log.txt | grep -c ':2$') == 4 ]] || exit 1
  cmp <(grep 'val loss' r2/log.txt) <(grep 'val loss' r3/log.txt)
}

# A terminal sees how far a long evaluation is
case_evaluation_shows_progress() {
  text 60000 >t.txt
  script -qec "timeout -s TERM 6 $TRIREME train --data.text t.txt --model.layers 2 --model.hidden 128 --model.heads 2 --train.seq-len 64 \
    --data.valid-fraction 0.9 --run.threads 1 --run.dir r" /dev/null >out 2>&1
  says 'evaluating: '
}

# config.ini starts the same run from any folder
case_config_from_another_folder() {
  mkdir here there
  cd here || exit 1
  text 100 >t.txt
  expect 0 "$TRIREME" train --data.text ./t.txt --data.tokenizer char "${tiny[@]}" --train.steps 3 --run.dir r
  expect 0 "$TRIREME" train --data.text t.txt --data.tokenizer r/tokenizer.json --model.load r/model.safetensors "${tiny[@]}" --train.steps 3 --run.dir s
  cd ../there || exit 1
  expect 0 "$TRIREME" train --config ../here/r/config.ini --run.dir r
  cmp r/model.safetensors ../here/r/model.safetensors || exit 1
  expect 0 "$TRIREME" train --config ../here/s/config.ini --run.dir s
  cmp s/model.safetensors ../here/s/model.safetensors
}

# The line that rewrites itself fits the terminal, whatever its width, and its first fields stay
case_line_fits_the_terminal() {
  text 100 >t.txt
  local columns
  for columns in 200 80 60 40 20; do
    script -qec "stty cols $columns; $TRIREME train --data.text t.txt ${tiny[*]} --train.steps 20 --run.dir r" /dev/null >out 2>&1
    tr '\r' '\n' <out | sed 's/\x1b\[K//' | grep '^step .*| loss' | grep -v 'val loss' >lines
    awk -v most="$columns" 'length($0) >= most { bad = 1; print } END { exit bad || NR < 20 && most > 20 }' lines || exit 1
  done
}

# A validation part that is too short for a sample is named, with its fraction
case_short_validation_part() {
  printf 'forty characters are not a long text ...' >t.txt
  expect 3 "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 2
  says 'the validation part of t.txt has 4 of its 40 tokens (--data.valid-fraction 0.1)'
  says '--data.valid-fraction 0 (no evaluation)'
  expect 3 "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 2 --data.valid-fraction 0.9
  says 'the training part of t.txt has'
  expect 3 "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.seq-len 64 --data.valid-fraction 0
  says 't.txt (the training data) has 40 tokens'
  expect 0 "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 2 --data.valid-fraction 0.43
}

# Control characters and bytes that are no UTF-8 are shown in samples and messages, never sent to the terminal
case_raw_bytes_of_a_sample() {
  for ((i = 0; i < 300; ++i)); do printf '\x1b[31mred\x1b[0m \x07'; done >t.txt
  expect 0 "$TRIREME" train --data.text t.txt --model.layers 1 --model.hidden 32 --model.heads 2 --train.seq-len 16 --train.steps 60 \
    --optimizer.lr 0.01 --train.sample-tokens 60 --run.threads 1 --run.dir r
  iconv -f utf-8 -t utf-8 r/log.txt >/dev/null || exit 1
  if sed -n '/--- sample ---/,$p' out | grep -q $'[\x01-\x08\x0e-\x1f]'; then exit 1; fi
  expect 2 "$TRIREME" train --data.text t.txt --train.stps $'\x1b[2J'
  if grep -q $'\x1b' out; then exit 1; fi
}

# A message never has more than a line of a file, and of a long line its ends
case_messages_are_short() {
  head -c 3000000 /dev/zero | tr '\0' 'x' >long.ini
  expect 2 "$TRIREME" train --config long.ini
  if (($(wc -c <out) > 3000)); then exit 1; fi
  says 'bytes ...'
  (printf '[model]\nlayers = ' && cat long.ini) >value.ini
  expect 2 "$TRIREME" train --config value.ini
  if (($(wc -c <out) > 5000)); then exit 1; fi
}

# The evaluation before step 1 is in the metrics and in TensorBoard's events
case_validation_before_step_1() {
  text 200 >t.txt
  expect 0 "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 3 --run.dir r
  head -n 1 r/metrics.jsonl | grep -q '^{"step":0,"time":[0-9.e+]*,"tokens":0,"val_loss":[0-9.]*}$' || { head -n 1 r/metrics.jsonl; exit 1; }
  [[ $(grep -aoc 'loss/validation' r/events.out.*) -ge 1 && $(wc -l <r/metrics.jsonl) == 4 ]] || exit 1
  [[ $(grep -ao 'loss/validation' r/events.out.* | wc -l) == 2 ]]
}

# A warm-up that never reaches the rate is refused
case_warmup_of_all_steps() {
  expect 2 "$TRIREME" train --data.text t.txt "${tiny[@]}" --train.steps 10 --optimizer.warmup 10
  says 'optimizer.warmup 10 must be less than train.steps 10'
}

# The banner's line of a pipeline is one line for 126 layers over 112 stages
case_banner_of_many_stages() {
  expect 0 "$TRIREME" train --data.text t.txt --preset llama3-405b --pp 112 --dp 1 --train.global-batch 896 --dry-run
  if (($(grep '^  pipeline' out | wc -c) > 400)); then grep '^  pipeline' out; exit 1; fi
}

# What of a model fits this machine is said before it is trained
case_info_says_what_fits() {
  expect 0 "$TRIREME" info --preset gpt2-3m
  says 'one rank fits up to about'
  expect 0 "$TRIREME" info --preset llama3-405b
  says 'too little for one rank even with'
}
