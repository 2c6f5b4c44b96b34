#!/usr/bin/env bash
# Proves the CUDA build on a machine with a GPU.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

usage() {
  cat <<'END'
Usage: tests/gpu.sh [--json FILE]

Builds with CUDA in build-gpu/ for the GPU that is there (libraries that are no packages are found through
CMAKE_PREFIX_PATH). Runs on it the conformance suites of ops and communicators, golden models and layouts of ranks that
share the GPU, small cases under compute-sanitizer, and the benchmarks, beside PyTorch where python3 has it. Shows a table
and writes it to FILE (build-gpu/gpu.json). Takes less than 9 minutes. Exit status: 0 when every check passed, 1 when one
failed, 3 when none failed but some could not run; those are shown as "not run", with the reason.
END
}

json=build-gpu/gpu.json
while (($#)); do
  case $1 in
    --json) json=${2:?--json wants a file}; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "gpu: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done

names=() results=() seconds=() notes=()
record() { names+=("$1") results+=("$2") seconds+=("$3") notes+=("$4"); }

# check NAME LIMIT COMMAND...: passed, or failed with the last words of the command. What has no time left does not run.
whole=525
check() {
  local name=$1 limit=$2 begin=$SECONDS log status left=$((whole - SECONDS))
  shift 2
  if ((left < 5)); then
    not_run "$name" "no time left of $whole s"
    return 1
  fi
  if ((limit > left)); then limit=$left; fi
  log=build-gpu/${name//[^a-z0-9]/_}.log
  timeout "$limit" "$@" >"$log" 2>&1
  status=$?
  if ((status == 0)); then
    record "$name" passed $((SECONDS - begin)) ""
  elif ((status == 124)); then
    record "$name" FAILED $((SECONDS - begin)) "not done after $limit s; see $log"
  else
    record "$name" FAILED $((SECONDS - begin)) "exit $status; see $log"
    tail -n 15 "$log"
  fi
  return $status
}
not_run() { record "$1" "not run" 0 "$2"; }

# suite NAME LIMIT FILTER [RUNNER...]: a check of the tests that match; a filter that matches none is no pass.
# For ranks that share the GPU: NCCL takes them for a fault unless they seem to be on different hosts.
# shellcheck disable=SC2016
as_rank=(bash -c 'NCCL_HOSTID=rank$OMPI_COMM_WORLD_RANK exec "$@"' _)
ranks=(mpirun --oversubscribe --bind-to none -np)
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1 NCCL_SOCKET_IFNAME=lo

tests=build-gpu/tests
program=$tests/cuda_tests
suite() {
  local name=$1 limit=$2 filter=$3
  shift 3
  if [[ $("$program" --gtest_list_tests --gtest_filter="$filter" | wc -l) -lt 2 ]]; then
    record "$name" FAILED 0 "no test matches $filter"
    return
  fi
  check "$name" "$limit" "$@" "$program" --gtest_brief=1 --gtest_filter="$filter"
}

finish() {
  local i failed=0 missing=0 rows=()
  printf '\n%-32s %-8s %5s  %s\n' check result s note
  for i in "${!names[@]}"; do
    printf '%-32s %-8s %5d  %s\n' "${names[i]}" "${results[i]}" "${seconds[i]}" "${notes[i]}"
    rows+=("{\"check\": \"${names[i]}\", \"result\": \"${results[i]}\", \"seconds\": ${seconds[i]}, \"note\": \"${notes[i]//\"/\'}\"}")
    case ${results[i]} in
      FAILED) failed=1 ;;
      "not run") missing=1 ;;
    esac
  done
  mkdir -p "$(dirname "$json")"
  {
    printf '{"device": "%s", "commit": "%s", "checks": [\n  ' "${device:-none}" "$(git rev-parse HEAD 2>/dev/null || echo unknown)"
    (IFS=$'\x01'; printf '%s' "${rows[*]}" | sed 's/\x01/,\n  /g')
    printf '\n]}\n'
  } >"$json"
  if compgen -G 'build-gpu/step-*.json' >/dev/null && command -v python3 >/dev/null; then
    python3 tests/bench/peers/compare.py "$json" build-gpu
  fi
  if ((failed)); then exit 1; fi
  if ((missing)); then exit 3; fi
  exit 0
}

mkdir -p build-gpu
rm -f build-gpu/{step-*,account-*,peer,collectives-*}.json
step_cases=(gpt2_124m_16x1024 gpt2_124m_16x1024_graph gpt2_1.5b_4x1024 llama3_1b_4x2048)
of_one_rank=("conformance: memory-bound" "conformance: attention" "conformance: products" "golden and layouts: threads"
  memcheck racecheck synccheck "${step_cases[@]/#/bench: }" "bench: PyTorch")
