#include "runtime/ops/training/finite.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

// A value is not finite when all bits of its exponent are set.
template <class Bits, Bits kExponent>
TRIREME_INLINE bool any_loop(const Bits* bits, int64_t n) {
  Bits found = 0;
#pragma omp simd reduction(| : found)
  for (int64_t i = 0; i < n; ++i) found |= static_cast<Bits>((bits[i] & kExponent) == kExponent);
  return found != 0;
}

#define TRIREME_DEFINE_ANY(name, Bits, kExponent) \
  TRIREME_VECTORIZED bool name(const Bits* bits, int64_t n) { return any_loop<Bits, kExponent>(bits, n); }
TRIREME_DEFINE_ANY(any_bf16, uint16_t, 0x7f80)
TRIREME_DEFINE_ANY(any_f16, uint16_t, 0x7c00)
TRIREME_DEFINE_ANY(any_f32, uint32_t, 0x7f800000u)
TRIREME_DEFINE_ANY(any_f64, uint64_t, 0x7ff0000000000000u)

// Whole pieces are asked at once; only the piece that has one is searched.
template <class Bits>
void find(Context& ctx, const Tensor& t, bool (*any)(const Bits*, int64_t), int64_t* first) {
  constexpr int64_t kPiece = 1024;
  const Bits* bits = static_cast<const Bits*>(t.raw());
  std::atomic<int64_t> least = t.numel();
  parallel_elements(ctx, t.numel(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end && i < least.load(std::memory_order_relaxed); i += kPiece) {
      if (!any(bits + i, std::min(kPiece, end - i))) continue;
      while (!any(bits + i, 1)) ++i;
      for (int64_t seen = least.load(); i < seen && !least.compare_exchange_weak(seen, i);) {
      }
      return;
    }
  });
  *first = least.load();
}

}  // namespace

void find_nonfinite(Context& ctx, const Tensor& t, const Tensor& first) {
  auto* out = first.data<int64_t>();
  switch (t.dtype()) {
    case DType::f32:
      return find<uint32_t>(ctx, t, any_f32, out);
    case DType::f64:
      return find<uint64_t>(ctx, t, any_f64, out);
    case DType::bf16:
      return find<uint16_t>(ctx, t, any_bf16, out);
    default:
      return find<uint16_t>(ctx, t, any_f16, out);
  }
}

void propagate_nonfinite(Context&, const Tensor& x, const Tensor& out) {
  if (!std::isfinite(*x.data<double>())) *out.data<double>() = std::numeric_limits<double>::quiet_NaN();
}

}  // namespace trireme::ops::cpu
