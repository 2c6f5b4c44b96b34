# What tests/gpu.sh checks, stage by stage; none needs what another left.
# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154,SC2317 # names are those of tests/gpu.sh, which calls all this; bash -c expands later

# build_here: these programs in build-gpu/bin, as a bundle has them.
build_here() {
  local program capability=${device#*, }
  rm -rf "$bin"
  check configure 60 cmake -S . -B build-gpu -G Ninja -DCMAKE_BUILD_TYPE=Release -DTRIREME_CUDA=ON -DTRIREME_TESTS=ON \
    -DTRIREME_BENCH=ON -DCMAKE_CUDA_ARCHITECTURES="$(tr -d . <<<"${capability%%,*}")-real" || return
  check build 270 cmake --build build-gpu --target "${gpu_programs[@]}" || return
  mkdir "$bin"
  for program in "${gpu_programs[@]}"; do ln -s "$(find "$PWD/build-gpu" -name "$program" -type f -perm -100)" "$bin/"; done
}

# why_not_with ATTENTION: a reason to leave out the checks of an implementation that is not built in.
why_not_with() { if [[ ! $why_not && $1 == cudnn ]] && ! has_cudnn; then echo "built without cuDNN"; else echo "$why_not"; fi; }

stage_list() {
  local program
  for program in cuda_tests cuda_training_tests cuda_communicator_mpi cuda_communicator_nccl cuda_layouts_mpi; do
    check "tests of $program" 10 bash -o pipefail -c '"$1" --gtest_list_tests | tee -a /dev/stderr | grep -c "^  "' _ "$bin/$program"
  done
  check "cases of training_step_bench" 10 "$bin/training_step_bench" --device=cuda --benchmark_list_tests
  check "trireme" 10 "$bin/trireme" info
  check "kernels of stage ncu" 10 tests/gpu/profile_kernel.sh --list "$bin/trireme" "${profiled[@]#*|}"
}

stage_smoke() {
  check "smoke: the program sees the GPU" 20 bash -o pipefail -c '"$1" info | tee -a /dev/stderr | grep -c "CUDA devices  *[1-9]"' _ "$bin/trireme"
  suite "smoke: a product" 20 "$bin/cuda_tests" 'Gemm.LargeSizes*'
  TRIREME_TEST_ATTENTION=own suite "smoke: an attention" 20 "$bin/cuda_tests" 'AttentionOfUsualHeads.*/bf16_causal'
}

# Wrong indices end a kernel, and with it a process's use of the GPU: the kernels on the host test them.
outside='*Refuses*Outside*'
stage_conformance() {
  local attention
  for attention in own cudnn; do
    why_not=$(why_not_with $attention) TRIREME_TEST_ATTENTION=$attention suite "conformance: attention, $attention" 30 \
      "$bin/cuda_tests" '*Attention*-*Paged*'
  done
  suite "conformance: generation" 60 "$bin/cuda_tests" '*Paged*:*Packed*'
  suite "conformance: memory-bound" 30 "$bin/cuda_tests" "-*Attention*:*Gemm*:*Linear*:*Packed*:$outside"
}

# cuDNN's way back that is deterministic takes memory with the square of the length: these would be beyond its limit.
stage_steps() {
  local graph model attention case deterministic
  for graph in '' _graph; do
    for model in gpt2_124m_16x1024 llama3_1b_4x2048 gpt2_1.5b_4x1024; do
      for attention in own cudnn; do
        case=$model$graph
        if [[ $attention == cudnn ]]; then deterministic=off; else deterministic=on; fi
        why_not=$(why_not_with $attention) check "step: $case, $attention" 25 "$bin/training_step_bench" --device=cuda --attention=$attention \
          --deterministic=$deterministic --peak_tflops="${PEAK_TFLOPS:-989}" --benchmark_filter="^$case/" --benchmark_out="$work/step-$case-$attention.json" \
          --benchmark_out_format=json --account="$work/account-$case-$attention.json"
      done
    done
  done
}

stage_ops() {
  local bench=("$bin/trireme" bench ops --device cuda --tokens 16384 --milliseconds 50)
  check "bench: ops" 60 "${bench[@]}" --attention own --json "$work/ops.json"
  why_not=$(why_not_with cudnn) check "bench: attention, cudnn" 20 "${bench[@]}" --only attention --attention cudnn --deterministic off \
    --json "$work/ops-cudnn.json"
}

# NAME|PATTERN of a mangled name; the module's name tells kernels of one name apart.
profiled=("attention forward|attention_tensor_cores_cu_.*forward_kernel" "attention dq|attention_tensor_cores_backward_cu_.*dq_kernel"
  "attention dkv|attention_tensor_cores_backward_cu_.*dkv_kernel" "norm backward|_norm_cu_.*backward_kernel"
  "cross-entropy|cross_entropy_cu_.*loss_kernel" "embedding backward|embedding_cu_.*backward_kernel")
stage_ncu() {
  local kernel why_not=$why_not
  if [[ ! $why_not ]] && ! command -v ncu >/dev/null; then why_not="no ncu here"; fi
  for kernel in "${profiled[@]}"; do
    check "ncu: ${kernel%|*}" 25 tests/gpu/profile_kernel.sh "$work/ncu-${kernel%|*}.txt" "${kernel#*|}" "$bin/training_step_bench" \
      --device=cuda --attention=own '--benchmark_filter=^gpt2_124m_16x1024/'
  done
}

stage_golden() {
  suite "golden models" 40 "$bin/cuda_training_tests" '*GoldenModel*'
  suite "step graphs" 40 "$bin/cuda_training_tests" '*Graph*'
  suite "checkpoints beside steps" 30 "$bin/cuda_training_tests" 'DeviceCheckpoints.*'
  suite "layouts: ranks as threads" 60 "$bin/cuda_training_tests" '-*GoldenModel*:*Graph*:DeviceCheckpoints.*'
}

stage_peer() {
  local why_not=$why_not
  if [[ ! $why_not ]] && ! python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    why_not="python3 has no PyTorch with CUDA"
  fi
  # The peer has its own libraries.
  check "peer: PyTorch" 130 env -u LD_LIBRARY_PATH ${libraries_before:+"LD_LIBRARY_PATH=$libraries_before"} \
    python3 tests/bench/peers/pytorch_step.py --budget 90 --json "$work/peer.json"
}

stage_races() {
  local tool why_not=$why_not
  local small='*RmsNormAndItsGradient*:*GradientAddsToTheTable*:*SumsOfBlocks*:AttentionEdges.BlocksOfKeys*:AttentionOfUsualHeads.*/bf16_causal'
  small+=':*PagedAttentionOnDevices.IsThatOfPlainLoops/int8_head_128_bf16:*PackedProducts.AreThoseOfTheirValues/q4_k_0_bf16'
  if [[ ! $why_not ]] && ! command -v compute-sanitizer >/dev/null; then why_not="no compute-sanitizer here"; fi
  for tool in racecheck memcheck synccheck; do
    check $tool 40 env TRIREME_TEST_ATTENTION=own compute-sanitizer --tool $tool --error-exitcode 9 "$bin/cuda_tests" \
      --gtest_brief=1 --gtest_filter="$small"
  done
}

stage_products() {
  suite "conformance: products" 60 "$bin/cuda_tests" '*Gemm*:*Linear*'
}

# Two ranks that share the GPU. NCCL takes that for a fault unless they seem to be on different hosts, and they take turns on
# the GPU's processors unless their kernels are small; more than two may hang.
stage_ranks() {
  local why_not=$why_not backend
  if [[ ! $why_not && ! $mpirun ]]; then why_not="no mpirun here"; fi
  local ranks=("${mpirun:-mpirun}" --oversubscribe --bind-to none -np 2 env NCCL_MAX_CTAS=2 NCCL_SOCKET_IFNAME=lo
    bash -c 'NCCL_HOSTID=rank$OMPI_COMM_WORLD_RANK exec "$@"' _)
  cat docs/*.md | head -c 200000 >"$work/text.txt"
  local train=("${ranks[@]}" "$bin/trireme" train --data.text "$work/text.txt" --model.preset llama-tiny --train.steps 20
    --train.log-every 1 --train.precision bf16 --run.device cuda --run.share-device)
  # What is captured is apart: nobody documents it for NCCL of several ranks on one GPU, and it can fail alone.
  check "ranks: communicator, nccl" 60 "${ranks[@]}" "$bin/cuda_communicator_nccl" --gtest_brief=1 '--gtest_filter=-*OverNccl*'
  check "ranks: captured, nccl" 30 "${ranks[@]}" "$bin/cuda_communicator_nccl" --gtest_brief=1 '--gtest_filter=*OverNccl*'
  check "ranks: train, nccl" 30 "${train[@]}" --run.backend nccl --run.dir "$work/run-nccl"
  check "ranks: graph over nccl" 30 tests/gpu/same_losses.sh "$work/run-nccl" "$work/run-graph" "${train[@]}" --run.backend nccl \
    --run.cuda-graph
  check "ranks: train, mpi" 30 tests/gpu/same_losses.sh "$work/run-nccl" "$work/run-mpi" "${train[@]}" --run.backend mpi
  check "ranks: communicator, mpi" 30 "${ranks[@]}" "$bin/cuda_communicator_mpi" --gtest_brief=1
  check "ranks: layouts" 60 "${ranks[@]}" "$bin/cuda_layouts_mpi" --gtest_brief=1 --gtest_filter='*/gpt2'
  for backend in nccl mpi; do
    check "ranks: collectives, $backend" 30 "${ranks[@]}" "$bin/trireme" bench collectives --device cuda --share-device \
      --backend $backend --json "$work/collectives-$backend.json"
  done
}
