#include "runtime/ops/embedding.h"

#include "tests/runtime/ops/op_test.h"

namespace trireme::test {
namespace {

using EmbeddingTest = OpTest;
TRIREME_FOR_COMPUTE_TYPES(EmbeddingTest);

constexpr int64_t kVocab = 11;

std::vector<int32_t> some_ids(int64_t rows) {
  std::vector<int32_t> ids;
  for (int64_t n = 0; n < rows; ++n) ids.push_back(static_cast<int32_t>((n * n + 3) % kVocab));
  return ids;
}

struct Case {
  int64_t rows, width;
};
constexpr Case kCases[] = {{0, 3}, {1, 1}, {5, 19}, {300, 130}};

TEST_P(EmbeddingTest, AddsTheRowsOfBothTables) {
  for (const Case& c : kCases) {
    const auto ids = some_ids(c.rows);
    std::vector<int32_t> places(ids.rbegin(), ids.rend());
    const Tensor tokens = random_tensor(ctx_, {kVocab, c.width}, dtype(), 1);
    const Tensor positions = random_tensor(ctx_, {kVocab, c.width}, dtype(), 2);
    const Tensor out = Tensor::empty(ctx_, {c.rows, c.width}, dtype());
    const auto token = to_vector(tokens), position = to_vector(positions);
    std::vector<double> single, both;
    for (size_t n = 0; n < ids.size(); ++n) {
      for (int64_t i = 0; i < c.width; ++i) {
        single.push_back(token[static_cast<size_t>(ids[n] * c.width + i)]);
        both.push_back(single.back() + position[static_cast<size_t>(places[n] * c.width + i)]);
      }
    }
    ops::embedding(ctx_, make_indices(ctx_, ids), tokens, {}, {}, out);
    expect_close(to_vector(out), single, 0.0);
    ops::embedding(ctx_, make_indices(ctx_, ids), tokens, make_indices(ctx_, places), positions, out);
    expect_close(to_vector(out), both, tolerance());
  }
}

TEST_P(EmbeddingTest, GradientAddsToTheTableInTheOrderOfTheRows) {
  for (const Case& c : kCases) {
    const auto ids = some_ids(c.rows);
    const Tensor dout = random_tensor(ctx_, {c.rows, c.width}, dtype(), 3);
    const Tensor table = random_tensor(ctx_, {kVocab, c.width}, DType::f32, 4);
    std::vector<float> expected = to_vector(table);
    const auto gradient = to_vector(dout);
    for (size_t n = 0; n < ids.size(); ++n) {
      for (int64_t i = 0; i < c.width; ++i) {
        expected[static_cast<size_t>(ids[n] * c.width + i)] +=
            gradient[n * static_cast<size_t>(c.width) + static_cast<size_t>(i)];
      }
    }
    const Tensor other = clone(ctx_, table);
    ops::embedding_backward(ctx_, make_indices(ctx_, ids), dout, table);
    EXPECT_EQ(to_vector(table), expected);
    ops::embedding_backward(threads_, make_indices(ctx_, ids), dout, other);
    EXPECT_TRUE(same_bits(table, other));
  }
}

TEST_P(EmbeddingTest, RefusesWhatDoesNotFit) {
  const Tensor table = random_tensor(ctx_, {kVocab, 4}, dtype(), 1),
               out = Tensor::empty(ctx_, {2, 4}, dtype());
  const Tensor ids = make_indices(ctx_, {0, 10}), dtable = full(ctx_, {kVocab, 4}, DType::f32, 0.0f);
  EXPECT_NO_THROW(ops::embedding(ctx_, ids, table, ids, table, out));
  EXPECT_THROW(ops::embedding(ctx_, ids, table, ids, {}, out), InternalError);
  EXPECT_THROW(ops::embedding(ctx_, make_indices(ctx_, {0}), table, {}, {}, out), InternalError);
  EXPECT_THROW(ops::embedding(ctx_, make_indices(ctx_, {0, 11}), table, {}, {}, out), InternalError);
  EXPECT_THROW(ops::embedding(ctx_, make_indices(ctx_, {-1, 1}), table, {}, {}, out), InternalError);
  EXPECT_THROW(ops::embedding(ctx_, ids, random_tensor(ctx_, {kVocab, 3}, dtype(), 1), {}, {}, out),
               InternalError);
  EXPECT_THROW(ops::embedding_backward(ctx_, make_indices(ctx_, {0, 11}), out, dtable), InternalError);
  EXPECT_THROW(ops::embedding_backward(ctx_, ids, out, full(ctx_, {kVocab, 5}, DType::f32, 0.0f)),
               InternalError);
  EXPECT_THROW(ops::embedding_backward(ctx_, ids, out, Tensor::empty(ctx_, {kVocab, 4}, DType::f64)),
               InternalError);
}

}  // namespace
}  // namespace trireme::test
