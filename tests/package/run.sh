#!/usr/bin/env bash
# Installs a build into an empty folder, builds the examples against what it finds there and runs them on 1 to 4 ranks; then takes
# the source tree as a part of another project.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

usage() {
  cat <<'END'
Usage: tests/package/run.sh [--whole | installed | parent] BUILD MPIRUN [COMPILER]

BUILD is a folder in which all is built, MPIRUN what starts ranks, COMPILER what examples are built with (c++).
  --whole              builds all of Trireme as a part of another project; without, only what such a project compiles itself
  installed, parent    one half alone: the installed package, or the part of another project
END
}
whole='' half=''
case ${1-} in
  --whole) whole=yes; shift ;;
  installed | parent) half=$1; shift ;;
esac
if (($# < 2 || $# > 3)); then usage >&2; exit 2; fi
build=$1 mpirun=$2 compiler=${3:-c++}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

fail() { echo "package: $*" >&2; exit 1; }
# is_near A B: as numbers, up to what layouts may differ by.
is_near() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a != "" && b != "" && (a - b) ^ 2 <= 1e-10 * b ^ 2) }'; }
ranks() { "$mpirun" --oversubscribe -np "$@"; }
quietly() { "$@" >"$folder/log" 2>&1 || { cat "$folder/log"; fail "failed: $*"; }; }

check_installed() {
  quietly cmake --install "$build" --prefix "$folder/root"
  quietly cmake -S examples -B "$folder/examples" -G Ninja -DCMAKE_PREFIX_PATH="$folder/root" -DCMAKE_CXX_COMPILER="$compiler" \
    -DCMAKE_CXX_FLAGS="-O1 -Wall -Wextra -Werror"
  quietly cmake --build "$folder/examples"
  quietly "$folder/root/bin/trireme" info

  losses=$(ranks 2 "$folder/examples/own_layer" | awk '{ print $NF }')
  first=$(head -n 1 <<<"$losses") last=$(tail -n 1 <<<"$losses")
  awk -v a="$first" -v b="$last" 'BEGIN { exit !(a > 10 && b < 0.01) }' || fail "own_layer: from $first to $last"

  one=$("$folder/examples/own_family" | awk '{ print $NF }')
  awk -v a="$one" 'BEGIN { exit !(a > 0 && a < 2) }' || fail "own_family: $one"
  num=0
  while read -r loss; do
    is_near "$loss" "$one" || fail "own_family: $loss on 4 ranks, $one on one"
    num=$((num + 1))
  done < <(ranks 4 "$folder/examples/own_family" | awk '{ print $NF }')
  ((num == 3)) || fail "own_family: $num layouts on 4 ranks"

  hinge=$("$folder/examples/own_objective" | awk '{ print $NF }')
  awk -v a="$hinge" 'BEGIN { exit !(a > 0 && a < 20) }' || fail "own_objective: $hinge, where it begins at about 60"
  num=0
  while read -r loss; do
    is_near "$loss" "$hinge" || fail "own_objective: $loss on 2 ranks, $hinge on one"
    num=$((num + 1))
  done < <(ranks 2 "$folder/examples/own_objective" | awk '{ print $NF }')
  ((num == 2)) || fail "own_objective: $num layouts on 2 ranks"

  quietly "$folder/root/bin/trireme" train --data.text README.md --model.layers 2 --model.hidden 32 --model.heads 2 \
    --train.seq-len 32 --train.micro-batch 4 --train.global-batch 8 --train.steps 3 --train.sample-tokens 0 --run.dir "$folder/run"
  trained=$(sed -n 's/.*"val_loss":\([0-9.]*\).*/\1/p' "$folder/run/metrics.jsonl" | tail -n 1)
  for layout in "1" "2" "2 --tp 2"; do
    read -r -a words <<<"$layout"
    loss=$(ranks "${words[0]}" "$folder/examples/evaluate_run" "$folder/run" "${words[@]:1}" | sed -n 's/.*loss \([0-9.]*\).*/\1/p')
    is_near "$loss" "$trained" || fail "evaluate_run on $layout: $loss, in training $trained"
  done

  # The module for Python, where the build installs it; it has no part in the compiler.
  if grep -q python/trireme "$build/cmake_install.cmake" && [[ $compiler != *clang* ]]; then
    [[ -d $folder/root/lib/python/trireme ]] || fail "the module for Python is not in lib/python"
    python=$(sed -n 's/^python_executable:INTERNAL=//p' "$build/CMakeCache.txt")
    cp -r examples/python README.md "$folder/"
    (cd "$folder" && PYTHONPATH=$folder/root/lib/python quietly "$python" python/train.py README.md --steps 3 &&
      PYTHONPATH=$folder/root/lib/python quietly "$python" python/read_run.py runs/*) || fail "the module for Python"
  fi
}

check_parent() {
  mkdir "$folder/parent"
  cat >"$folder/parent/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.25)
project(parent LANGUAGES C CXX)
add_subdirectory($PWD trireme)
add_subdirectory($PWD/examples examples)
if(CMAKE_BUILD_TYPE OR CMAKE_EXPORT_COMPILE_COMMANDS)
  message(FATAL_ERROR "settings of the parent have changed")
endif()
END
  quietly cmake -S "$folder/parent" -B "$folder/parent/build" -G Ninja -DCMAKE_CXX_COMPILER="$compiler" \
    -DTRIREME_CUDA=OFF -DTRIREME_UNITY=ON
  if [[ $whole ]]; then
    quietly cmake --build "$folder/parent/build" --target own_family
    loss=$("$folder/parent/build/examples/own_family" | awk '{ print $NF }')
    is_near "$loss" "$one" || fail "own_family in another project: $loss, $one"
  else
    quietly cmake --build "$folder/parent/build" --target examples/CMakeFiles/own_family.dir/own_family.cpp.o
  fi
}

if [[ $half != parent ]]; then check_installed; fi
if [[ $half != installed ]]; then check_parent; fi
echo "package: ${half:-installed, and part of another project}, by $compiler"
