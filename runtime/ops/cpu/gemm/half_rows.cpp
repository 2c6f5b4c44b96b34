#include <cmath>
#include <cstring>

#include "runtime/ops/cpu/cpu_features.h"
#include "runtime/ops/cpu/gemm/half_gemm.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

constexpr int64_t kMostRows = 300;

// Numbers whose sums round.
Tensor drawn(Context& ctx, const Shape& shape, DType dtype, float seed) {
  const Tensor t = Tensor::empty(ctx, shape, dtype);
  with_compute_type(dtype, [&]<class T>(T) {
    for (int64_t i = 0; i < t.numel(); ++i) {
      const float angle = static_cast<float>(i % 8191) * 0.61803399f + seed;
      t.data<T>()[i] = T(angle - std::floor(angle) - 0.45f);
    }
  });
  return t;
}

// A product of the first rows of x: of none where there is none.
Tensor first_rows(Context& ctx, RowBlocks blocks, const Tensor& x, int64_t rows, const Tensor& w, DType out) {
  const Tensor y = Tensor::empty(ctx, {rows, w.dim(0)}, out);
  return half_gemm(ctx, 1, blocks, {.transpose_b = true}, x.slice(0, rows), w, {}, y) ? y : Tensor();
}

}  // namespace

bool are_independent(DType dtype, RowBlocks blocks) {
  Context ctx;
  struct Size {
    int64_t n, k;
    DType out;
  };
  for (const Size& size : {Size{64, 64, dtype}, Size{200, 700, DType::f32}, Size{1600, 130, dtype},
                           Size{33, 1500, dtype}, Size{1, 77, DType::f32}}) {
    const Tensor x = drawn(ctx, {kMostRows, size.k}, dtype, 0.3f),
                 w = drawn(ctx, {size.n, size.k}, dtype, 0.7f);
    const Tensor all = first_rows(ctx, blocks, x, kMostRows, w, size.out);
    for (const int64_t rows : {1, 3, 16, 17, 40}) {
      const Tensor few = first_rows(ctx, blocks, x, rows, w, size.out);
      if (!all || !few) return false;
      if (std::memcmp(few.raw(), all.raw(), static_cast<size_t>(few.bytes())) != 0) return false;
    }
  }
  return true;
}

// With AMX oneDNN has kernels for few rows that add in another order, and a few products would not show which
// sizes get them.
HalfRows half_rows(DType dtype) {
  const auto find = [](DType of) {
    if (!has_amx_bf16() && are_independent(of, RowBlocks::by_size)) return HalfRows{RowBlocks::by_size, true};
    if (are_independent(of, RowBlocks::of_64)) return HalfRows{RowBlocks::of_64, true};
    return HalfRows{RowBlocks::by_size, false};
  };
  if (dtype == DType::bf16) {
    static const HalfRows found = find(DType::bf16);
    return found;
  }
  static const HalfRows found = find(DType::f16);
  return found;
}

}  // namespace trireme::ops::cpu
