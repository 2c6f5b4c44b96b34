// Stands in for cudnn_library.cpp in builds without cuDNN's frontend headers.
#include "runtime/ops/attention/attention_by_cudnn.h"
#include "runtime/ops/cuda/attention/attention_library.h"

namespace trireme::ops::cuda {

std::unique_ptr<AttentionLibrary> make_cudnn(Context&) { return nullptr; }

std::string cudnn_version() { return ""; }

}  // namespace trireme::ops::cuda
