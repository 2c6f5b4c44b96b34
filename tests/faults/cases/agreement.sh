# Ranks that disagree, and faults on one rank. Sourced by tests/faults/run.sh.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153,SC2154,SC2317 # in_ci is read by run.sh, which has TRIREME and MPIRUN; the cases are called by name
in_ci+=(ranks_differ_in_token_files usage_error_on_one_rank fault_of_one_rank_in_the_middle files_of_two_tokenizers)
program=$TRIREME mpirun=$MPIRUN

# A text, token files, and the options of a tiny run.
agreement_begin() {
  local i
  for ((i = 0; i < 120; ++i)); do echo "Line $i of a text that a small model learns by heart, again and again."; done >text.txt
  agreement_tiny=(--model.layers 2 --model.hidden 32 --model.heads 2 --train.seq-len 32 --train.steps 3 --train.micro-batch 2
    --train.global-batch 8 --train.sample-tokens 0 --run.threads 1 --run.dir run)
}
agreement_say() { echo "FAILED: $*: $(head -c 2000 out 2>/dev/null)" >&2; }

# agreement_pair 'ARGUMENTS OF RANK 0' 'ARGUMENTS OF RANK 1': a job of two, of agreement_limit (40) seconds at most; its output is in
# out, its exit code in status.
agreement_pair() {
  local first second begin=$EPOCHREALTIME
  read -ra first <<<"$1"
  read -ra second <<<"$2"
  timeout -k 2 "${agreement_limit:-40}" "$mpirun" --oversubscribe --bind-to none -np 1 "$program" "${first[@]}" : -np 1 "$program" "${second[@]}" >out 2>&1 </dev/null
  status=$?
  milliseconds=$(((${EPOCHREALTIME/./} - ${begin/./}) / 1000))
}

# agreement_refused CODE 'WORDS' 'OPTIONS OF BOTH' 'MORE OF RANK 0' 'MORE OF RANK 1': with the code and words, and in time. What the
# start of two processes takes on a busy machine is allowed for.
agreement_refused() {
  agreement_pair "train ${agreement_tiny[*]} $3 $4" "train ${agreement_tiny[*]} $3 $5"
  [[ $status == "$1" ]] || { agreement_say "exit code $status, expected $1, for '$4' beside '$5'"; return 1; }
  grep -qF -- "$2" out || { agreement_say "no '$2' for '$4' beside '$5'"; return 1; }
  ((milliseconds < 12000)) || { agreement_say "took $milliseconds ms for '$4' beside '$5'"; return 1; }
  [[ $(grep -c 'trireme: error' out) == 1 ]] || { agreement_say "not one error line for '$4' beside '$5'"; return 1; }
}

# Numbers of the configuration that differ among ranks are refused by name, with both values.
case_ranks_differ_in_numbers() {
  agreement_begin || return
  local t='--data.text text.txt'
  agreement_refused 2 "train.seed: 1337 on rank 0 (host $(uname -n))" "$t" '' '--train.seed 5' &&
    agreement_refused 2 'optimizer.lr: 0.1 on rank 0' "$t" '--optimizer.lr 0.1' '' &&
    agreement_refused 2 'optimizer.clip' "$t" '' '--optimizer.clip 0.01' &&
    agreement_refused 2 'train.precision' "$t" '' '--train.precision bf16'
}

# Sizes of the model that differ are refused before any message is written.
case_ranks_differ_in_sizes() {
  agreement_begin || return
  local t='--data.text text.txt'
  agreement_refused 2 'model.layers: 2 on rank 0' "$t" '' '--model.layers 3' &&
    agreement_refused 2 'model.hidden' "$t" '' '--model.hidden 64' &&
    agreement_refused 2 'train.steps' "$t" '' '--train.steps 4' &&
    agreement_refused 2 'parallel.zero' "$t" '' '--zero 2' &&
    agreement_refused 2 'parallel.bucket-mib' "$t" '' '--parallel.bucket-mib 0.01'
}

# Layouts that differ are refused.
case_ranks_differ_in_layout() {
  agreement_begin || return
  local t='--data.text text.txt --train.micro-batch 1'
  agreement_refused 2 'parallel.tensor' "$t" '--tp 2' '--pp 2' &&
    agreement_refused 2 'parallel.context' "$t" '' '--cp 2' &&
    agreement_refused 2 'parallel.schedule' "$t --pp 2" '--parallel.schedule gpipe' '--parallel.schedule 1f1b'
}

