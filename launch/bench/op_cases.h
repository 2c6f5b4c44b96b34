// Benchmark cases of ops, with shapes of real training.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "runtime/tensor/tensor.h"

namespace trireme::launch {

/// An op with its tensors, ready to run again and again.
using OpCase = std::function<void()>;

struct OpCaseMaker {
  std::string name;   ///< "linear forward"
  std::string shape;  ///< "8192 x 768 -> 3072"
  std::function<OpCase(Context& ctx, DType dtype, int64_t tokens)> make;
};

/// Products, attention and norms of GPT-2 124M and of Llama 3 1B, and what experts add, over `tokens` tokens
/// in sequences of 1,024 (or less, where there are fewer), and the optimizer on ten million weights.
std::vector<OpCaseMaker> op_cases();

struct OpTime {
  std::string name, shape;
  double seconds = 0;           ///< of a run: the least of several measurements
  double flops = 0, bytes = 0;  ///< as the op says (OpWork)
};
/// Times one case: warms up, then runs it for `seconds` at least.
OpTime time_op(Context& ctx, const OpCaseMaker& maker, DType dtype, int64_t tokens, double seconds);

}  // namespace trireme::launch
