#!/usr/bin/env bash
# lists_programs.sh BUILD: tests/gpu.sh finds the libraries of the programs in a build folder and lists their tests, in an empty
# environment. Where the benchmarks are not built, that alone may be missing.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
build=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# shellcheck source=tests/gpu/programs.sh
source tests/gpu/programs.sh
mkdir "$folder/bin"
for program in "${gpu_programs[@]}"; do
  path=$(find "$build" -maxdepth 3 -name "$program" -type f -perm -100)
  if [[ $path ]]; then ln -s "$path" "$folder/bin/"; fi
done

env -i PATH=/usr/bin:/bin tests/gpu.sh --prebuilt "$folder" --out "$folder/out" --stages list
status=$?
others=$(grep -v '"result": "passed"' "$folder/out/gpu.jsonl" | grep -vc '"cases of training_step_bench", "result": "not run"')
if ((others > 0 || status != 0 && status != 3)); then
  cat "$folder/out/logs.txt"
  exit 1
fi
