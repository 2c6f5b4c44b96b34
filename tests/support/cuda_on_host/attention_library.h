// The host's stand-in for cuDNN's attention: plain loops over the strides and addresses that it is given.
#pragma once

#include <cstdint>

#include "runtime/ops/cuda/attention/attention_library.h"

namespace trireme::cuda_on_host {

/// What this thread's cuDNN does, and has done. None is built in unless TRIREME_TEST_ATTENTION is cudnn, or a
/// test says so: then contexts that have not met attention yet see one.
struct Cudnn {
  bool is_built = false;
  bool serves = true;  ///< else it refuses every problem
  int64_t num_asked = 0, num_forward = 0, num_backward = 0;
  int64_t last_workspace = 0;
};
Cudnn& cudnn();

/// As cuDNN's frontend 1.32 has it: an entry for each score where the way back is deterministic, else sums of
/// queries' gradients in fp32; nothing forward.
int64_t workspace_bytes(const ops::cuda::AttentionProblem& problem);

}  // namespace trireme::cuda_on_host
