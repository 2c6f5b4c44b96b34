#!/usr/bin/env bash
# Installs, builds, and runs every test that this machine can run.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

usage() {
  cat <<'END'
Usage: tests/run.sh [--quick]

Installs the Debian packages that are missing, builds the release preset (with CUDA where the toolkit is), runs
ctest, then builds the asan and tsan presets and runs the tests of the runtime and of ranks as threads under them.

  --quick   without the sanitizers
END
}

sanitizers=yes
for option in "$@"; do
  case $option in
    --quick) sanitizers= ;;
    -h | --help) usage; exit 0 ;;
    *) echo "tests: unknown option $option" >&2; usage >&2; exit 2 ;;
  esac
done

jobs=$(nproc)
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1  # another clone's objects serve here
summary=()
failed=

# step NAME COMMAND...: runs it and keeps its result and time for the summary.
step() {
  local name=$1 begin=$SECONDS result=passed
  shift
  printf '\n== %s\n' "$name"
  "$@" || result=FAILED
  if [[ $result == FAILED ]]; then failed=yes; fi
  summary+=("$(printf '%-8s %s (%d s)' "$result" "$name" $((SECONDS - begin)))")
  [[ $result == passed ]]
}

# configure_and_build PRESET FOLDER CUDA TARGET...
configure_and_build() {
  local preset=$1 folder=$2 cuda=$3
  shift 3
  cmake --preset "$preset" -DTRIREME_TESTS=ON -DTRIREME_CUDA="$cuda" && cmake --build "$folder" --target "$@"
}

# under_sanitizer FOLDER PROGRAM FILTER
under_sanitizer() {
  local program=$1/tests/$2 filter=$3
  if [[ $("$program" --gtest_list_tests --gtest_filter="$filter" | wc -l) -lt 2 ]]; then
    echo "$program has no test that matches $filter" >&2
    return 1
  fi
  OMP_NUM_THREADS=1 TSAN_OPTIONS=suppressions=$PWD/tests/support/tsan_suppressions.txt:halt_on_error=1 \
    "$program" --gtest_brief=1 --gtest_filter="$filter"
}

# What tsan looks at in the runtime: ranks as threads and everything that talks between them. Ops have OpenMP's threads
# alone, which it cannot follow.
communication='ThreadRanks.*:*ThreadsConformance*:*FailureBeside*:*SelfCo*:MeshGroups*'
# Of what is built on it, all but the pure functions of schedules and the measurement of memory; of layouts one precision and
# the first ten that are drawn, which have every strategy: threads meet alike in the others.
strategies='-*Schedule*:ZeroMemory*:*InBf16*:*RandomLayouts*/??'

step packages launch/setup.sh build text tests || exit 1
if step "build release" configure_and_build release build AUTO all; then
  step "ctest" ctest --test-dir build --output-on-failure --no-tests=error -j "$jobs"
fi
if [[ $sanitizers ]]; then
  for sanitizer in asan tsan; do
    runtime_filter='*' parallel_filter='*'
    if [[ $sanitizer == tsan ]]; then runtime_filter=$communication parallel_filter=$strategies; fi
    targets=(runtime_tests parallel_tests)
    if [[ $sanitizer == asan ]]; then targets+=(cuda_on_host_tests); fi
    if step "build $sanitizer" configure_and_build $sanitizer build-$sanitizer OFF "${targets[@]}"; then
      step "$sanitizer runtime" under_sanitizer build-$sanitizer runtime_tests "$runtime_filter"
      step "$sanitizer parallel" under_sanitizer build-$sanitizer parallel_tests "$parallel_filter"
      if [[ $sanitizer == asan ]]; then
        step "asan kernels on the host" under_sanitizer build-asan support/cuda_on_host/cuda_on_host_tests \
          '-Attention.*/f16' # bf16's templates
      fi
    fi
  done
fi

printf '\n== summary\n'
printf '%s\n' "${summary[@]}"
if [[ $failed ]]; then
  echo "tests: FAILED after $SECONDS s"
  exit 1
fi
echo "tests: all passed in $SECONDS s"
