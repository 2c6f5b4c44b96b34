#!/usr/bin/env bash
# Proves the CUDA build on a machine with a GPU.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

usage() {
  cat <<'END'
Usage: tests/gpu.sh [--json FILE]

Builds with CUDA in build-gpu/ for the GPU that is there (libraries that are no packages are found through
CMAKE_PREFIX_PATH), runs the conformance suite of the ops on it, then small cases under compute-sanitizer, shows a
table and writes it to FILE (build-gpu/gpu.json). Exit status: 0 when every check passed, 1 when one failed, 3 when
none failed but some could not run; those are shown as "not run", with the reason.
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

# check NAME LIMIT COMMAND...: passed, or failed with the last words of the command.
check() {
  local name=$1 limit=$2 begin=$SECONDS log status
  shift 2
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
program=build-gpu/tests/cuda_tests
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
  printf '\n%-28s %-8s %5s  %s\n' check result s note
  for i in "${!names[@]}"; do
    printf '%-28s %-8s %5d  %s\n' "${names[i]}" "${results[i]}" "${seconds[i]}" "${notes[i]}"
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
  if ((failed)); then exit 1; fi
  if ((missing)); then exit 3; fi
  exit 0
}

mkdir -p build-gpu
layouts="the trainer does not run on CUDA devices yet"
later=("conformance: memory-bound" "conformance: attention" "conformance: products" memcheck racecheck synccheck)
device=$(nvidia-smi --query-gpu=name,compute_cap --format=csv,noheader 2>/dev/null | head -n 1)
if [[ ! $device ]]; then
  for name in configure build "${later[@]}" layouts; do not_run "$name" "nvidia-smi shows no GPU"; done
  finish
fi
architecture=${device##*, }

if ! check configure 60 cmake -S . -B build-gpu -G Ninja -DCMAKE_BUILD_TYPE=Release -DTRIREME_CUDA=ON \
  -DTRIREME_TESTS=ON -DCMAKE_CUDA_ARCHITECTURES="${architecture/./}-real" ||
  ! check build 270 cmake --build build-gpu --target cuda_tests trireme; then
  for name in "${later[@]}" layouts; do not_run "$name" "the build failed"; done
  finish
fi

# Wrong indices end a kernel, and with it this process's use of the GPU: the kernels on the host test them.
outside='*Refuses*Outside*'
small="*RmsNormAndItsGradient*:*GradientAddsToTheTable*:*SumsOfBlocks*:AttentionEdges.BlocksOfKeys*"
suite "conformance: memory-bound" 30 "-*Attention*:*Gemm*:*Linear*:$outside"
suite "conformance: attention" 30 '*Attention*'
suite "conformance: products" 30 '*Gemm*:*Linear*'
for tool in memcheck racecheck synccheck; do
  if command -v compute-sanitizer >/dev/null; then
    suite $tool 40 "$small" compute-sanitizer --tool $tool --error-exitcode 9
  else
    not_run $tool "no compute-sanitizer here"
  fi
done
not_run layouts "$layouts"
finish
