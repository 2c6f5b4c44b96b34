# The programs that tests/gpu.sh starts, as targets of CMake.
# shellcheck shell=bash
# shellcheck disable=SC2034 # whoever sources this uses it
gpu_programs=(trireme cuda_tests cuda_training_tests cuda_communicator_mpi cuda_communicator_nccl cuda_layouts_mpi training_step_bench)