# Schedule files of one name and other content are refused.
case_ranks_differ_in_schedule_files() {
  agreement_begin || return
  printf 'F0 F1 B0 F2 B1 F3 B2 B3\nF0 B0 F1 B1 F2 B2 F3 B3\n' >s1.txt
  printf 'F1 F0 F3 F2 B1 B0 B3 B2\nF1 F0 B1 B0 F3 F2 B3 B2\n' >s4.txt
  cp s1.txt copy.txt
  local t='--data.text text.txt --pp 2'
  agreement_refused 2 's4.txt' "$t" '--parallel.schedule s1.txt' '--parallel.schedule s4.txt' || return
  agreement_pair "train ${agreement_tiny[*]} $t --parallel.schedule s1.txt" "train ${agreement_tiny[*]} $t --parallel.schedule copy.txt"
  [[ $status == 0 ]] || { agreement_say "a copy under another name: exit code $status"; return 1; }
}

# Token files of one name and other content are refused.
case_ranks_differ_in_token_files() {
  agreement_begin || return
  "$program" data build text.txt --out a >out 2>&1 && cp -r a b && sed 's/small/large/' text.txt >other.txt || return 1
  "$program" data build other.txt --out c >out 2>&1 || return 1
  printf '\x01' | dd of=b/train.tok bs=1 seek=4000 conv=notrunc status=none
  agreement_refused 2 'b/train.tok' '' '--data.tokens a/train.tok' '--data.tokens b/train.tok' &&
    agreement_refused 2 'c/train.tok' '' '--data.tokens a/train.tok' '--data.tokens c/train.tok' &&
    agreement_refused 2 'data.valid-tokens' '--data.tokens a/train.tok' '--data.valid-tokens a/validation.tok' \
      '--data.valid-tokens c/validation.tok' &&
    agreement_refused 2 'No such file' '' '--data.tokens a/train.tok' '--data.tokens none.tok'
}

# Weights of one name and other content are refused.
case_ranks_differ_in_weights() {
  agreement_begin || return
  local t='--data.text text.txt'
  "$program" train "${agreement_tiny[@]}" --data.text text.txt --run.dir one >out 2>&1 || { agreement_say 'first run'; return 1; }
  "$program" train "${agreement_tiny[@]}" --data.text text.txt --run.dir two --train.seed 2 >out 2>&1 || return 1
  agreement_refused 2 'model.init-from' "$t" '--model.load one/model.safetensors' '--model.load two/model.safetensors' &&
    agreement_refused 2 'model.init-from' "$t" '--model.load one/model.safetensors' ''
}

# Text is read by rank 0: others need none, but theirs must be the same.
case_text_that_only_rank_0_has() {
  agreement_begin || return
  agreement_pair "train ${agreement_tiny[*]} --data.text text.txt" "train ${agreement_tiny[*]} --data.text on-another-host.txt --run.dir x"
  [[ $status == 0 ]] || { agreement_say "exit code $status"; return 1; }
  sed 's/small/large/' text.txt >other.txt
  agreement_refused 2 'data.text' '' '--data.text text.txt' '--data.text other.txt'
}

# Run directory, threads and paths of the same content may differ.
case_what_may_differ() {
  agreement_begin || return
  mkdir copy && cp text.txt copy/
  agreement_pair "train ${agreement_tiny[*]} --data.text text.txt --run.threads 2" "train ${agreement_tiny[*]} --data.text copy/text.txt --run.dir elsewhere"
  [[ $status == 0 && -e run/model.safetensors && ! -e elsewhere ]] || { agreement_say "exit code $status"; return 1; }
}

# Ranks with different commands are told so.
case_ranks_run_different_commands() {
  agreement_begin || return
  local t="train ${agreement_tiny[*]} --data.text text.txt" other
  for other in 'bench collectives' info "$t --dry-run" --help '--version'; do
    agreement_pair "$t" "$other"
    [[ $status == 2 ]] || { agreement_say "exit code $status beside '$other'"; return 1; }
    grep -q 'started differently' out || { agreement_say "not told beside '$other'"; return 1; }
  done
}

# A usage error on one rank reaches the screen, with exit code 2.
case_usage_error_on_one_rank() {
  agreement_begin || return
  local t='--data.text text.txt' rank
  for rank in 0 1; do
    local with=(--config\ /nonexistent.ini '')
    agreement_refused 2 "rank $rank: --config /nonexistent.ini: cannot be read" "$t" "${with[rank]}" "${with[1 - rank]}" || return
    with=(--train.stps\ 3 '')
    agreement_refused 2 "rank $rank: command line: --train.stps is not an option" "$t" "${with[rank]}" "${with[1 - rank]}" || return
  done
}

