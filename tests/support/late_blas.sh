#!/usr/bin/env bash
# Every function of cuBLAS that runtime/ops/cuda/gemm/late_blas.cpp passes on is one of the library's: late_blas.sh SOURCE LIBRARY...
set -euo pipefail
source=$1
shift
functions=$(grep -oE 'TRIREME_PASS_ON\((blas|blas_lt), *[A-Za-z0-9_]+' "$source" | sed 's/.*, *//' | sort -u)
if (($(wc -l <<<"$functions") < 10)); then echo "late_blas: hardly a function in $source"; exit 1; fi
missing=$(comm -23 <(echo "$functions") <(nm -D --defined-only "$@" | awk 'NF == 3 { sub(/@.*/, "", $3); print $3 }' | sort -u))
if [[ $missing ]]; then echo "late_blas: not in $*:" "$missing"; exit 1; fi
