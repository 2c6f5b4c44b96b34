// What cuDNN's attention may serve, as far as that is known without cuDNN and a device.
#pragma once

#include <string>

#include "runtime/ops/attention/attention.h"

namespace trireme::ops {

/// Why cuDNN is not asked for attention of these types and sizes, in words; empty where it is asked:
/// bf16 and fp16, as many queries as keys, more than one, heads of up to 128 in multiples of 8, no window, no
/// pattern, no soft cap and no first keys.
std::string why_not_by_cudnn(const AttentionShape& shape, DType dtype);

/// "batch 2, 12/4 heads of 64, 1024 queries, 1024 keys, causal, bf16".
std::string describe(const AttentionShape& shape, DType dtype);

namespace cuda {
/// "9.19.0", of the headers that the program was built with; empty in a program without cuDNN's attention.
std::string cudnn_version();
}  // namespace cuda

}  // namespace trireme::ops
