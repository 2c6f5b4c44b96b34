#!/usr/bin/env bash
# Installs, builds, and runs the tests of the CI tier (CONTRIBUTING.md).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

usage() {
  cat <<'END'
Usage: tests/run.sh [--quick] [--changed[=REV]] [-- OPTION-OF-CMAKE...]

Installs the Debian packages that are missing, builds the release preset (with CUDA where the toolkit is) and runs its
tests, then builds the asan and tsan presets and runs what each can see. Sweeps are sampled, and only files that changed are
linted; tests/nightly.sh runs everything.

  --quick             without the sanitizers
  --changed[=REV]     only tests that can see what differs from the commit REV (HEAD) in the working tree
  OPTION-OF-CMAKE     for the release build, such as -DCMAKE_CUDA_ARCHITECTURES=90-real or -DTRIREME_UNITY=ON
END
}

sanitizers=yes changed='' release_options=()
while (($#)); do
  case $1 in
    --quick) sanitizers= ;;
    --changed) changed=HEAD ;;
    --changed=?*) changed=${1#*=} ;;
    --)
      release_options=("${@:2}")
      break ;;
    -h | --help) usage; exit 0 ;;
    *) echo "tests: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done

# shellcheck source=tests/support/steps.sh
source tests/support/steps.sh
export TRIREME_TEST_USAGE=$PWD/build/tests-usage.tsv
mkdir -p build
rm -f "$TRIREME_TEST_USAGE"

# What each build runs, as labels of ctest. Sanitizers look at the rooms where memory and threads are managed.
# Kernels on the host run under asan alone, where there are sanitizers; tests/nightly.sh has them optimized too.
release_labels=(lint runtime cuda_training parallel models launch mpi)
if [[ ! $sanitizers ]]; then release_labels+=(cuda_on_host); fi
asan_labels=(runtime cuda_on_host parallel)
tsan_labels=(runtime parallel)
if [[ $changed ]]; then
  affected=$(python3 tests/tools/affected.py --base "$changed" --labels) || exit 1
  only_affected() { comm -12 <(printf '%s\n' "$@" | sort) <(printf '%s\n' "$affected" | sort); }
  mapfile -t release_labels < <(only_affected "${release_labels[@]}")
  mapfile -t asan_labels < <(only_affected "${asan_labels[@]}")
  mapfile -t tsan_labels < <(only_affected "${tsan_labels[@]}")
  if ((${#release_labels[@]} == 0)); then
    echo "tests: nothing differs from $changed"
    exit 0
  fi
  echo "tests: what differs from $changed is seen by: ${release_labels[*]}"
fi

watch_memory 16
step packages launch/setup.sh build python text tests || exit 1
build_and_test release build "${release_labels[@]}" -- -DTRIREME_PYTHON=AUTO "${release_options[@]}"
if [[ $sanitizers ]]; then
  if ((${#asan_labels[@]})); then build_and_test asan build-asan "${asan_labels[@]}" -- "-DTRIREME_TEST_OBJECTS=$PWD/build"; fi
  if ((${#tsan_labels[@]})); then build_and_test tsan build-tsan "${tsan_labels[@]}" --; fi
fi
step "costs of tests" python3 tests/tools/usage.py "$TRIREME_TEST_USAGE" --limit 20 --fail-beyond 2
summary
echo "left to tests/nightly.sh: whole sweeps and other seeds, the other architectures, whole lint, all rooms under sanitizers, mutations"
exit "$failed"
