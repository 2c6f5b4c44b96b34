// Ops that have no CUDA body yet, in any build.
#include "runtime/ops/adamw.h"
#include "runtime/ops/finite.h"
#include "runtime/ops/float8.h"
#include "runtime/ops/grouped_gemm.h"
#include "runtime/ops/permute.h"
#include "runtime/ops/routing.h"

namespace trireme::ops::cuda {

namespace {
using CT = const Tensor&;
using Counts = std::span<const int64_t>;
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

void route(Context&, const RouteOptions&, CT, CT, CT, CT, CT, CT) { missing("route"); }
void route_backward(Context&, const RouteOptions&, CT, CT, CT, CT, CT, CT, CT) { missing("route_backward"); }
void count_choices(Context&, CT, CT) { missing("count_choices"); }
void assign_slots(Context&, CT, CT, CT, int64_t, CT) { missing("assign_slots"); }
void permute_rows(Context&, CT, CT, CT) { missing("permute_rows"); }
void combine_rows(Context&, CT, CT, CT, CT) { missing("combine_rows"); }
void combine_rows_backward(Context&, CT, CT, CT, CT, CT, CT) { missing("combine_rows_backward"); }
void grouped_linear(Context&, CT, Counts, CT, CT) { missing("grouped_linear"); }
void grouped_linear_backward_input(Context&, CT, Counts, CT, CT) { missing("grouped_linear_backward_input"); }
void grouped_linear_backward_weight(Context&, CT, CT, Counts, CT) {
  missing("grouped_linear_backward_weight");
}

}  // namespace trireme::ops::cuda
