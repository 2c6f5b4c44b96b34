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
    ops::embedding(ctx_, make_indices(ctx_, ids), tokens, {0, kVocab}, {}, {}, out);
    expect_close(to_vector(out), single, 0.0);
    ops::embedding(ctx_, make_indices(ctx_, ids), tokens, {0, kVocab}, make_indices(ctx_, places), positions,
                   out);
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
    ops::embedding_backward(ctx_, make_indices(ctx_, ids), dout, {0, kVocab}, table);
    EXPECT_EQ(to_vector(table), expected);
    ops::embedding_backward(threads_, make_indices(ctx_, ids), dout, {0, kVocab}, other);
    EXPECT_TRUE(same_bits(table, other));
  }
}

TEST_P(EmbeddingTest, PartsOfATableAddUpToTheWhole) {
  constexpr int64_t kWidth = 19, kCuts[] = {0, 1, 7, 7, kVocab};  // a part may be empty
  const auto ids = some_ids(40);
  const Tensor tokens = random_tensor(ctx_, {kVocab, kWidth}, dtype(), 1);
  const Tensor dout = random_tensor(ctx_, {40, kWidth}, dtype(), 3);
  const Tensor whole = Tensor::empty(ctx_, {40, kWidth}, dtype());
  const Tensor dwhole = full(ctx_, {kVocab, kWidth}, DType::f32, 0.5f);
  ops::embedding(ctx_, make_indices(ctx_, ids), tokens, {0, kVocab}, {}, {}, whole);
  ops::embedding_backward(ctx_, make_indices(ctx_, ids), dout, {0, kVocab}, dwhole);
  std::vector<float> sum(40 * kWidth), gradient;
  for (size_t i = 0; i + 1 < std::size(kCuts); ++i) {
    const ops::TablePart part{kCuts[i], kVocab};
    const int64_t rows = kCuts[i + 1] - kCuts[i];
    const Tensor out = Tensor::empty(ctx_, {40, kWidth}, dtype());
    ops::embedding(ctx_, make_indices(ctx_, ids), tokens.slice(kCuts[i], kCuts[i + 1]), part, {}, {}, out);
    const auto values = to_vector(out);
    for (size_t j = 0; j < sum.size(); ++j) sum[j] += values[j];
    const Tensor dtable = full(ctx_, {rows, kWidth}, DType::f32, 0.5f);
    ops::embedding_backward(threads_, make_indices(ctx_, ids), dout, part, dtable);
    for (const float g : to_vector(dtable)) gradient.push_back(g);
  }
  EXPECT_EQ(sum, to_vector(whole));
  EXPECT_EQ(gradient, to_vector(dwhole));
}

TEST_P(EmbeddingTest, RefusesWhatDoesNotFit) {
  const Tensor table = random_tensor(ctx_, {kVocab, 4}, dtype(), 1),
               out = Tensor::empty(ctx_, {2, 4}, dtype());
  const Tensor ids = make_indices(ctx_, {0, 10}), dtable = full(ctx_, {kVocab, 4}, DType::f32, 0.0f);
  EXPECT_NO_THROW(ops::embedding(ctx_, ids, table, {0, kVocab}, ids, table, out));
  EXPECT_THROW(ops::embedding(ctx_, ids, table, {0, kVocab}, ids, {}, out), InternalError);
  EXPECT_THROW(ops::embedding(ctx_, make_indices(ctx_, {0}), table, {0, kVocab}, {}, {}, out), InternalError);
  EXPECT_THROW(
      ops::embedding(ctx_, ids, random_tensor(ctx_, {kVocab, 3}, dtype(), 1), {0, kVocab}, {}, {}, out),
      InternalError);
  EXPECT_THROW(
      ops::embedding_backward(ctx_, ids, out, {0, kVocab}, full(ctx_, {kVocab, 5}, DType::f32, 0.0f)),
      InternalError);
  EXPECT_THROW(
      ops::embedding_backward(ctx_, ids, out, {0, kVocab}, Tensor::empty(ctx_, {kVocab, 4}, DType::f64)),
      InternalError);
  EXPECT_THROW(ops::embedding(ctx_, ids, table, {1, kVocab}, {}, {}, out), InternalError);
  EXPECT_THROW(ops::embedding_backward(ctx_, ids, out, {-1, kVocab}, dtable), InternalError);
}

TEST_P(EmbeddingTest, RefusesIdsOutsideTheTable) {
  const Tensor table = random_tensor(ctx_, {kVocab, 4}, dtype(), 1),
               out = Tensor::empty(ctx_, {2, 4}, dtype());
  const Tensor dtable = full(ctx_, {kVocab, 4}, DType::f32, 0.0f);
  for (const int32_t wrong : {11, -1}) {
    const Tensor ids = make_indices(ctx_, {0, wrong});
    EXPECT_THROW(ops::embedding(ctx_, ids, table, {0, kVocab}, {}, {}, out), InternalError);
    EXPECT_THROW(ops::embedding_backward(ctx_, ids, out, {0, kVocab}, dtable), InternalError);
  }
}

}  // namespace
}  // namespace trireme::test
