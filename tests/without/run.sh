#!/usr/bin/env bash
# Builds the program without MPI, oneDNN and CUDA (docs/arm64.md) and does with it what one process does: train in fp32 and
# bf16, resume, verify, generate, evaluate, compress. What needs several processes is refused in words.
# Usage: tests/without/run.sh [FOLDER]      FOLDER: of the build (default: build-without)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=${1:-$PWD/build-without}
cmake --preset release -B "$out" -DTRIREME_MPI=OFF -DTRIREME_ONEDNN=OFF -DTRIREME_CUDA=OFF -DTRIREME_TESTS=OFF \
  -DTRIREME_UNITY=ON
cmake --build "$out" --target trireme
trireme=$out/trireme
text=$PWD/docs/data.md
if readelf -d "$trireme" | grep -E 'NEEDED.*(mpi|dnnl|cuda|nccl)'; then
  echo "without: $trireme needs these libraries" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cd "$work"
unset "${!OMPI_@}" "${!SLURM_@}" "${!PMIX_@}"
"$trireme" --version | tee version
grep -q 'MPI not built, oneDNN not built, GPU not built' version

for precision in fp32 bf16; do
  small=(--model.family llama --model.layers 2 --model.hidden 64 --model.heads 4 --model.ffn 128 --data.text "$text"
    --data.tokenizer byte --train.seq-len 64 --train.micro-batch 4 --train.precision "$precision" --train.eval-batches 2
    --train.sample-tokens 8 --optimizer.lr 3e-3 --run.threads 1)
  "$trireme" train "${small[@]}" --train.steps 30 --run.dir "whole-$precision"
  # In two parts, on one thread and two: the same bits.
  status=0
  "$trireme" train "${small[@]}" --train.steps 30 --run.dir "parts-$precision" --train.stop-after 11 || status=$?
  [[ $status == 75 ]]
  "$trireme" train "${small[@]}" --train.steps 30 --run.dir "parts-$precision" --resume must --run.threads 2
  cmp "whole-$precision/model.safetensors" "parts-$precision/model.safetensors"
  "$trireme" verify --tp 2 --pp 2 --verify.steps 2 --config "whole-$precision/config.ini"
done
"$trireme" generate whole-fp32 'A run ' --max-tokens 8 --temperature 0 --threads 1 --quiet
"$trireme" compress whole-fp32 --out small --recipe int8 --eval.tokens 1024 --calibration.samples 2 --threads 1
"$trireme" evaluate small --text "$text" --against whole-fp32 --threads 1
"$trireme" doctor || [[ $? == 7 ]]
"$trireme" info >machine
head -12 machine

# refused WORDS COMMAND...: exit code 2, and these words.
refused() {
  local status=0
  "${@:2}" >says 2>&1 || status=$?
  if [[ $status != 2 ]] || ! grep -q "$1" says; then
    echo "without: '${*:2}' ends with $status: $(cat says)" >&2
    exit 1
  fi
}
refused 'built without MPI' env OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=0 "$trireme" train "${small[@]}" --train.steps 1
refused 'built without MPI' "$trireme" launch --ranks 2 -- train "${small[@]}" --train.steps 1
refused 'built without MPI' "$trireme" scale --ranks 1,2 --mode weak --dir series -- \
  train --model.preset gpt2-tiny --data.text "$text" --data.tokenizer byte
refused 'needs data 2' "$trireme" train "${small[@]}" --train.steps 1 --parallel.data 2
echo "without: all done"
