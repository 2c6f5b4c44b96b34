#!/usr/bin/env bash
# Faults around the program, each with what is promised to happen then (docs/reliability.md), and a table of them.
# Usage: tests/faults/run.sh PROGRAM MPIRUN [--all | --ci FILE | NAME...]     without names: the short set of CI; FILE: of one file
#
# A case is a function case_NAME in a file of cases/, with its promise in the comment line above it, that succeeds when the
# program ($TRIREME, with $MPIRUN) behaves. It runs in a shell and an empty folder of its own and ends within 60 s, or within
# limit_NAME seconds where its file sets that. A file adds the names of its cases for CI to `in_ci`.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if (($# < 2)); then
  sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
TRIREME=$(realpath "$1") MPIRUN=$2
shift 2
export TRIREME MPIRUN OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo

declare -A ci_of
# shellcheck source=tests/faults/support.sh
source "$here/support.sh"
for file in "$here"/cases/*.sh; do
  in_ci=()
  # shellcheck source=/dev/null
  source "$file"
  ci_of[$(basename "$file" .sh)]=${in_ci[*]}
done

if [[ ${1:-} == --one ]]; then
  "case_$2"
  exit
fi

mapfile -t known < <(declare -F | sed -n 's/^declare -f case_//p')
case ${1:-} in
  '') read -ra names <<<"${ci_of[*]}" ;;
  --ci) read -ra names <<<"${ci_of[${2:-}]:-}" ;;
  --all) names=("${known[@]}") ;;
  *) names=("$@") ;;
esac

if ((${#names[@]} == 0)); then
  echo "faults: no case to run: $*" >&2
  exit 2
fi

# promise_of NAME: the comment line above the case.
promise_of() {
  awk -v name="case_$1() {" 'index($0, name) == 1 { if (sub(/^# */, "", before)) print before; exit } { before = $0 }' "$here"/cases/*.sh
}

failed=0 rows=()
for name in "${names[@]}"; do
  if ! declare -F "case_$name" >/dev/null; then
    echo "faults: no case is called $name; there are: ${known[*]}" >&2
    exit 2
  fi
  folder=$(mktemp -d) begin=$SECONDS result=passed limit=limit_$name
  (cd "$folder" && timeout --kill-after=5 "${!limit:-60}" "$BASH" "$here/run.sh" "$TRIREME" "$MPIRUN" --one "$name") >"$folder.out" 2>&1
  status=$?
  if ((status != 0)); then
    result=FAILED failed=1
    if ((status == 124 || status == 137)); then result="NO END"; fi
    echo "-- $name: exit $status" && cat "$folder.out"
  fi
  rows+=("$(printf '%-7s %3d s  %-28s %s' "$result" $((SECONDS - begin)) "$name" "$(promise_of "$name")")")
  rm -rf "$folder" "$folder.out"
done
printf '%s\n' "${rows[@]}"
exit "$failed"
