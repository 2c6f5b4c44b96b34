// Calls of every op with drawn shapes, options and operands.
#pragma once

#include <initializer_list>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {

/// Numbers that depend on a seed alone.
class Draw {
 public:
  explicit Draw(uint64_t seed) : generator_(seed) {}

  int64_t between(int64_t first, int64_t last) {
    return first + static_cast<int64_t>(generator_() % static_cast<uint64_t>(last - first + 1));
  }
  bool coin() { return between(0, 1) == 1; }
  template <class T>
  T pick(std::initializer_list<T> values) {
    return values.begin()[between(0, static_cast<int64_t>(values.size()) - 1)];
  }
  DType compute_type() { return pick({DType::f32, DType::bf16, DType::f16}); }
  /// A size that ops divide in other ways the more threads there are: small and odd, round, or between.
  int64_t size(int64_t largest);

  /// Of a compute type, all in (-1, 1).
  Tensor tensor(Context& ctx, const Shape& shape, DType dtype = DType::f32);
  /// The same as some columns of a wider matrix, or as the whole.
  ops::Columns columns(Context& ctx, int64_t rows, int64_t count, DType dtype);
  /// Below `limit`, i32; `least` and above.
  Tensor indices(Context& ctx, const Shape& shape, int64_t limit, int64_t least = 0);

 private:
  std::mt19937_64 generator_;
};

constexpr int64_t kElements = 200'000;  ///< of what is read from one end to the other

Tensor f64(Context& ctx, const Shape& shape, double value = 0);

/// Draws operands, calls the op, and returns all that it wrote.
using OpCase = std::vector<Tensor> (*)(Context&, Draw);

/// By the name of a case.
using OpCases = std::map<std::string, OpCase>;

const OpCases& product_cases();
const OpCases& layer_cases();
const OpCases& training_cases();
const OpCases& element_cases();
/// All of them: together they call every op.
const OpCases& thread_cases();

}  // namespace trireme::test
