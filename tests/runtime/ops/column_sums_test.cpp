#include "runtime/ops/gemm/gemm.h"
#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

TEST(ColumnSums, MatchDoublePrecisionAndDoNotDependOnThreads) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    for (const auto& [rows, columns] :
         {std::pair<int64_t, int64_t>{0, 3}, {1, 1}, {7, 5}, {8, 129}, {1001, 771}}) {
      Context one(test_device()), two(test_device(), 2);
      const Tensor x = random_tensor(one, {rows, columns}, dtype, 1);
      const Tensor out = random_tensor(one, {columns}, DType::f32, 2),
                   same = random_tensor(one, {columns}, DType::f32, 2);
      const auto xv = to_vector(x), before = to_vector(out);
      ops::add_column_sums(one, x, out);
      ops::add_column_sums(two, x, same);
      const auto after = to_vector(out);
      EXPECT_EQ(after, to_vector(same));
      for (int64_t c = 0; c < columns; ++c) {
        double sum = before[c];
        for (int64_t r = 0; r < rows; ++r) sum += xv[r * columns + c];
        EXPECT_NEAR(after[c], sum, 1e-4) << rows << "x" << columns << " column " << c;
      }
    }
  }
}

}  // namespace
}  // namespace trireme::test
