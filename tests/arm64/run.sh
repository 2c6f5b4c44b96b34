#!/usr/bin/env bash
# Builds what generates alone, for this machine and for arm64 (docs/arm64.md), and runs arm64's under qemu-user: the kernels'
# tests, logits beside this machine's (at most 1e-4 apart), texts of a model from a file. About 20 minutes of two cores.
# Usage: tests/arm64/run.sh [FOLDER]      FOLDER: of the builds (default: the source folder)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=${1:-$PWD}
launch/setup.sh arm64
for preset in generate-only arm64; do
  cmake --preset "$preset" -B "$out/build-$preset" -DTRIREME_TESTS=ON -DTRIREME_UNITY=ON
  cmake --build "$out/build-$preset" --target trireme logits kernel_tests
done
here=$out/build-generate-only there=$out/build-arm64
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

needs() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
if needs "$here/trireme" | grep -E 'mpi|dnnl|crypto|cuda|boost'; then
  echo "arm64: $here/trireme needs these libraries" >&2
  exit 1
fi
if [[ $(needs "$there/trireme") ]]; then
  echo "arm64: $there/trireme needs shared libraries: $(needs "$there/trireme" | xargs)" >&2
  exit 1
fi

# A processor with dot products, and one without.
arm() { qemu-aarch64 -cpu "$@"; }
# Sweeps over attention take minutes in an emulator: of that, what the kernels promise.
GTEST_FILTER='-AttentionOnCpu.*:GemmOnCpu.*' OMP_WAIT_POLICY=passive arm max "$there/tests/kernel_tests"
"$here/tests/logits" >"$work/here"
for cpu in max cortex-a53; do
  arm "$cpu" "$there/tests/logits" >"$work/$cpu"
  echo "logits on $cpu:"
  tests/arm64/compare.py "$work/here" "$work/$cpu"
done
cmp "$work/max" "$work/cortex-a53"  # sums of integers are exact

tests/arm64/draw_model.py "$work/model"
for weights in f32 bf16 int8 int4; do
  say=(generate "$work/model" 'In the beginning' --tokenizer byte --max-tokens 24 --weights "$weights" --json --logprobs --quiet
    --threads 2)
  "$here/trireme" "${say[@]}" >"$work/here.json"
  arm max "$there/trireme" "${say[@]}" >"$work/there.json"
  python3 - "$weights" "$work/here.json" "$work/there.json" <<'END'
import json, sys
here, there = (json.loads(open(path, encoding="utf-8").readline()) for path in sys.argv[2:])
if here["tokens"] != there["tokens"] or not here["tokens"]:
    sys.exit(f"{sys.argv[1]}: other tokens: {here['tokens']}, {there['tokens']}")
most = max(abs(a - b) for a, b in zip(here["logprobs"], there["logprobs"]))
print(f"generate --weights {sys.argv[1]}: {len(here['tokens'])} equal tokens, logprobs at most {most:.1e} apart")
if not most <= 1e-4:
    sys.exit("above 1e-4")
END
done
status=0
arm max "$there/trireme" train >"$work/says" 2>&1 || status=$?
if [[ $status != 2 ]] || ! grep -q 'built to generate alone' "$work/says"; then
  echo "arm64: 'trireme train' ends with $status: $(cat "$work/says")" >&2
  exit 1
fi
arm max "$there/trireme" info >"$work/info"
head -8 "$work/info"
