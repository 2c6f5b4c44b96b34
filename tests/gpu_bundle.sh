#!/usr/bin/env bash
# Packs what tests/gpu.sh starts, for a machine with a GPU that has no packages of ours.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'END'
Usage: tests/gpu_bundle.sh [--out DIR] [--architecture N] [--frontend DIR] [--jobs N]

Builds in build-gpu-bundle/build, fully optimized and with cuDNN, and packs into DIR/trireme-gpu.tar.xz (build-gpu-bundle):
stripped programs with run paths relative to themselves, the libraries that a bare machine lacks, Open MPI with its plugins,
tests/gpu.sh and the files that its checks read. The other machine brings glibc, libstdc++, the driver, and cudart, cuBLAS,
cuDNN, NCCL and NVRTC in its toolkit or as Python wheels. Needs the packages of launch/packages.txt (installed if missing), the CUDA toolkit with
cuDNN and NCCL, and no GPU.

  --architecture N   compute capability of the GPU, without a dot (90)
  --frontend DIR     headers of cuDNN's frontend; without it they are downloaded from PyPI
  --jobs N           compilations at once (as many as there are processors)
Exit status: 0 when it is packed, complete, and no larger than 60 MiB, 3 where there is no CUDA toolkit.
END
}
frontend_version=1.32.0 most_bytes=$((60 << 20))

folder=$PWD/build-gpu-bundle out='' architecture=90 frontend='' jobs=$(nproc)
while (($#)); do
  case $1 in
    --out | --architecture | --frontend | --jobs)
      if [[ ! ${2:-} ]]; then echo "gpu_bundle: $1 wants a value" >&2; exit 2; fi ;;&
    --out) out=$(realpath -m "$2") ;;
    --architecture)
      if [[ ! $2 =~ ^[0-9]{2,3}[af]?$ ]]; then echo "gpu_bundle: --architecture $2: expected a number such as 90" >&2; exit 2; fi
      architecture=$2 ;;
    --frontend) frontend=$(realpath "$2") ;;
    --jobs) jobs=$2 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "gpu_bundle: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
  shift 2
done
if [[ ! -d ${CUDA_HOME:-/usr/local/cuda} ]] && ! command -v nvcc >/dev/null; then
  echo "gpu_bundle: not run: there is no CUDA toolkit here"
  exit 3
fi
out=${out:-$folder}
mkdir -p "$folder" "$out"

# shellcheck source=tests/gpu/programs.sh
source tests/gpu/programs.sh
# shellcheck source=tests/gpu/collect.sh
source tests/gpu/collect.sh

launch/setup.sh build tests bundle
if [[ ! $frontend ]]; then
  frontend=$folder/frontend-$frontend_version/include
  if [[ ! -f $frontend/cudnn_frontend.h ]]; then
    python3 -m pip download -q --no-deps --only-binary=:all: -d "$folder/wheels" "nvidia-cudnn-frontend==$frontend_version"
    python3 -m zipfile -e "$folder/wheels/nvidia_cudnn_frontend-$frontend_version"-*.whl "${frontend%/include}"
  fi
fi

cmake -S . -B "$folder/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DTRIREME_CUDA=ON -DTRIREME_CUDNN=ON -DTRIREME_TESTS=ON \
  -DTRIREME_BENCH=ON -DCMAKE_CUDA_ARCHITECTURES="$architecture-real" -DCUDNN_FRONTEND_INCLUDE_DIR="$frontend" \
  -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON -DCMAKE_INSTALL_RPATH="\$ORIGIN/../lib" -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags
cmake --build "$folder/build" --parallel "$jobs" --target "${gpu_programs[@]}"

bundle=$folder/trireme-gpu
rm -rf "$bundle"
mkdir -p "$bundle"/{bin,lib/openmpi,lib/pmix,share,etc}
collect_programs "$folder/build" "${gpu_programs[@]}"
collect_open_mpi
collect_libraries
make_relative
collect_files
check_bundle

pack=$out/trireme-gpu.tar.xz
tar -C "$folder" --sort=name --owner=0 --group=0 --numeric-owner -c trireme-gpu | xz -T0 -6 >"$pack"
bytes=$(stat -c %s "$pack")
echo "gpu_bundle: $pack: $((bytes >> 10)) KiB, unpacked $(du -sm "$bundle" | cut -f1) MiB, commit $(cat "$bundle/COMMIT"), sm_$architecture"
if ((bytes > most_bytes)); then
  echo "gpu_bundle: more than $((most_bytes >> 20)) MiB" >&2
  exit 1
fi
