#include "runtime/ops/permute.h"

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

using PermuteTest = OpTest;
TRIREME_FOR_COMPUTE_TYPES(PermuteTest);

struct Case {
  int64_t rows, k, width, spare;  // spare rows that no slot names; every fifth choice is dropped
};
constexpr Case kCases[] = {{0, 2, 3, 0}, {1, 1, 1, 0}, {5, 2, 19, 3}, {301, 3, 130, 7}};

// A permutation of the kept choices into rows + spare.
std::vector<int32_t> some_slots(const Case& c, int64_t& num_rows) {
  std::vector<int32_t> slots;
  num_rows = 0;
  for (int64_t i = 0; i < c.rows * c.k; ++i)
    slots.push_back(i % 5 == 4 ? -1 : static_cast<int32_t>(num_rows++));
  for (int32_t& slot : slots) {
    if (slot >= 0) slot = static_cast<int32_t>(num_rows - 1 - slot);
  }
  num_rows += c.spare;
  return slots;
}

TEST_P(PermuteTest, RowsGoToTheirSlotsAndBackWithTheirGates) {
  for (const Case& c : kCases) {
    int64_t num_rows = 0;
    const auto slot = some_slots(c, num_rows);
    const Tensor slots = make_indices(ctx_, slot).view({c.rows, c.k});
    const Tensor x = random_tensor(ctx_, {c.rows, c.width}, dtype(), 1);
    const Tensor permuted = full(ctx_, {num_rows, c.width}, dtype(), 9), threaded = clone(ctx_, permuted);
    ops::permute_rows(ctx_, x, slots, permuted);
    ops::permute_rows(threads_, x, slots, threaded);
    EXPECT_TRUE(same_bits(permuted, threaded));
    const auto in = to_vector(x), gates_values = to_vector(random_tensor(ctx_, {c.rows, c.k}, DType::f32, 2));
    const auto width = static_cast<size_t>(c.width), k = static_cast<size_t>(c.k);
    std::vector<double> expected(static_cast<size_t>(num_rows) * width, 0.0);
    for (size_t i = 0; i < slot.size(); ++i) {
      for (size_t w = 0; w < width && slot[i] >= 0; ++w)
        expected[static_cast<size_t>(slot[i]) * width + w] = in[i / k * width + w];
    }
    expect_close(to_vector(permuted), expected, 0.0);

    const Tensor y = random_tensor(ctx_, {num_rows, c.width}, dtype(), 3);
    const Tensor gates = make_tensor(ctx_, {c.rows, c.k}, DType::f32, gates_values);
    const Tensor out = clone(ctx_, x), plain = clone(ctx_, x);
    ops::combine_rows(ctx_, y, slots, gates, out);
    ops::combine_rows(threads_, y, slots, {}, plain);
    const auto rows = to_vector(y);
    std::vector<double> weighted(in.size(), 0.0), sums(in.size(), 0.0);
    for (size_t i = 0; i < slot.size(); ++i) {
      for (size_t w = 0; w < width && slot[i] >= 0; ++w) {
        const double value = rows[static_cast<size_t>(slot[i]) * width + w];
        weighted[i / k * width + w] += static_cast<double>(gates_values[i]) * value;
        sums[i / k * width + w] += value;
      }
    }
    expect_close(to_vector(out), weighted, tolerance());
    expect_close(to_vector(plain), sums, tolerance());
  }
}

TEST_P(PermuteTest, BackwardOfCombineScalesRowsAndGivesTheGatesTheirProducts) {
  for (const Case& c : kCases) {
    int64_t num_rows = 0;
    const auto slot = some_slots(c, num_rows);
    const Tensor slots = make_indices(ctx_, slot).view({c.rows, c.k});
    const Tensor y = random_tensor(ctx_, {num_rows, c.width}, dtype(), 3);
    const Tensor dout = random_tensor(ctx_, {c.rows, c.width}, dtype(), 4);
    const Tensor gates = random_tensor(ctx_, {c.rows, c.k}, DType::f32, 5);
    const Tensor dgates = clone(ctx_, gates), dy = full(ctx_, y.shape(), dtype(), 9),
                 in_place = clone(ctx_, y);
    ops::combine_rows_backward(ctx_, y, slots, gates, dout, dy, dgates);
    ops::combine_rows_backward(threads_, in_place, slots, gates, dout, in_place, dgates);
    EXPECT_TRUE(same_bits(dy, in_place));
    const auto rows = to_vector(y), gradient = to_vector(dout), gate = to_vector(gates);
    const auto width = static_cast<size_t>(c.width), k = static_cast<size_t>(c.k);
    std::vector<double> drows(rows.size(), 0.0), products(slot.size(), 0.0);
    for (size_t i = 0; i < slot.size(); ++i) {
      for (size_t w = 0; w < width && slot[i] >= 0; ++w) {
        const size_t at = static_cast<size_t>(slot[i]) * width + w;
        const double d = gradient[i / k * width + w];
        drows[at] = static_cast<double>(gate[i]) * d;
        products[i] += d * static_cast<double>(rows[at]);
      }
    }
    expect_close(to_vector(dy), drows, tolerance());
    expect_close(to_vector(dgates), products, 1e-5, std::sqrt(static_cast<double>(c.width)));
  }
}

TEST(Permute, ASlotNamedTwiceIsADefect) {
  Context ctx;
  const Tensor x = random_tensor(ctx, {2, 3}, DType::f32, 1);
  const Tensor slots = make_indices(ctx, {1, 1}).view({2, 1});
  EXPECT_THROW(ops::permute_rows(ctx, x, slots, clone(ctx, x)), InternalError);
}

}  // namespace
}  // namespace trireme::test
