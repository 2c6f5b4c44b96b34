#include <cstring>
#include <vector>

#include "runtime/ops/cpu/gemm/onednn.h"
#include "runtime/ops/cpu/packed/float_products.h"
#include "runtime/ops/cpu/packed/pair_dots.h"
#include "runtime/ops/gemm/gemm.h"

namespace trireme::ops::cpu {

namespace {

// Numbers whose sums round.
Tensor check_numbers(Context& ctx, const Shape& shape, int64_t factor) {
  const Tensor t = Tensor::empty(ctx, shape, DType::bf16);
  for (int64_t i = 0; i < t.numel(); ++i) {
    t.data<bf16>()[i] = bf16(static_cast<float>(i * factor % 1021) / 1021.0f - 0.45f);
  }
  return t;
}

bool is_onednns(Context& ctx, int64_t m, int64_t n, int64_t k, DType out) {
  const Tensor x = check_numbers(ctx, {m, k}, 617), rows = check_numbers(ctx, {n, k}, 431);
  PackedFloats w = {PackedFormat::bf16, FloatLayout::pair_panels, n, k, nullptr};
  std::vector<std::byte> memory(static_cast<size_t>(w.bytes()));
  w.data = memory.data();
  for (int64_t p = 0; p < w.num_panels(); ++p) {
    pack_panel(w, rows.data<bf16>() + p * PackedFloats::panel_columns() * k, p);
  }
  const Tensor y = Tensor::empty(ctx, {m, n}, out), expected = Tensor::empty(ctx, {m, n}, out);
  multiply_pairs(ctx, x, w, {}, y);
  cpu::gemm(ctx, {.transpose_b = true}, x, rows, {}, expected);
  return std::memcmp(y.raw(), expected.raw(), static_cast<size_t>(y.bytes())) == 0;
}

bool check_all() {
  if (pair_dots() == nullptr || !onednn::has_matmul(DType::bf16)) return false;
  Context ctx;
  return is_onednns(ctx, 3, 70, 77, DType::bf16) && is_onednns(ctx, 1, 20, 600, DType::f32) &&
         is_onednns(ctx, 9, 100, 1030, DType::f32) && is_onednns(ctx, 2, 17, 2300, DType::bf16);
}

}  // namespace

bool pair_dots_are_onednns() {
  static const bool same = check_all();
  return same;
}

}  // namespace trireme::ops::cpu
