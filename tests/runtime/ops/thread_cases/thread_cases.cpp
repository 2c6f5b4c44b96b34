#include "tests/runtime/ops/thread_cases/thread_cases.h"

#include <algorithm>

namespace trireme::test {

int64_t Draw::size(int64_t largest) {
  switch (between(0, 3)) {
    case 0:
      return between(1, std::min<int64_t>(largest, 70));
    case 1:
      return std::min(largest, pick<int64_t>({64, 96, 128, 256, 320, 384, 512, 768, 1024, 2048}));
    default:
      return between(1, largest);
  }
}

Tensor Draw::tensor(Context& ctx, const Shape& shape, DType dtype) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  for (float& value : values) value = static_cast<float>(static_cast<int32_t>(generator_() >> 32)) * 0x1p-31f;
  return make_tensor(ctx, shape, dtype, values);
}

ops::Columns Draw::columns(Context& ctx, int64_t rows, int64_t count, DType dtype) {
  if (coin()) return tensor(ctx, {rows, count}, dtype);
  const int64_t before = between(0, 17), after = between(0, 17);
  return {tensor(ctx, {rows, before + count + after}, dtype), before, count};
}

Tensor Draw::indices(Context& ctx, const Shape& shape, int64_t limit, int64_t least) {
  const Tensor t = Tensor::empty(ctx, shape, DType::i32);
  std::vector<int32_t> values(static_cast<size_t>(shape.numel()));
  for (int32_t& value : values) value = static_cast<int32_t>(between(least, limit - 1));
  write(t, values);
  return t;
}

Tensor f64(Context& ctx, const Shape& shape, double value) {
  const Tensor t = Tensor::empty(ctx, shape, DType::f64);
  write(t, std::vector<double>(static_cast<size_t>(shape.numel()), value));
  return t;
}

const OpCases& thread_cases() {
  static const OpCases all = [] {
    OpCases cases;
    for (const OpCases* kind : {&product_cases(), &layer_cases(), &training_cases(), &element_cases()})
      cases.insert(kind->begin(), kind->end());
    return cases;
  }();
  return all;
}

}  // namespace trireme::test
