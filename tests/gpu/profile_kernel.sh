#!/usr/bin/env bash
# profile_kernel.sh FILE PATTERN COMMAND...: what Nsight Compute says of the first kernel whose mangled name matches, in FILE.
# profile_kernel.sh --list PROGRAM PATTERN...: whether the program has a kernel for each pattern; needs no GPU.
set -uo pipefail

if [[ $1 == --list ]]; then
  names=$(grep -aoE '_ZN7trireme3ops4cuda[A-Za-z0-9_]+' "$2" | sort -u)
  for pattern in "${@:3}"; do
    if ! grep -qE -- "$pattern" <<<"$names"; then
      echo "profile_kernel: $2 has no kernel whose name matches $pattern"
      exit 1
    fi
  done
  exit 0
fi

file=$1 pattern=$2
shift 2
# The clocks stay as they are; the command ends with its first match, whatever its exit code is then.
ncu --clock-control none --set basic -c 1 --kill yes --kernel-name-base mangled --kernel-name "regex:$pattern" "$@" 2>&1 | tee "$file"
if ! grep -qE '^ *Duration ' "$file"; then
  echo "profile_kernel: ncu measured no kernel whose name matches $pattern"
  exit 1
fi
