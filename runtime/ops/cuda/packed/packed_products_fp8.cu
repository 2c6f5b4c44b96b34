#include "runtime/ops/cuda/packed/packed_many.cuh"
#include "runtime/ops/cuda/packed/packed_products.cuh"

namespace trireme::ops::cuda {

template <class T>
void multiply_packed_fp8(Context& ctx, const ProductOperands<T>& p, const RowGroups& groups) {
  multiply_packed<T, CodesFp8>(ctx, p, groups);
}
template void multiply_packed_fp8(Context&, const ProductOperands<bf16>&, const RowGroups&);
template void multiply_packed_fp8(Context&, const ProductOperands<fp16>&, const RowGroups&);

}  // namespace trireme::ops::cuda