of_ranks=("communicator: mpi, 4 ranks" "communicator: nccl, 2 ranks" "communicator: nccl, 4 ranks" "layouts: 2 ranks"
  "layouts: 4 ranks" "layouts: 8 ranks" "train: 2 ranks" "bench: collectives, mpi" "bench: collectives, nccl")
later=("${of_one_rank[@]}" "${of_ranks[@]}")
device=$(nvidia-smi --query-gpu=name,compute_cap --format=csv,noheader 2>/dev/null | head -n 1)
if [[ ! $device ]]; then
  for name in configure build "${later[@]}"; do not_run "$name" "nvidia-smi shows no GPU"; done
  finish
fi
architecture=${device##*, }

if ! check configure 60 cmake -S . -B build-gpu -G Ninja -DCMAKE_BUILD_TYPE=Release -DTRIREME_CUDA=ON \
  -DTRIREME_TESTS=ON -DTRIREME_BENCH=ON -DCMAKE_CUDA_ARCHITECTURES="${architecture/./}-real" ||
  ! check build 270 cmake --build build-gpu --target trireme cuda_tests cuda_training_tests cuda_communicator_mpi \
    cuda_communicator_nccl cuda_layouts_mpi training_step_bench; then
  for name in "${later[@]}"; do not_run "$name" "the build failed"; done
  finish
fi

# Wrong indices end a kernel, and with it this process's use of the GPU: the kernels on the host test them.
outside='*Refuses*Outside*'
small="*RmsNormAndItsGradient*:*GradientAddsToTheTable*:*SumsOfBlocks*:AttentionEdges.BlocksOfKeys*"
suite "conformance: memory-bound" 30 "-*Attention*:*Gemm*:*Linear*:$outside"
suite "conformance: attention" 30 '*Attention*'
suite "conformance: products" 30 '*Gemm*:*Linear*'
check "golden and layouts: threads" 80 "$tests/cuda_training_tests" --gtest_brief=1

if command -v mpirun >/dev/null; then
  check "communicator: mpi, 4 ranks" 30 "${ranks[@]}" 4 "${as_rank[@]}" "$tests/cuda_communicator_mpi" --gtest_brief=1
  for n in 2 4; do
    check "communicator: nccl, $n ranks" 80 "${ranks[@]}" $n "${as_rank[@]}" "$tests/cuda_communicator_nccl" --gtest_brief=1
  done
  # Processes take turns on the GPU: of many ranks one family is enough.
  for n_family in '2/*' 4/gpt2 8/llama; do
    n=${n_family%/*}
    check "layouts: $n ranks" 70 "${ranks[@]}" "$n" "${as_rank[@]}" "$tests/cuda_layouts_mpi" --gtest_brief=1 \
      --gtest_filter="*/${n_family#*/}"
  done
  head -c 200000 docs/*.md >build-gpu/text.txt
  check "train: 2 ranks" 30 "${ranks[@]}" 2 "${as_rank[@]}" build-gpu/trireme train --data.text build-gpu/text.txt --model.preset llama-tiny \
    --train.steps 20 --train.precision bf16 --run.device cuda --run.share-device --run.dir build-gpu/run
  for backend in mpi nccl; do
    check "bench: collectives, $backend" 30 "${ranks[@]}" 2 "${as_rank[@]}" build-gpu/trireme bench collectives --device cuda --share-device \
      --backend $backend --json build-gpu/collectives-$backend.json
  done
else
  for name in "${of_ranks[@]}"; do not_run "$name" "no mpirun here"; done
fi

for case in "${step_cases[@]}"; do  # one after the other: what one leaves is there if the next fails
  check "bench: $case" 40 build-gpu/tests/bench/training_step_bench --device=cuda --peak_tflops="${PEAK_TFLOPS:-989}" \
    --benchmark_filter="^$case/" --benchmark_out="build-gpu/step-$case.json" --benchmark_out_format=json \
    --account="build-gpu/account-$case.json"
done
if python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
  check "bench: PyTorch" 150 python3 tests/bench/peers/pytorch_step.py --json build-gpu/peer.json
else
  not_run "bench: PyTorch" "python3 has no PyTorch with CUDA"
fi

for tool in memcheck racecheck synccheck; do
  if command -v compute-sanitizer >/dev/null; then
    suite $tool 40 "$small" compute-sanitizer --tool $tool --error-exitcode 9
  else
    not_run $tool "no compute-sanitizer here"
  fi
done
finish
