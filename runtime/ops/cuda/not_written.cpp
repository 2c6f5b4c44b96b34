// Ops that have no CUDA body yet, in any build.
#include "runtime/ops/adamw.h"
#include "runtime/ops/finite.h"
#include "runtime/ops/float8.h"

namespace trireme::ops::cuda {

namespace {
using CT = const Tensor&;
[[noreturn]] void missing(const char* op) { throw InternalError(fmt::format("{} has no CUDA body yet", op)); }
}  // namespace

void adamw_stochastic(Context&, const AdamWOptions&, CT, CT, CT, CT, std::span<const ElementRange>) {
  missing("adamw_stochastic");
}
void find_nonfinite(Context&, CT, CT) { missing("find_nonfinite"); }
void quantize(Context&, CT, const ScaledTensor&) { missing("quantize"); }
void dequantize(Context&, const ScaledTensor&, CT) { missing("dequantize"); }
void gemm_float8(Context&, const GemmOptions&, const ScaledTensor&, const ScaledTensor&, CT, CT) {
  missing("gemm_float8");
}

}  // namespace trireme::ops::cuda
