#include "runtime/ops/cuda/packed/packed_exact.cuh"

#include "runtime/ops/cuda/packed/packed_products.cuh"

namespace trireme::ops::cuda {

template <class T>
void multiply_packed_exactly(Context& ctx, const ProductOperands<T>& p, const RowGroups& groups) {
  const PackedLayout& l = p.layout;
  if (l.bits == 32) return multiply_exactly<T, Codes32>(ctx, p, groups);
  if constexpr (!std::is_same_v<T, bf16>) {
    if (l.is_bf16) return multiply_exactly<T, Codes16<bf16>>(ctx, p, groups);
  }
  if constexpr (!std::is_same_v<T, fp16>) {
    if (l.bits == 16 && !l.is_bf16) return multiply_exactly<T, Codes16<fp16>>(ctx, p, groups);
  }
  if constexpr (std::is_same_v<T, float>) {
    if (l.is_fp8) return multiply_exactly<T, CodesFp8>(ctx, p, groups);
    if (l.bits == 4) return multiply_exactly<T, Codes4>(ctx, p, groups);
    if (l.bits == 6) return multiply_exactly<T, Codes6>(ctx, p, groups);
    if (l.bits == 8) return multiply_exactly<T, Codes8>(ctx, p, groups);
  }
  TRIREME_CHECK(false, "weights of {} bits multiplied in fp32", l.bits);
}
template void multiply_packed_exactly(Context&, const ProductOperands<float>&, const RowGroups&);
template void multiply_packed_exactly(Context&, const ProductOperands<bf16>&, const RowGroups&);
template void multiply_packed_exactly(Context&, const ProductOperands<fp16>&, const RowGroups&);

}  // namespace trireme::ops::cuda
