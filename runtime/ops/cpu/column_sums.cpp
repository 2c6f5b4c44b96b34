#include "runtime/ops/cpu/support.h"
#include "runtime/ops/gemm/gemm.h"

namespace trireme::ops::cpu {

namespace {

// out[c] += the sum of column c of x[rows, stride], for c in [0, columns). Eight rows are added as a tree
// before they meet the sum: eight streams for the memory, and an eighth of the roundings.
template <class T>
TRIREME_INLINE void add_columns_of(const T* __restrict x, int64_t rows, int64_t stride, int64_t columns,
                                   float* __restrict out) {
  int64_t r = 0;
  for (; r + 8 <= rows; r += 8) {
    const T* p = x + r * stride;
    for (int64_t c = 0; c < columns; ++c) {
      const auto at = [&](int64_t i) { return static_cast<float>(p[i * stride + c]); };
      out[c] += ((at(0) + at(1)) + (at(2) + at(3))) + ((at(4) + at(5)) + (at(6) + at(7)));
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) out[c] += x[r * stride + c];
  }
}

#define TRIREME_ADD_COLUMNS(T)                                                                   \
  TRIREME_VECTORIZED void add_columns(const T* x, int64_t rows, int64_t stride, int64_t columns, \
                                      float* out) {                                              \
    add_columns_of(x, rows, stride, columns, out);                                               \
  }
TRIREME_EACH_COMPUTE_TYPE(TRIREME_ADD_COLUMNS)

}  // namespace

void add_column_sums(Context& ctx, const Columns& x, const Tensor& out) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    parallel_for(ctx.num_threads(), x.count, 64, [&](int64_t begin, int64_t end) {
      add_columns(x.data<T>() + begin, x.rows(), x.stride(), end - begin, out.data<float>() + begin);
    });
  });
}

}  // namespace trireme::ops::cpu
