# Steps of a test run and their summary; sourced by tests/run.sh and tests/nightly.sh.
# shellcheck shell=bash

jobs=$(nproc)
steps=()
failed=0

# step NAME COMMAND...: runs it and keeps its result and time for the summary.
step() {
  local name=$1 begin=$SECONDS result=passed
  shift
  printf '\n== %s\n' "$name"
  "$@" || result=FAILED
  if [[ $result == FAILED ]]; then failed=1; fi
  steps+=("$(printf '%-8s %s (%d s)' "$result" "$name" $((SECONDS - begin)))")
  [[ $result == passed ]]
}

# build_and_test PRESET FOLDER LABEL... -- OPTION-OF-CMAKE...: builds what the labels' tests need, and runs them.
build_and_test() {
  local preset=$1 folder=$2 labels=()
  shift 2
  while [[ $1 != -- ]]; do
    labels+=("$1")
    shift
  done
  shift
  # shellcheck disable=SC2317 # called by step
  build() {
    cmake --preset "$preset" -B "$folder" -DTRIREME_TESTS=ON "$@" &&
      cmake --build "$folder" --target "${labels[@]/#/tests_of_}"
  }
  if step "build $preset" build "$@"; then
    # One more than processors: tests also wait, for files, signals and each other's ranks.
    step "test $preset" ctest --test-dir "$folder" --output-on-failure --no-tests=error -j $((jobs + 1)) \
      -L "^($(IFS='|'; echo "${labels[*]}"))\$"
  fi
}

# watch_memory LIMIT: from now on notes how many GiB this shell and all below it use, every two seconds.
watch_memory() {
  memory_limit=$1
  memory_file=$(mktemp)
  (
    while sleep 2; do
      ps -e -o pid=,ppid=,rss= | awk -v root=$$ '
        { parent[$1] = $2; rss[$1] = $3 }
        END {
          for (p in rss) { q = p; while (q in parent && q != root && q != 0) q = parent[q]; if (q == root) sum += rss[p] }
          printf "%.2f\n", sum / 1048576
        }'
    done >>"$memory_file"
  ) &
  memory_watcher=$!
  trap 'kill $memory_watcher 2>/dev/null; rm -f "$memory_file"' EXIT
}

# summary: what passed and failed; sets failed where memory went beyond its limit.
summary() {
  local peak
  printf '\n== summary\n'
  printf '%s\n' "${steps[@]}"
  peak=$(sort -n "$memory_file" | tail -n 1)
  echo "memory of all processes: at most ${peak:-0} GiB"
  if awk -v peak="${peak:-0}" -v limit="$memory_limit" 'BEGIN { exit !(peak > limit) }'; then
    echo "tests: more than $memory_limit GiB of memory"
    failed=1
  fi
  if ((failed)); then echo "tests: FAILED after $SECONDS s"; else echo "tests: all passed in $SECONDS s"; fi
}
