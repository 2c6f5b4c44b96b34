// Stands in for attention_cudnn.cpp in builds without cuDNN's frontend headers.
#include "runtime/ops/cuda/attention_cudnn.h"

namespace trireme::ops::cuda {

namespace {
using CT = const Tensor&;
using CC = const Columns&;
}  // namespace

bool attention_by_cudnn(Context&, const AttentionShape&, CC, CC, CC, CT, CT) { return false; }
bool attention_backward_by_cudnn(Context&, const AttentionShape&, CC, CC, CC, CT, CT, CT, CC, CC, CC) {
  return false;
}

}  // namespace trireme::ops::cuda
