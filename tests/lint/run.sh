#!/usr/bin/env bash
# Checks layering, formatting, shell scripts, and that headers and sources compile alone. All faults are shown.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

usage() {
  cat <<'END'
Usage: tests/lint/run.sh [--fix] [--all | --base REV] [--draw N] [--build FOLDER] [CHECK...]

Checks: layering, formatting, shell, headers, sources; all of them where none is named. Layering is checked in all files, the
rest in what differs from the commit REV (without --base: from where this branch left main, on main from the last commit that
is two hours older: the night has the rest). Headers, and sources of parallel, models, launch and tests/bench, are compiled alone in the build folder
(build/), those headers too that include one that lost an #include.

  --fix           formats the sources in place first
  --all           checks everything
  --draw N        compiles no more than N of the headers alone, and of the sources, drawn anew at each commit
Exit status: 0 when all is clean, 1 when something is not, 2 for a wrong option.
END
}

fix='' build=build checks=() scope=() drawn=()
while (($#)); do
  case $1 in
    --fix) fix=yes ;;
    --all) scope=(--all) ;;
    --base) scope=(--base "${2:?lint: --base wants a commit}"); shift ;;
    --draw) drawn=(--draw "${2:?lint: --draw wants a number}"); shift ;;
    --build) build=${2:?lint: --build wants a folder}; shift ;;
    layering | formatting | shell | headers | sources) checks+=("$1") ;;
    -h | --help) usage; exit 0 ;;
    *) echo "lint: unknown option or check $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done
if ((${#checks[@]} == 0)); then checks=(layering formatting shell headers sources); fi

# changed PATTERN: the changed files that are there and match, each with a zero byte behind it.
changed() {
  python3 tests/tools/affected.py "${scope[@]}" --files | sed -nE "\\:$1:p" | while IFS= read -r file; do
    if [[ -f $file ]]; then printf '%s\0' "$file"; fi
  done
}
code='^(runtime|parallel|models|cluster|launch|examples|tests)/.*\.(h|cpp|cuh|cu)$'
scripts='(\.sh|\.sbatch|^\.ci/run)$'

# Formatting differs between releases of clang-format: Debian 12's is the measure.
formatter=$(command -v clang-format-14 || command -v clang-format) || {
  echo "lint: clang-format is missing (apt-get install clang-format)" >&2
  exit 1
}
format() { changed "$code" | xargs -0 -r -n 16 -P 2 "$formatter" --style=file "$@"; }
formatting() {
  local complaints
  if ! complaints=$(format --dry-run -Werror 2>&1); then
    echo "lint: these files want formatting (tests/lint/run.sh --fix):"
    sed -n 's/^\([^ :]*\):[0-9]*:[0-9]*: error.*/  \1/p' <<<"$complaints" | sort -u
    return 1
  fi
}

layering() { python3 tests/lint/check_layers.py . tests/lint/rules.txt; }

shell() {
  local checker=(bash -n)
  if command -v shellcheck >/dev/null; then
    checker=(shellcheck -x)
  else
    echo "lint: no shellcheck here, scripts were only parsed"
  fi
  changed "$scripts" | xargs -0 -r -n 1 -P 2 "${checker[@]}"
}

# compile_alone TARGET SELECTED: those objects of a target of tests/lint/CMakeLists.txt that the command SELECTED names, such as
# FOLDER/headers/runtime/base/error.cpp.o for runtime/base/error.h.
compile_alone() {
  local target=$1 objects
  if ! grep -qs '^TRIREME_TESTS:BOOL=ON' "$build/CMakeCache.txt"; then  # no build yet, or the quickstart's
    cmake -S . -B "$build" -G Ninja -DTRIREME_TESTS=ON >/dev/null || return 1
  fi
  if [[ ${scope[*]} == --all ]]; then
    cmake --build "$build" --target "$target" -- --quiet -k 0
    return
  fi
  cmake --build "$build" --target build.ninja -- --quiet || return 1  # files that came or went
  # A toolkit's headers have no object in a build without it.
  mapfile -t objects < <(comm -12 \
    <(ninja -C "$build" -t targets all | sed -n "s/^\\(.*$target\\.dir.*\\.o\\): .*/\\1/p" | sort) \
    <("$2" | sed "s|^|tests/lint/CMakeFiles/$target.dir/|" | sort))
  if ((${#objects[@]})); then cmake --build "$build" --target "${objects[@]}" -- --quiet -k 0; fi
}
changed_headers() {
  python3 tests/tools/affected.py "${scope[@]}" "${drawn[@]}" --headers | sed 's|^|headers/|; s|\.h$|.cpp.o|; s|\.cuh$|.cu.o|'
}
changed_sources() { python3 tests/tools/affected.py "${scope[@]}" "${drawn[@]}" --sources | sed 's|.*|sources/&.o|'; }
headers() { compile_alone headers_alone changed_headers; }
sources() { compile_alone sources_alone changed_sources; }

if [[ $fix ]]; then format -i; fi
failed=()
for check in "${checks[@]}"; do
  if ! "$check"; then failed+=("$check"); fi
done
if ((${#failed[@]})); then
  echo "lint: FAILED: ${failed[*]}"
  exit 1
fi
echo "lint: clean: ${checks[*]}"
