// What the tests of the ops share: every compute type, contexts of one and of several threads, tolerance.
#pragma once

#include <cmath>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/shared_contexts.h"
#include "tests/support/tensors.h"

namespace trireme::test {

/// Runs once per compute type.
class OpTest : public SharedContexts, public testing::WithParamInterface<DType> {
 protected:
  DType dtype() const { return GetParam(); }
  /// Relative rounding error of one value of the type, with some room for the fp32 arithmetic before it.
  double tolerance() const {
    return dtype() == DType::bf16 ? 0x1p-8 : dtype() == DType::f16 ? 0x1p-10 : 4e-6;
  }

  Context& ctx_ = context();
  Context& threads_ = context(3);
};

inline std::string dtype_name(const testing::TestParamInfo<DType>& info) {
  return std::string(to_string(info.param));
}

#define TRIREME_FOR_COMPUTE_TYPES(suite) \
  INSTANTIATE_TEST_SUITE_P(Types, suite, testing::Values(DType::f32, DType::bf16, DType::f16), dtype_name)

/// |actual - expected| <= tolerance * (scale + |expected|), element by element.
inline void expect_close(const std::vector<float>& actual, const std::vector<double>& expected,
                         double tolerance, double scale = 1.0) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_LE(std::abs(actual[i] - expected[i]), tolerance * (scale + std::abs(expected[i])))
        << "element " << i << ": " << actual[i] << ", expected " << expected[i];
  }
}

inline std::vector<std::byte> read_bytes(const Tensor& t) {
  std::vector<std::byte> bytes(static_cast<size_t>(t.bytes()));
  copy_memory(t, bytes.data(), t.raw());
  return bytes;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.bytes() == b.bytes() && read_bytes(a) == read_bytes(b);
}

/// A copy with storage of its own.
inline Tensor clone(Context& ctx, const Tensor& t) {
  const Tensor out = Tensor::empty(ctx, t.shape(), t.dtype());
  copy_memory(out, out.raw(), read_bytes(t).data());
  return out;
}

/// Every element `value`.
inline Tensor full(Context& ctx, const Shape& shape, DType dtype, float value) {
  return make_tensor(ctx, shape, dtype, std::vector<float>(static_cast<size_t>(shape.numel()), value));
}

inline Tensor make_indices(Context& ctx, const std::vector<int32_t>& values) {
  const Tensor t = Tensor::empty(ctx, {static_cast<int64_t>(values.size())}, DType::i32);
  write(t, values);
  return t;
}

}  // namespace trireme::test
