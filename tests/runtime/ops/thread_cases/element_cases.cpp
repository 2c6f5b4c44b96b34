// Of what is done number by number.
#include "tests/runtime/ops/thread_cases/thread_cases.h"

#include <cstdint>

#include "runtime/ops/activation.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/random.h"
#include "runtime/ops/training/clip.h"
#include "runtime/ops/training/finite.h"

namespace trireme::test {
namespace {

std::vector<Tensor> elementwise(Context& ctx, Draw draw) {
  const int64_t n = draw.size(kElements);
  const DType dtype = draw.compute_type();
  const Tensor a = draw.tensor(ctx, {n}, dtype), b = draw.tensor(ctx, {n}, dtype),
               sum = Tensor::empty(ctx, {n}, dtype), wide = draw.tensor(ctx, {n}),
               converted = Tensor::empty(ctx, {n}, draw.compute_type()), filled = clone(ctx, a);
  ops::add(ctx, a, b, sum);
  ops::scale(ctx, b, 0.3f);
  ops::accumulate(ctx, a, wide);
  ops::copy(ctx, a, converted);
  ops::fill(ctx, filled, 0.1);
  std::vector<uint8_t> where(static_cast<size_t>(n));
  for (size_t i = 0; i < where.size(); ++i) where[i] = static_cast<uint8_t>(i % 3);
  ops::zero_where(ctx, ops::to_device(ctx, where, {n}), filled);
  const Tensor activated = Tensor::empty(ctx, {n}, dtype), gradient = Tensor::empty(ctx, {n}, dtype);
  ops::gelu(ctx, a, activated);
  ops::gelu_backward(ctx, a, b, gradient);
  const Tensor exact = Tensor::empty(ctx, {n}, dtype), exact_gradient = Tensor::empty(ctx, {n}, dtype);
  ops::gelu_erf(ctx, a, exact);
  ops::gelu_erf_backward(ctx, a, b, exact_gradient);
  const int64_t width = draw.size(900), rows = draw.size(kElements / width);
  const ops::Columns from = draw.columns(ctx, rows, width, dtype), to = draw.columns(ctx, rows, width, dtype);
  ops::copy_columns(ctx, from, to);
  ops::soft_cap(ctx, from, 0.4f);
  const Tensor gate_up = draw.tensor(ctx, {rows, 2 * width}, dtype),
               dy = draw.tensor(ctx, {rows, width}, dtype), y = Tensor::empty(ctx, {rows, width}, dtype),
               dgate_up = Tensor::empty(ctx, gate_up.shape(), dtype);
  ops::swiglu(ctx, gate_up, y);
  ops::swiglu_backward(ctx, gate_up, dy, dgate_up);
  const Tensor z = Tensor::empty(ctx, y.shape(), dtype), dz = Tensor::empty(ctx, gate_up.shape(), dtype);
  ops::geglu(ctx, gate_up, z);
  ops::geglu_backward(ctx, gate_up, dy, dz);
  return {sum,       b,           wide, converted, filled, activated, gradient, exact, exact_gradient,
          to.matrix, from.matrix, y,    dgate_up,  z,      dz};
}

std::vector<Tensor> reductions(Context& ctx, Draw draw) {
  const int64_t n = draw.size(3 * kElements), blocks = draw.between(1, 200);
  const Tensor t = draw.tensor(ctx, {n}, draw.compute_type()),
               whole_blocks = draw.tensor(ctx, {blocks * ops::kSumBlock}, draw.compute_type());
  const Tensor sum = f64(ctx, {1}, 0.1), squares = f64(ctx, {1}, 0.1), in_order = f64(ctx, {1}, 0.1),
               sums = f64(ctx, {blocks}), first = Tensor::empty(ctx, {1}, DType::i64);
  ops::add_sum(ctx, t, sum);
  ops::add_sum_of_squares(ctx, t, squares);
  ops::block_sums_of_squares(ctx, whole_blocks, sums);
  ops::add_in_order(ctx, sums, in_order);
  auto values = to_vector(t);
  for (int64_t bad = draw.between(0, 3); bad > 0; --bad) {
    values[static_cast<size_t>(draw.between(0, n - 1))] = draw.pick({NAN, INFINITY});
  }
  ops::find_nonfinite(ctx, make_tensor(ctx, {n}, t.dtype(), values), first);
  const Tensor norm = f64(ctx, {1}), factor = draw.tensor(ctx, {1});
  ops::clip_factor(ctx, {.loss_scale = 2, .clip = 0.5}, f64(ctx, {1}, 100), squares, norm, factor);
  const Tensor spoilt = f64(ctx, {1}, 2);
  ops::propagate_nonfinite(ctx, squares, spoilt);
  return {sum, squares, sums, in_order, first, norm, factor, spoilt};
}

std::vector<Tensor> random_numbers(Context& ctx, Draw draw) {
  const int64_t width = draw.size(900), rows = draw.size(kElements / width);
  const Shape global{rows + draw.between(0, 9), width + draw.between(0, 9)};
  const Tensor normal = Tensor::empty(ctx, {rows, width}, DType::f32);
  ops::fill_normal(ctx, normal, 7, "name", global,
                   {draw.between(0, global[0] - rows), draw.between(0, global[1] - width)}, 0.5f, 0.2f);
  const DType dtype = draw.compute_type();
  const Tensor x = draw.tensor(ctx, {rows, width}, dtype), y = Tensor::empty(ctx, x.shape(), dtype);
  const int64_t per_sample = draw.between(1, 40), first = draw.between(0, 10);
  ops::jitter(ctx, {.eps = 0.1f, .key = 3, .rows_per_sample = per_sample},
              draw.indices(ctx, {rows + first}, per_sample), first, x, y);
  return {normal, y};
}

}  // namespace

const OpCases& element_cases() {
  static const OpCases all{
      {"Elementwise", elementwise}, {"Reductions", reductions}, {"RandomNumbers", random_numbers}};
  return all;
}

}  // namespace trireme::test
