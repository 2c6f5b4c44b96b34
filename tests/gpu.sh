#!/usr/bin/env bash
# Proves the CUDA build on a machine with a GPU.
set -uo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

usage() {
  cat <<'END'
Usage: tests/gpu.sh [--prebuilt DIR] [--out DIR] [--stages STAGE,...] [--seconds N]
       tests/gpu.sh --prebuilt DIR -- COMMAND...        the command alone, such as trireme, where it finds all libraries

Without --prebuilt it builds in build-gpu/ for the GPU that is there (libraries that are no packages are found through
CMAKE_PREFIX_PATH); with it, it starts the programs in DIR/bin, as tests/gpu_bundle.sh packs them for a machine that has
nothing but CUDA. First of all it looks whether the loader finds all their libraries, and stops where one is missing.

  --out DIR       where results go (build-gpu/out): gpu.jsonl with a line for each check as soon as it is done, logs.txt with
                  what the checks said, gpu.json with everything, table.txt with the table that is shown at the end
  --stages LIST   numbers or names, in the order in which they are to run; all of them by default:
                    1 smoke        the program sees the GPU; one product, one attention
                    2 conformance  attention, by the own kernels and by cuDNN; memory-bound ops
                    3 steps        training steps with and without graphs, both attentions, where their time goes
                    4 ops          speed of each op
                    5 ncu          six kernels under Nsight Compute
                    6 golden       golden models, step graphs, layouts of ranks as threads
                    7 peer         the same training steps in PyTorch
                    8 races        small cases under compute-sanitizer
                    9 products     conformance of matrix products
                   10 ranks        two ranks that share the GPU, over NCCL and MPI
                   list            names the tests, without a GPU
  --seconds N     what all checks together may take (520; a build on this machine counts)
Exit status: 0 when every check passed, 1 when one failed, 2 for a wrong option, 3 when none failed but some could not run;
those are shown as "not run", with the reason.
END
}
all_stages=(smoke conformance steps ops ncu golden peer races products ranks)
refuse() { echo "gpu: $1" >&2; usage >&2; exit 2; }

prebuilt='' out=$PWD/build-gpu/out whole=520 stages=() command=()
while (($#)); do
  case $1 in
    --prebuilt | --out | --stages | --seconds) if [[ ! ${2:-} ]]; then refuse "$1 wants a value"; fi ;;&
    --prebuilt) prebuilt=$(realpath -m "${2/#[^\/]/$here/&}") ;;
    --out) out=$(realpath -m "${2/#[^\/]/$here/&}") ;;
    --seconds)
      if [[ ! $2 =~ ^[1-9][0-9]{0,4}$ ]]; then refuse "--seconds $2: expected a number from 1 to 99999"; fi
      whole=$2 ;;
    --stages) IFS=, read -ra stages <<<"$2" ;;
    --) command=("${@:2}"); break ;;
    -h | --help) usage; exit 0 ;;
    *) refuse "unknown option $1" ;;
  esac
  shift 2
done
for i in "${!stages[@]}"; do
  if [[ ${stages[i]} =~ ^[1-9][0-9]?$ ]]; then stages[i]=${all_stages[stages[i] - 1]:-${stages[i]}}; fi
  if [[ " ${all_stages[*]} list " != *" ${stages[i]} "* ]]; then refuse "there is no stage ${stages[i]}"; fi
done
if ((${#stages[@]} == 0)); then stages=("${all_stages[@]}"); fi
if [[ $prebuilt && ! -d $prebuilt/bin ]]; then refuse "--prebuilt $prebuilt: there is no folder bin in it"; fi

# shellcheck source=tests/gpu/programs.sh
source tests/gpu/programs.sh
# shellcheck source=tests/gpu/checks.sh
source tests/gpu/checks.sh
# shellcheck source=tests/gpu/libraries.sh
source tests/gpu/libraries.sh
# shellcheck source=tests/gpu/stages.sh
source tests/gpu/stages.sh

if ((${#command[@]})); then
  if [[ ! $prebuilt ]]; then refuse "a command needs --prebuilt"; fi
  bin=$prebuilt/bin
  use_bundle
  cd "$here" && exec "${command[@]}"
fi

device=$(nvidia-smi --query-gpu=name,compute_cap,driver_version --format=csv,noheader 2>/dev/null | sed -n 1p)
begin_report
watch_clocks
why_not=''
needs_gpu=yes
if [[ ${stages[*]} == list ]]; then needs_gpu=''; fi
if [[ $needs_gpu && ! $device ]]; then why_not="nvidia-smi shows no GPU"; fi

if [[ ! $prebuilt ]]; then
  prebuilt=$PWD/build-gpu bin=$PWD/build-gpu/bin stage=build
  build_here || why_not=${why_not:-the build failed}
fi
bin=$prebuilt/bin
use_bundle
stage=libraries
if [[ -d $bin ]] && ! check_libraries; then finish; fi

for stage in "${stages[@]}"; do "stage_$stage"; done
finish
