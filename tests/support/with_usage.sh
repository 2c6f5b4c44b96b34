#!/usr/bin/env bash
# with_usage.sh NAME COMMAND...: the command; what it and the processes that it waited for cost becomes a line of the file
# that TRIREME_TEST_USAGE names: "entry", NAME, seconds of processor time, seconds of the clock; tabs between.
# Runs of tests neither read nor write the peaks that users' runs have stored.
export TRIREME_PEAK_FILE=
name=$1
shift
if [[ ! ${TRIREME_TEST_USAGE:-} ]]; then exec "$@"; fi
exec 3>&1 4>&2
TIMEFORMAT='%U %S %R'
cost=$({ time "$@" >&3 2>&4; } 2>&1)
status=$?
read -r user system wall <<<"$cost"
awk -v name="$name" -v user="$user" -v system_="$system" -v wall="$wall" \
  'BEGIN { printf "entry\t%s\t%.3f\t%.3f\n", name, user + system_, wall }' >>"$TRIREME_TEST_USAGE"
exit $status
