// Pieces of a matrix that begin and end anywhere in a block's rows.
#include "parallel/optimizer/matrix_pieces.h"

#include <gtest/gtest.h>

#include "tests/support/tensors.h"
#include "tests/support/test_device.h"

namespace trireme::test {
namespace {

struct BlockCase {
  int64_t row, column, rows, columns;
};

TEST(MatrixPieces, AreCutAndPastedWhereverTheyBeginAndEnd) {
  Context ctx(test_device());
  constexpr int64_t kRows = 6, kColumns = 9;
  const Tensor whole = random_tensor(ctx, {kRows, kColumns}, DType::f32, 1);
  const auto values = to_vector(whole);
  for (const BlockCase& block : {BlockCase{0, 0, kRows, kColumns},
                                 {2, 0, 3, kColumns},
                                 {0, 4, kRows, 3},
                                 {1, 2, 4, 5},
                                 {3, 8, 3, 1},
                                 {2, 3, 1, 4}}) {
    const int64_t numel = block.rows * block.columns;
    for (int64_t first = 0; first <= numel; ++first) {
      for (int64_t size = 0; first + size <= numel; ++size) {
        const MatrixPiece piece{block.row, block.column, block.rows, block.columns, first, size};
        std::vector<float> expected, placed(values.size(), 0.0f);
        for (int64_t i = first; i < first + size; ++i) {
          const auto at = static_cast<size_t>((block.row + i / block.columns) * kColumns + block.column +
                                              i % block.columns);
          expected.push_back(values[at]);
          placed[at] = values[at];
        }
        const Tensor elements = Tensor::empty(ctx, {size}, DType::f32);
        cut(ctx, piece, whole, elements);
        ASSERT_EQ(to_vector(elements), expected) << first << " + " << size;
        const Tensor pasted =
            make_tensor(ctx, {kRows, kColumns}, DType::f32, std::vector<float>(values.size(), 0.0f));
        paste(ctx, piece, elements, pasted);
        ASSERT_EQ(to_vector(pasted), placed) << first << " + " << size;
      }
    }
  }
}

}  // namespace
}  // namespace trireme::test
