#!/usr/bin/env bash
# Checks layering, headers, formatting and shell scripts. All faults are shown; the exit status says whether there are any.
# Usage: tests/lint/run.sh [--fix] [BUILD-FOLDER]     --fix formats the sources in place; the folder is build/ by default
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

fix=
if [[ ${1:-} == --fix ]]; then
  fix=yes
  shift
fi
build=${1:-build}
failed=()

# sources PATTERN...: the project's files with such names, wherever git or a tarball put them.
sources() {
  local names=() pattern rooms=() room
  for room in runtime parallel models cluster launch tests; do
    if [[ -d $room ]]; then rooms+=("$room"); fi
  done
  for pattern in "$@"; do names+=(-o -name "$pattern"); done
  find "${rooms[@]}" -type f \( "${names[@]:1}" \) -print0 2>/dev/null
}

check() {
  local name=$1
  shift
  if ! "$@"; then failed+=("$name"); fi
}

# Formatting differs between releases of clang-format: Debian 12's is the measure.
formatter=$(command -v clang-format-14 || command -v clang-format) || {
  echo "lint: clang-format is missing (apt-get install clang-format)" >&2
  exit 1
}
format() { sources '*.h' '*.cpp' '*.cuh' '*.cu' | xargs -0 -r -n 16 -P 2 "$formatter" --style=file "$@"; }
formatting() {
  local complaints
  if ! complaints=$(format --dry-run -Werror 2>&1); then
    echo "lint: these files want formatting (tests/lint/run.sh --fix):"
    sed -n 's/^\([^ :]*\):[0-9]*:[0-9]*: error.*/  \1/p' <<<"$complaints" | sort -u
    return 1
  fi
}

shell_scripts() {
  local script status=0
  while IFS= read -r -d '' script; do
    bash -n "$script" || status=1
    if command -v shellcheck >/dev/null; then shellcheck "$script" || status=1; fi
  done < <(sources '*.sh' '*.sbatch'; printf '%s\0' .ci/run)
  command -v shellcheck >/dev/null || echo "lint: no shellcheck here, scripts were only parsed"
  return $status
}

headers() {
  if ! grep -qs '^TRIREME_TESTS:BOOL=ON' "$build/CMakeCache.txt"; then  # no build yet, or the quickstart's
    cmake -S . -B "$build" -G Ninja -DTRIREME_TESTS=ON >/dev/null || return 1
  fi
  cmake --build "$build" --target headers_alone -- --quiet
}

if [[ $fix ]]; then format -i; fi
check layering python3 tests/lint/check_layers.py . tests/lint/rules.txt
check formatting formatting
check shell shell_scripts
check headers headers

if ((${#failed[@]})); then
  echo "lint: FAILED: ${failed[*]}"
  exit 1
fi
echo "lint: layering, formatting, shell scripts and headers are clean"
