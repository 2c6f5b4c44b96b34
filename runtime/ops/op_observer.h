// OpObserver: sees each op of a context as it is submitted.
#pragma once

#include <vector>

#include "runtime/device/context.h"
#include "runtime/tensor/dtype.h"
#include "runtime/tensor/shape.h"

namespace trireme {

/// What an op does at the least.
struct OpWork {
  double flops =
      0;  ///< of matrix products, a multiply-add counted as two; masked scores of attention are not
  /// Bytes that memory gives and takes, each operand once; less than 0: whatever the operands hold.
  double bytes = -1;
  double rewritten_bytes = 0;  ///< of operands that are both read and written, added to `bytes`
};

struct OpOperand {
  Shape shape;  ///< of columns: [rows, count]
  DType dtype = DType::f32;
};

struct OpCall {
  const char* name = "";            ///< as in runtime/ops: "linear_backward_weight"
  std::vector<OpOperand> operands;  ///< tensors in the order of the arguments, absent ones left out
  double flops = 0, bytes = 0;      ///< OpWork's, of these operands
};

class OpObserver {
 public:
  virtual ~OpObserver() = default;
  /// Before and after the op's body is called, by the thread that calls it. An op that calls others is one:
  /// of those the observer hears between its begin and end. No end follows where the body throws.
  virtual void begin(Context& ctx, const OpCall& call) = 0;
  virtual void end(Context& ctx) = 0;
};

}  // namespace trireme
