#include "runtime/comm/reduction.h"

#include <algorithm>
#include <type_traits>

namespace trireme {

namespace {

constexpr int64_t kBlock = 1024;  // elements; the accumulators stay in the first-level cache

struct Sum {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      using Unsigned = std::make_unsigned_t<T>;
      return static_cast<T>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b));
    } else {
      return a + b;
    }
  }
};
struct Max {
  template <class T>
  T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};
struct Min {
  template <class T>
  T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};

template <class T>
using Accumulator = std::conditional_t<sizeof(T) == 2, float, T>;

template <class T, class Op>
void reduce(std::span<const std::byte* const> parts, int64_t count, std::byte* out_bytes, Op op) {
  using Acc = Accumulator<T>;
  Acc sum[kBlock];
  T* out = reinterpret_cast<T*>(out_bytes);
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t n = std::min(kBlock, count - begin);
    const T* first = reinterpret_cast<const T*>(parts[0]) + begin;
    for (int64_t i = 0; i < n; ++i) sum[i] = static_cast<Acc>(first[i]);
    for (const std::byte* part : parts.subspan(1)) {
      const T* next = reinterpret_cast<const T*>(part) + begin;
      for (int64_t i = 0; i < n; ++i) sum[i] = op(sum[i], static_cast<Acc>(next[i]));
    }
    for (int64_t i = 0; i < n; ++i) out[begin + i] = static_cast<T>(sum[i]);
  }
}

template <class T>
void reduce(ReduceOp op, std::span<const std::byte* const> parts, int64_t count, std::byte* out) {
  switch (op) {
    case ReduceOp::sum:
      return reduce<T>(parts, count, out, Sum{});
    case ReduceOp::max:
      return reduce<T>(parts, count, out, Max{});
    case ReduceOp::min:
      return reduce<T>(parts, count, out, Min{});
  }
}

}  // namespace

void reduce_in_order(ReduceOp op, DType dtype, std::span<const std::byte* const> parts, int64_t count,
                     std::byte* out) {
  switch (dtype) {
    case DType::f32:
      return reduce<float>(op, parts, count, out);
    case DType::bf16:
      return reduce<bf16>(op, parts, count, out);
    case DType::f16:
      return reduce<fp16>(op, parts, count, out);
    case DType::f64:
      return reduce<double>(op, parts, count, out);
    case DType::i32:
      return reduce<int32_t>(op, parts, count, out);
    case DType::i64:
      return reduce<int64_t>(op, parts, count, out);
    case DType::u8:
    case DType::f8e4m3:
    case DType::f8e5m2:
      break;
  }
  TRIREME_CHECK(false, "{} cannot be reduced", to_string(dtype));
}

}  // namespace trireme