# Both are told, not the first alone; and what befell all is told once.
case_usage_errors_of_all_ranks() {
  agreement_begin || return
  agreement_pair "train ${agreement_tiny[*]} --data.text text.txt --train.stps 3" "train ${agreement_tiny[*]} --data.text text.txt --model.layrs 3"
  [[ $status == 2 ]] || { agreement_say "exit code $status"; return 1; }
  if ! grep -q 'rank 0: .*train.stps' out || ! grep -q 'rank 1: .*model.layrs' out; then
    agreement_say 'one is lost'
    return 1
  fi
  agreement_refused 2 'trireme: error: command line: --train.stps is not an option' '--data.text text.txt --train.stps 3' '' '' &&
    agreement_refused 2 'trireme: error: --model.vocab 5 is smaller' '--data.text text.txt --model.vocab 5' '' ''
}

# One rank meets an id that is none: while the others train, it is told on the screen and in log.txt.
case_fault_of_one_rank_in_the_middle() {
  local agreement_limit=100 # seconds of steps on a busy machine
  agreement_begin || return
  ids_that_are_none_later ids.bin
  local t='--data.tokens ids.bin --data.format nanogpt --model.vocab 256 --data.valid-fraction 0 --train.steps 2000 --train.log-every 500'
  agreement_pair "train ${agreement_tiny[*]} $t" "train ${agreement_tiny[*]} $t"
  [[ $status == 3 ]] || { agreement_say "exit code $status"; return 1; }
  grep -q 'trireme: error: rank [01]: .*65535' out || { agreement_say 'not on the screen'; return 1; }
  tail -n 2 run/log.txt | grep -q 'trireme: error: rank [01]: .*65535' || { agreement_say "not in log.txt: $(cat run/log.txt)"; return 1; }
}
limit_fault_of_one_rank_in_the_middle=120

# A run directory that cannot be made anew is exit code 7, not 2.
case_run_directory_that_disappears() {
  agreement_begin || return
  local t="train ${agreement_tiny[*]} --data.text text.txt --train.steps 400 --train.log-every 1000 --data.valid-fraction 0.01"
  (until [[ -s run/metrics.jsonl ]]; do sleep 0.02; done; rm -r run; echo "no folder" >run) &
  agreement_pair "$t" "$t"
  wait
  [[ $status == 7 ]] || { agreement_say "exit code $status"; return 1; }
  grep -q 'trireme: error: .*run' out || { agreement_say 'not told'; return 1; }
}

# What is printed is lost, what is stored is not, and the exit code and log.txt say so.
case_full_standard_output() {
  agreement_begin || return
  "$program" train "${agreement_tiny[@]}" --data.text text.txt >/dev/full 2>out
  status=$?
  if [[ $status != 7 ]] || ! grep -q 'standard output could not be written' out || ! grep -q 'standard output' run/log.txt ||
    [[ ! -s run/model.safetensors ]]; then
    agreement_say "exit code $status"
    return 1
  fi
}

# agreement_alone CODE 'WORDS' ARGUMENT...: one rank ends with the code and words.
agreement_alone() {
  local code=$1 words=$2
  shift 2
  "$program" "$@" >out 2>&1
  status=$?
  if [[ $status != "$code" ]] || ! grep -qF -- "$words" out; then
    agreement_say "exit code $status or no '$words' for '$*'"
    return 1
  fi
}

# Files that two tokenizers made are refused together.
case_files_of_two_tokenizers() {
  agreement_begin || return
  tr '[:lower:]' '[:upper:]' <text.txt >upper.txt
  local char=(train "${agreement_tiny[@]}" --data.tokenizer char)
  agreement_alone 0 'train.tok' data build text.txt --out bytes &&
    agreement_alone 0 'train.tok' data build text.txt --out chars --tokenizer char &&
    agreement_alone 3 'were made with different tokenizers' \
      train "${agreement_tiny[@]}" --data.tokens bytes/train.tok --data.valid-tokens chars/validation.tok &&
    agreement_alone 0 'files in one' "${char[@]}" --model.vocab 100 --data.text text.txt --run.dir one &&
    agreement_alone 0 'files in more' "${char[@]}" --model.vocab 100 --data.text text.txt --model.load one/model.safetensors --run.dir more &&
    agreement_alone 3 'was trained with the tokenizer' \
      "${char[@]}" --model.vocab 100 --data.text upper.txt --model.load one/model.safetensors
}

# A build leaves no file of an earlier one.
case_build_beside_files_of_an_earlier_one() {
  agreement_begin || return
  sed 's/small/large/' text.txt >other.txt
  agreement_alone 0 'validation.tok' data build text.txt --out made &&
    agreement_alone 0 'of an earlier build was removed' data build other.txt --out made --valid-fraction 0 || return
  if [[ -e made/validation.tok ]]; then
    agreement_say 'a stale validation.tok'
    return 1
  fi
}
