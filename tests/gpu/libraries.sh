# Where the programs of tests/gpu.sh find their libraries.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # names are shared with tests/gpu.sh and its stages

# nvidia_folders: folders with NVIDIA's libraries, the Python wheels' before the toolkit's: cuDNN and NCCL come with them, and
# cuBLAS and cuBLASLt have to be of one release.
nvidia_folders() {
  python3 2>/dev/null - <<'END'
import glob, importlib.util
spec = importlib.util.find_spec("nvidia")
for place in spec.submodule_search_locations if spec else []:
    for folder in sorted(glob.glob(place + "/*/lib")):
        print(folder)
END
  local toolkit folder compiler
  compiler=$(command -v nvcc) && compiler=$(dirname "$(dirname "$(realpath "$compiler")")")
  for toolkit in "${CUDA_HOME:-}" "$compiler" /usr/local/cuda; do
    for folder in ${toolkit:+"$toolkit"/lib64 "$toolkit"/targets/x86_64-linux/lib}; do
      if [[ -d $folder ]]; then echo "$folder"; fi
    done
  done
}

# use_bundle: programs find NVIDIA's libraries, and Open MPI its parts where it is in the bundle.
use_bundle() {
  libraries_before=${LD_LIBRARY_PATH:-}
  LD_LIBRARY_PATH=$(nvidia_folders | paste -sd:)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  export TRIREME_SOURCE_DIR=$PWD  # where tests look for golden files
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
  export OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo  # ranks of one host
  export PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin  # ncu and compute-sanitizer, where they are on no path
  mpirun=$(command -v mpirun)
  if [[ -x $bin/mpirun ]]; then
    mpirun=$bin/mpirun
    export PATH=$bin:$PATH OPAL_PREFIX=$prebuilt OPAL_BINDIR=$bin OPAL_LIBDIR=$prebuilt/lib OPAL_PKGLIBDIR=$prebuilt/lib/openmpi \
      OPAL_DATADIR=$prebuilt/share OPAL_PKGDATADIR=$prebuilt/share/openmpi OPAL_SYSCONFDIR=$prebuilt/etc PMIX_PREFIX=$prebuilt \
      PMIX_PKGLIBDIR=$prebuilt/lib/pmix
    # One host: no ssh is needed, and mpirun does not look for one.
    export OMPI_MCA_plm=isolated
  fi
  export LD_LIBRARY_PATH
}

# opened_libraries PROGRAM: what it opens by name (runtime/ops/cuda/gemm/late_blas.cpp), and the loader does not find.
opened_libraries() {
  local name folder
  grep -aoE 'libcublas(Lt)?\.so\.[0-9]+' "$1" | sort -u | while read -r name; do
    for folder in ${LD_LIBRARY_PATH//:/ }; do
      if [[ -e $folder/$name ]]; then continue 2; fi
    done
    if ! /sbin/ldconfig -p 2>/dev/null | grep -q "^[[:space:]]*$name "; then echo "$name"; fi
  done
}

# missing_libraries PROGRAM: what the loader says it lacks.
missing_libraries() {
  {
    ldd "$1" 2>&1 | sed -n "s/^[[:space:]]*\([^[:space:]]*\) => not found.*/\1/p; s/.*: version .\([^']*\)' not found.*/\1/p"
    opened_libraries "$1"
  } | sort -u | paste -sd' '
}

# check_libraries: a row that names what programs lack.
check_libraries() {
  local program missing faults=() begin=$SECONDS
  for program in "$bin"/*; do
    missing=$(missing_libraries "$program")
    if [[ $missing ]]; then faults+=("${program##*/} lacks $missing"); fi
  done
  if ((${#faults[@]} == 0)); then
    record "libraries" passed $((SECONDS - begin)) ""
    return 0
  fi
  echo "gpu: programs cannot start here. NVIDIA's libraries were looked for in $(nvidia_folders | paste -sd' '), all in" \
    "LD_LIBRARY_PATH=$LD_LIBRARY_PATH" >&2
  printf '  %s\n' "${faults[@]}" >&2
  record "libraries" FAILED $((SECONDS - begin)) "$(IFS=';'; echo "${faults[*]}")"
  return 1
}

# has_cudnn: the programs were built with cuDNN.
has_cudnn() { [[ $(ldd "$bin/cuda_tests" 2>/dev/null) == *libcudnn* ]]; }
