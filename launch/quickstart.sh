#!/usr/bin/env bash
# Installs, builds, and trains a small GPT on English text: from a clone to a sample of generated text.
set -euo pipefail
started_in=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'END'
Usage: launch/quickstart.sh [--text FILE] [--ranks N] [OPTION OF trireme train]...

Installs the Debian packages that are missing, builds build/trireme, and trains a small GPT with mpirun on N
ranks (2) for about two minutes on two cores. The text is the King James Bible of Debian's bible-kjv, or FILE.
Every other option goes to `trireme train` and overrides launch/configs/quickstart.ini, for example:

  launch/quickstart.sh --train.steps 2000
  launch/quickstart.sh --text my.txt --data.tokenizer char --train.sample-tokens 500
END
}

text=
own_data=
ranks=2
options=()
while (($#)); do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --text | --ranks)
      if (($# < 2)); then echo "quickstart: $1 needs a value" >&2; exit 2; fi
      if [[ $1 == --text ]]; then text=$2; else ranks=$2; fi
      shift
      ;;
    --text=*) text=${1#*=} ;;
    --ranks=*) ranks=${1#*=} ;;
    *)
      if [[ $1 =~ ^--data\.(text|tokens)(=|$) ]]; then own_data=yes; fi
      options+=("$1")
      ;;
  esac
  shift
done
if [[ ! $ranks =~ ^[1-9][0-9]*$ ]]; then echo "quickstart: --ranks $ranks: a number from 1 up is needed" >&2; exit 2; fi
if [[ $text && $text != /* ]]; then text=$started_in/$text; fi
if [[ $text && ! -r $text ]]; then echo "quickstart: --text $text: cannot be read" >&2; exit 3; fi

groups=(build)
if [[ ! $text && ! $own_data ]]; then groups+=(text); fi
launch/setup.sh "${groups[@]}"

# A build folder that is there keeps its settings (tests/run.sh shares it); a new one holds the program alone, with
# CUDA where a GPU is seen.
configure=()
if [[ ! -f build/build.ninja ]]; then configure=(-DTRIREME_TESTS=OFF -DTRIREME_CUDA=OFF); fi
if [[ -e /dev/nvidia0 ]] || nvidia-smi -L >/dev/null 2>&1; then configure+=(-DTRIREME_CUDA=AUTO); fi
if ((${#configure[@]})); then cmake --preset release "${configure[@]}"; fi
cmake --build build --target trireme

if [[ ! $text && ! $own_data ]]; then
  text=data/kjv.txt
  if [[ ! -s $text ]]; then
    mkdir -p data
    bible -f gen1:1-rev22:21 </dev/null >"$text.part"  # one verse a line: "Ge1:1 In the beginning ..."
    mv "$text.part" "$text"
  fi
fi

if [[ $text ]]; then options=(--data.text "$text" "${options[@]}"); fi

if ((EUID == 0)); then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
# All ranks are on this machine: no other network interface is of use.
export OMPI_MCA_btl_tcp_if_include=${OMPI_MCA_btl_tcp_if_include:-lo}
export OMPI_MCA_oob_tcp_if_include=${OMPI_MCA_oob_tcp_if_include:-lo}
# With more ranks than cores, ranks that wait must give way; otherwise the slots are as many as asked for (Open MPI
# would count cores, and two hardware threads of one core are not enough for it).
if ((ranks > $(nproc))); then slots=(--oversubscribe); else slots=(--host "localhost:$ranks"); fi
exec mpirun -np "$ranks" "${slots[@]}" --bind-to none \
  build/trireme train --config launch/configs/quickstart.ini "${options[@]}"
