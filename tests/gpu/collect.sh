# What tests/gpu_bundle.sh puts into its folder.
# shellcheck shell=bash
# shellcheck disable=SC2154 # bundle is tests/gpu_bundle.sh's

# Libraries of these names are the other machine's: those of the C and C++ compilers, and NVIDIA's.
of_base='^(linux-vdso|ld-linux|lib(c|m|dl|rt|pthread|util|resolv|stdc\+\+|gcc_s))[.-]'
of_nvidia='^lib(cudart|cublas|cublasLt|cudnn|cudnn_.*|nccl|nvrtc|nvrtc-builtins)\.so'
# Parts of Open MPI that need these are for networks of clusters.
of_fabrics='lib(uc[pstm]|fabric|ibverbs|rdmacm|psm[0-9_]*|psm_infinipath|efa|oshmem|flux-.*)\.so'

# collect_programs BUILD NAME...
collect_programs() {
  local build=$1 name
  shift
  for name; do strip -o "$bundle/bin/$name" "$(find "$build" -name "$name" -type f -perm -100)"; done
}

# Open MPI as one host needs it: mpirun, the daemon that a rank started alone asks for, plugins, texts, settings.
collect_open_mpi() {
  local plugin path
  path() { ompi_info --parsable --path "$1" | cut -d: -f3; }
  cp "$(realpath "$(command -v mpirun)")" "$bundle/bin/mpirun"
  cp "$(realpath "$(command -v orted)")" "$bundle/bin/orted"
  for plugin in "$(path pkglibdir)"/*.so; do
    if ! [[ $(ldd "$plugin") =~ $of_fabrics|"not found" ]]; then cp "$plugin" "$bundle/lib/openmpi/"; fi
  done
  # Texts of its errors; settings of a cluster stay here.
  mkdir "$bundle/share/openmpi"
  cp -L "$(path pkgdatadir)"/*.txt "$bundle/share/openmpi/"
  # PMIx's plugins lie beside its library.
  local pmix
  pmix=$(ldd "$bundle"/lib/openmpi/mca_pmix_ext*.so | sed -n 's/.*libpmix[^ ]* => \([^ ]*\) .*/\1/p' | sed -n 1p)
  if [[ $pmix ]]; then
    pmix=$(dirname "$(realpath "$pmix")")/pmix
    if [[ -d $pmix ]]; then cp "$pmix"/*.so "$bundle/lib/pmix/"; fi
  fi
}

# collect_libraries: what programs and plugins need, by the names under which they ask for it.
collect_libraries() {
  local name path
  while read -r name path; do
    cp -L "$path" "$bundle/lib/$name"
    chmod u+w "$bundle/lib/$name"
    strip --strip-unneeded "$bundle/lib/$name"
  done < <(find "$bundle/bin" "$bundle/lib" -type f -exec ldd {} + | sed -n 's|^[[:space:]]*\([^ ]*\) => \(/[^ ]*\) .*|\1 \2|p' |
    sort -u -k1,1 | grep -vE "$of_base" | grep -vE "$of_nvidia")
}

collect_files() {
  cp --parents tests/gpu.sh tests/gpu/*.sh tests/bench/peers/*.py tests/bench/checkpoint_runs.py tests/golden/*.safetensors docs/*.md "$bundle/"
  local commit
  commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
  if [[ $(git status --porcelain 2>/dev/null) ]]; then commit+=-changed; fi
  echo "$commit" >"$bundle/COMMIT"
}

# make_relative: what is not built here finds its libraries in the bundle too, and so do those that they need.
make_relative() {
  patchelf --force-rpath --set-rpath "\$ORIGIN/../lib" "$bundle"/bin/{mpirun,orted}
  patchelf --force-rpath --set-rpath "\$ORIGIN" "$bundle"/lib/*.so*
  patchelf --force-rpath --set-rpath "\$ORIGIN/.." "$bundle"/lib/{openmpi,pmix}/*.so
}

# check_bundle: everything finds in the bundle what it needs, wherever it lies, or names what the other machine brings.
check_bundle() {
  local file name arrow path faults=0
  while read -r file; do
    while read -r name arrow path _; do
      if [[ $arrow == "=>" && ! $name =~ $of_base && ! $name =~ $of_nvidia && $path != "$bundle"/* ]]; then
        echo "gpu_bundle: ${file#"$bundle"/} takes $name from ${path/#not/nowhere}" >&2
        faults=1
      fi
    done < <(env -i "$(command -v ldd)" "$file" | sed "s|$bundle/[^ ]*/\.\./|$bundle/|")
  done < <(find "$bundle/bin" "$bundle/lib" -type f)
  return $faults
}
