#include "runtime/ops/attention/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "runtime/ops/attention/attention_by_cudnn.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/op_observer.h"
#include "tests/support/shared_contexts.h"
#include "tests/support/tensors.h"
#include "tests/support/tier.h"

namespace trireme {
namespace {

using ops::AttentionShape;
using ops::Columns;
using test::make_tensor;
using test::random_tensor;
using test::to_vector;

using Doubles = std::vector<double>;
using FirstKeys = std::vector<int32_t>;  // [batch, q_len]; empty: none

// As many queries as this lie in columns that no vector of 16 bytes reaches, whatever the head.
constexpr int64_t kOddColumns = 37;

// In vectors of 16 bytes, as a model's projections do.
bool lies_in_vectors(const AttentionShape& s) {
  return s.head_dim >= 32 && s.head_dim % 16 == 0 && s.q_len != kOddColumns;
}

// q, k and v packed side by side with other columns around them, as projections are.
struct Packed {
  Packed(Context& ctx, const AttentionShape& s, DType dtype, uint64_t seed) {
    const int64_t d = s.head_dim, kv = s.num_kv_heads * d, heads = s.num_heads * d;
    if (lies_in_vectors(s)) {
      q = {random_tensor(ctx, {s.batch * s.q_len, heads + 16}, dtype, seed), 8, heads};
      const Tensor both = random_tensor(ctx, {s.batch * s.kv_len, 2 * kv + 8}, dtype, seed + 100);
      k = {both, 0, kv};
      v = {both, kv + 8, kv};
    } else if (s.q_len == s.kv_len) {
      const Tensor qkv = random_tensor(ctx, {s.batch * s.q_len, 3 + heads + 2 * kv}, dtype, seed);
      q = {qkv, 1, heads};
      k = {qkv, 2 + heads, kv};
      v = {qkv, 2 + heads + kv, kv};
    } else {
      q = {random_tensor(ctx, {s.batch * s.q_len, heads + 2}, dtype, seed), 2, heads};
      const Tensor both = random_tensor(ctx, {s.batch * s.kv_len, 2 * kv}, dtype, seed + 100);
      k = {both, 0, kv};
      v = {both, kv, kv};
    }
  }
  Columns q, k, v;
};

// The columns as [rows, count] doubles.
Doubles values_of(const Columns& c) {
  const auto all = to_vector(c.matrix);
  Doubles values;
  for (int64_t r = 0; r < c.rows(); ++r) {
    const auto begin = all.begin() + r * c.stride() + c.begin;
    values.insert(values.end(), begin, begin + c.count);
  }
  return values;
}

// The values outside the columns, which nobody may touch.
std::vector<float> values_around(const Tensor& matrix, std::vector<Columns> columns) {
  auto all = to_vector(matrix);
  for (const Columns& c : columns) {
    if (c.matrix.raw() != matrix.raw()) continue;
    for (int64_t r = 0; r < c.rows(); ++r) std::fill_n(all.begin() + r * c.stride() + c.begin, c.count, 0.0f);
  }
  return all;
}

// Keys [first, second) that query i of sequence b sees, each place asked on its own.
std::pair<int64_t, int64_t> seen_by(const AttentionShape& s, int64_t b, int64_t i,
                                    const FirstKeys& first_keys = {}) {
  const int64_t place = i + s.kv_len - s.q_len + s.shift;
  const auto is_seen = [&](int64_t key) {
    if (!first_keys.empty() && s.first_place + key < first_keys[b * s.q_len + i]) return false;
    return (!s.causal || key <= place) && (s.window == 0 || key > place - s.window);
  };
  int64_t first = 0, end = s.kv_len;
  while (first < end && !is_seen(first)) ++first;
  while (end > first && !is_seen(end - 1)) --end;
  return {first, end};
}

// Attention by its definition, in double precision, with its gradients.
struct Reference {
  Doubles out, lse, dq, dk, dv;

  Reference(const AttentionShape& s, const FirstKeys& first_keys, const Packed& in, const Doubles& dout) {
    const auto q = values_of(in.q), k = values_of(in.k), v = values_of(in.v);
    const int64_t d = s.head_dim, group = s.num_heads / s.num_kv_heads;
    const int64_t q_width = s.num_heads * d, kv_width = s.num_kv_heads * d;
    out.resize(q.size()), dq.resize(q.size()), dk.resize(k.size()), dv.resize(v.size());
    for (int64_t b = 0; b < s.batch; ++b) {
      for (int64_t h = 0; h < s.num_heads; ++h) {
        for (int64_t i = 0; i < s.q_len; ++i) {
          const int64_t at_q = (b * s.q_len + i) * q_width + h * d;
          const auto at_kv = [&](int64_t j) { return (b * s.kv_len + j) * kv_width + h / group * d; };
          const auto [first, end] = seen_by(s, b, i, first_keys);
          Doubles p(s.kv_len), slope(s.kv_len, 1.0);
          double sum = 0, delta = 0;
          for (int64_t j = first; j < end; ++j) {
            double score = 0;
            for (int64_t c = 0; c < d; ++c) score += s.scale * q[at_q + c] * k[at_kv(j) + c];
            if (s.soft_cap > 0) {
              const double t = std::tanh(score / s.soft_cap);
              score = s.soft_cap * t;
              slope[j] = 1 - t * t;
            }
            p[j] = std::exp(score);
            sum += p[j];
          }
          lse.push_back(std::log(sum));
          for (int64_t j = first; j < end; ++j) {
            p[j] /= sum;
            for (int64_t c = 0; c < d; ++c) out[at_q + c] += p[j] * v[at_kv(j) + c];
          }
          for (int64_t c = 0; c < d; ++c) delta += out[at_q + c] * dout[at_q + c];
          for (int64_t j = first; j < end; ++j) {
            double dp = 0;
            for (int64_t c = 0; c < d; ++c) {
              dp += dout[at_q + c] * v[at_kv(j) + c];
              dv[at_kv(j) + c] += p[j] * dout[at_q + c];
            }
            const double ds = p[j] * (dp - delta) * slope[j] * s.scale;
            for (int64_t c = 0; c < d; ++c) {
              dq[at_q + c] += ds * k[at_kv(j) + c];
              dk[at_kv(j) + c] += ds * q[at_q + c];
            }
          }
        }
      }
    }
  }
};

struct BothPasses {
  BothPasses(Context& ctx, const AttentionShape& s, DType dtype)
      : in(ctx, s, dtype, 1),
        gradients(ctx, s, dtype, 2),
        out(Tensor::empty(ctx, {s.batch * s.q_len, s.num_heads * s.head_dim}, dtype)),
        lse(Tensor::empty(ctx, {s.batch, s.num_heads, s.q_len}, DType::f32)),
        dout(random_tensor(ctx, out.shape(), dtype, 3)) {
    both_passes(ctx, s);
  }

  void both_passes(Context& ctx, const AttentionShape& s) const {
    ops::attention(ctx, s, in.q, in.k, in.v, out, lse);
    ops::attention_backward(ctx, s, in.q, in.k, in.v, out, lse, dout, gradients.q, gradients.k, gradients.v);
  }

  std::vector<Doubles> results() const {
    return {values_of({out, 0, out.dim(1)}), values_of({lse.view({1, lse.numel()}), 0, lse.numel()}),
            values_of(gradients.q), values_of(gradients.k), values_of(gradients.v)};
  }

  Packed in, gradients;
  Tensor out, lse, dout;
};

// Where cuDNN alone is asked for (TRIREME_TEST_ATTENTION) and does not serve the case, it has to say why.
bool is_refused(Context& ctx, const AttentionShape& s, DType dtype) {
  if (ctx.settings().attention != AttentionChoice::cudnn) return false;
  const std::string why = ops::why_not_by_cudnn(s, dtype);
  const bool is_single = s.q_len == 1 && s.kv_len == 1;  // of which nobody asks it
  try {
    const BothPasses run(ctx, s, dtype);
    EXPECT_TRUE(why.empty() || is_single) << why;
    return false;
  } catch (const UserError& error) {
    const std::string said = error.what();
    const auto has = [&](std::string_view text) { return said.find(text) != std::string::npos; };
    if (!why.empty()) {
      EXPECT_TRUE(has(why)) << said;
    } else if (!lies_in_vectors(s)) {
      EXPECT_TRUE(has("multiples of 16 bytes")) << said;
    } else {
      EXPECT_TRUE(has("it says: ") && s.head_dim != 64 && s.head_dim != 128) << said;
    }
    EXPECT_TRUE(has("run.attention cudnn")) << said;
    return true;
  }
}

// Edge cases are nobody's in particular.
OpSettings settings_of_edges() {
  OpSettings settings = test::test_settings();
  if (settings.attention == AttentionChoice::cudnn) settings.attention = AttentionChoice::automatic;
  return settings;
}

// First keys of documents of these lengths in each row, the next row's in the next list.
FirstKeys packed(const std::vector<FirstKeys>& rows) {
  FirstKeys first_keys;
  for (const FirstKeys& lengths : rows) {
    int32_t begin = 0;
    for (const int32_t length : lengths) {
      first_keys.insert(first_keys.end(), static_cast<size_t>(length), begin);
      begin += length;
    }
  }
  return first_keys;
}

void expect_near(const char* what, const Doubles& got, const Doubles& expected, double relative) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  double largest = 1;
  for (const double x : expected) largest = std::isinf(x) ? largest : std::max(largest, std::abs(x));
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isinf(expected[i])) {
      ASSERT_EQ(got[i], expected[i]) << what << "[" << i << "]";
    } else {
      ASSERT_NEAR(got[i], expected[i], relative * largest) << what << "[" << i << "]";
    }
  }
}

void expect_attention(Context& one, Context& two, AttentionShape s, const FirstKeys& first_keys,
                      DType dtype) {
  if (!first_keys.empty()) s.first_key = ops::to_device(one, first_keys, {s.batch, s.q_len});
  SCOPED_TRACE(ops::describe(s, dtype));
  s.scale *= 1.0f / std::sqrt(static_cast<float>(s.head_dim));
  if (is_refused(one, s, dtype)) return;
  const BothPasses run(one, s, dtype);
  const Reference expected(s, first_keys, run.in, values_of({run.dout, 0, run.dout.dim(1)}));
  const double tolerance = dtype == DType::bf16 ? 0x1p-7 : dtype == DType::f16 ? 0x1p-10 : 5e-6;
  // Where a query sees few keys, the rounding of `out` enters the gradients by its product with dout.
  const double room = s.window > 0 || s.soft_cap > 0 || s.shift != 0 || s.first_key ? 3 : 1;
  const auto got = run.results();
  expect_near("out", got[0], expected.out, tolerance);
  expect_near("lse", got[1], expected.lse, 5e-6);
  expect_near("dq", got[2], expected.dq, room * tolerance);
  expect_near("dk", got[3], expected.dk, room * tolerance);
  expect_near("dv", got[4], expected.dv, tolerance);
  EXPECT_EQ(got, BothPasses(two, s, dtype).results()) << "two threads";

  const Packed untouched(one, s, dtype, 2);
  const std::vector<Columns> columns{run.gradients.q, run.gradients.k, run.gradients.v};
  for (size_t i = 0; i < 3; ++i) {
    const Columns before = std::array{untouched.q, untouched.k, untouched.v}[i];
    EXPECT_EQ(values_around(columns[i].matrix, columns),
              values_around(before.matrix, {untouched.q, untouched.k, untouched.v}))
        << "columns beside the gradient";
  }
}

class Attention : public test::SharedContexts, public testing::WithParamInterface<DType> {
 protected:
  void expect(const AttentionShape& s, const FirstKeys& first_keys = {}) {
    expect_attention(context(), context(2), s, first_keys, GetParam());
  }
};

TEST_P(Attention, MatchesDoublePrecisionForwardAndBackward) {
  for (const bool causal : {true, false}) {
    expect({1, 1, 1, 1, 1, 1, 1, causal});
    expect({2, 5, 5, 2, 2, 3, 1, causal});
    expect({2, 64, 64, 2, 2, 16, 1, causal});
    expect({1, 131, 131, 3, 3, 33, 1, causal});
    expect({2, 70, 70, 6, 2, 8, 1, causal});   // grouped queries
    expect({1, 66, 66, 4, 1, 12, 1, causal});  // one key/value head
    expect({2, 3, 141, 4, 2, 8, 1, causal});   // few queries behind many keys
    expect({1, 1, 77, 2, 2, 64, 1, causal});
    expect({1, 70, 70, 2, 1, 64, 1, causal});
    expect({2, 66, 5, 1, 1, 64, 1, causal});
    expect({1, 67, 131, 1, 1, 128, 1, causal});
    expect({1, 33, 33, 1, 1, 130, 1, causal});
    expect({2, 150, 20, 2, 1, 8, 1, causal});  // causal: whole blocks see no key
  }
}

// Windows of one key, narrower than a tile, over several tiles, and wider than the row.
TEST_P(Attention, AWindowHidesTheKeysBeforeIt) {
  for (const int64_t window : {1, 40, 400}) {
    expect({2, 70, 70, 2, 1, 8, 1, true, window});
    expect({1, 3, 141, 4, 2, 16, 1, true, window});  // few queries behind many keys
    expect({1, 90, 20, 2, 1, 8, 1, true, window});   // whole blocks see no key
  }
  expect({1, 131, 131, 2, 1, 33, 1, true, 5});
  expect({1, 1, 77, 2, 2, 16, 1, true, 6});
}

TEST_P(Attention, ASoftCapBoundsTheScores) {
  for (const float cap : {0.4f, 50.0f}) {
    for (const bool causal : {true, false}) expect({2, 34, 38, 2, 1, 12, 4, causal, 0, cap});
    expect({1, 70, 70, 1, 1, 64, 4, true, 40, cap});
  }
}

// Ring attention's blocks: keys before the queries' own, of which some or none are in the window.
TEST_P(Attention, ShiftsPlaceTheQueriesBesideABlockOfKeys) {
  for (const int64_t shift : {-75, -9, 1, 40, 139, 140, 1000}) {
    expect({1, 70, 70, 2, 1, 8, 1, true, 70, 0, shift});
  }
  for (const int64_t shift : {-20, 30, 200}) {
    expect({1, 40, 30, 2, 2, 64, 1, true, 45, 2, shift});
    expect({2, 35, 35, 1, 1, 8, 1, true, 0, 0, shift});
  }
}

TEST_P(Attention, FirstKeysKeepDocumentsApart) {
  expect({1, 1, 1, 1, 1, 1, 1}, {0});
  expect({1, 70, 70, 2, 1, 8, 1}, FirstKeys(70, 0));
  expect({1, 70, 70, 2, 1, 8, 1}, packed({FirstKeys(70, 1)}));  // each token by itself
  expect({2, 141, 141, 2, 1, 33, 1}, packed({{1, 3, 64, 65, 8}, {100, 41}}));
  expect({2, 90, 90, 4, 2, 16, 1, true, 20, 2}, packed({{90}, {7, 13, 50, 20}}));
}

// Ring attention's blocks of keys that lie from a place on of a longer row; some queries see none.
TEST_P(Attention, FirstKeysCountPlacesOfALongerRow) {
  const FirstKeys rows = packed({{30, 50, 40}});  // of queries 70, ..., 119 the last two documents
  const FirstKeys late(rows.begin() + 70, rows.end());
  for (const int64_t first_place : {0, 30, 60, 80}) {
    const int64_t keys = 40, shift = 120 - first_place - keys;
    AttentionShape s{1, 50, keys, 2, 1, 8, 1, true, 0, 0, shift};
    s.first_place = first_place;
    expect(s, late);
    s.window = 35;
    expect(s, late);
  }
}

TEST_P(Attention, DrawnShapesMatchDoublePrecision) {
  std::vector<uint64_t> seeds(60);
  std::iota(seeds.begin(), seeds.end(), test::test_seed() * seeds.size());
  for (const uint64_t seed : test::sample(seeds, 4)) {
    std::mt19937_64 generator(seed);
    const auto draw = [&](int64_t least, int64_t most) {
      return least + static_cast<int64_t>(generator() % static_cast<uint64_t>(most - least + 1));
    };
    AttentionShape s{draw(1, 2), draw(1, 110), draw(1, 150)};
    s.num_kv_heads = draw(1, 2);
    s.num_heads = s.num_kv_heads * draw(1, 3);
    s.head_dim = draw(0, 1) ? draw(1, 40) : 64;
    s.window = draw(0, 2) ? draw(1, 180) : 0;
    s.soft_cap = static_cast<float>(draw(0, 2));
    s.shift = draw(0, 1) ? draw(-60, 200) : 0;
    FirstKeys first_keys;
    if (draw(0, 1)) {
      for (int64_t n = 0; n < s.batch * s.q_len; ++n) {
        first_keys.push_back(n % s.q_len == 0 ? static_cast<int32_t>(draw(0, 20)) : first_keys.back());
        if (draw(0, 9) == 0) first_keys.back() += static_cast<int32_t>(draw(0, 30));
      }
      s.first_place = draw(0, 60);
    }
    expect(s, first_keys);
  }
}

// Heads of types that a device may treat in its own way, over several of its tiles.
class AttentionOfUsualHeads : public test::SharedContexts,
                              public testing::WithParamInterface<std::tuple<DType, bool>> {
 protected:
  void expect(const AttentionShape& s, const FirstKeys& first_keys = {}) {
    expect_attention(context(), context(2), s, first_keys, std::get<0>(GetParam()));
  }
};

TEST_P(AttentionOfUsualHeads, MatchesDoublePrecision) {
  const bool causal = std::get<1>(GetParam());
  expect({1, 203, 203, 2, 1, 32, 1, causal});
  expect({2, 260, 30, 1, 1, 32, 1, causal});  // causal: whole blocks see no key
  expect({1, 40, 290, 2, 1, 80, 1, causal});
  expect({1, 129, 129, 1, 1, 96, 1, causal});
  expect({1, 36, 130, 2, 1, 96, 1, causal});
  expect({1, 130, 257, 2, 1, 64, 1, causal});
  expect({1, 161, 161, 1, 1, 128, 1, causal});
  expect({2, kOddColumns, kOddColumns, 2, 1, 64, 1, causal});
  expect({1, 66, 70, 1, 1, 64, -1, causal});  // the lowest product counts most
  expect({1, 66, 70, 1, 1, 64, 0, causal});
}

TEST_P(AttentionOfUsualHeads, WindowsAndSoftCapsMatchDoublePrecision) {
  const bool causal = std::get<1>(GetParam());
  expect({1, 70, 75, 2, 1, 32, 4, causal, 0, 3});
  expect({1, 30, 100, 1, 1, 80, 4, causal, 0, 0.5f});
  if (!causal) return;
  for (const int64_t window : {1, 33, 140}) expect({1, 203, 203, 2, 1, 32, 1, true, window});
  expect({1, 50, 170, 2, 1, 64, 4, true, 70, 2});
  expect({1, 200, 30, 1, 1, 96, 1, true, 20});  // whole blocks see no key
  expect({1, 100, 100, 1, 1, 128, 1, true, 90, 0, 70});
  expect({1, 70, 70, 1, 1, 64, 1, true, 33, 0, 500});  // no key at all
}

TEST_P(AttentionOfUsualHeads, FirstKeysMatchDoublePrecision) {
  if (!std::get<1>(GetParam())) return;
  expect({1, 203, 203, 2, 1, 32, 1}, packed({{1, 33, 100, 64, 5}}));
  expect({2, 130, 130, 1, 1, 64, 4, true, 33, 2}, packed({FirstKeys(130, 1), {70, 60}}));
  expect({1, 161, 161, 1, 1, 128, 1}, packed({{90, 71}}));
  AttentionShape s{1, 100, 150, 1, 1, 80, 1, true, 0, 0, 30};
  s.first_place = 40;
  expect(s, packed({{10, 20, 30, 40}}));
  s.first_place = 0;
  FirstKeys far = packed({{60, 40}});
  for (int32_t& key : far) key += 120;  // of the keys that some queries see there are few
  expect(s, far);
}

INSTANTIATE_TEST_SUITE_P(, Attention, testing::Values(DType::f32, DType::bf16, DType::f16),
                         [](const auto& types) { return std::string(to_string(types.param)); });

INSTANTIATE_TEST_SUITE_P(, AttentionOfUsualHeads,
                         testing::Combine(testing::Values(DType::bf16, DType::f16), testing::Bool()),
                         [](const auto& p) {
                           return fmt::format("{}{}", to_string(std::get<0>(p.param)),
                                              std::get<1>(p.param) ? "_causal" : "");
                         });

TEST(AttentionEdges, WithoutKeysOutputAndGradientAreZero) {
  Context ctx(test::test_device(), 1, settings_of_edges());
  for (const auto& [dtype, head_dim] : {std::pair{DType::f32, 4}, {DType::bf16, 64}}) {
    const BothPasses run(ctx, {1, 3, 0, 2, 2, head_dim, 0.5f, false}, dtype);
    for (const float x : to_vector(run.out)) EXPECT_EQ(x, 0.0f);
    for (const float x : to_vector(run.lse)) EXPECT_EQ(x, -std::numeric_limits<float>::infinity());
    for (const double x : values_of(run.gradients.q)) EXPECT_EQ(x, 0.0);
  }
}

TEST(AttentionEdges, WithoutQueriesGradientsOfKeysAreZero) {
  Context ctx(test::test_device(), 1, settings_of_edges());
  for (const auto& [dtype, head_dim] : {std::pair{DType::f32, 4}, {DType::bf16, 64}}) {
    const BothPasses run(ctx, {1, 0, 5, 2, 2, head_dim, 0.5f, true}, dtype);
    for (const double x : values_of(run.gradients.k)) EXPECT_EQ(x, 0.0);
    for (const double x : values_of(run.gradients.v)) EXPECT_EQ(x, 0.0);
  }
}

TEST(AttentionEdges, HugeScoresDoNotOverflow) {
  Context ctx(test::test_device(), 1, settings_of_edges());
  for (const auto& [dtype, head_dim] : {std::pair{DType::f32, 8}, {DType::bf16, 64}}) {
    const BothPasses run(ctx, {1, 40, 40, 1, 1, head_dim, 1000.0f, true}, dtype);
    for (const auto& values : run.results()) {
      for (const double x : values) EXPECT_TRUE(std::isfinite(x));
    }
  }
}

// A row of keys cut in two: outputs joined by their lse, and gradients of each part from the whole row's out
// and lse, are those of the whole.
void expect_joined(DType dtype, int64_t d, float scale, double tolerance) {
  Context ctx(test::test_device(), 1, settings_of_edges());
  const int64_t len = 24, cut = 10, width = 2 * d;
  const AttentionShape whole{1, len, len, 2, 1, d, scale, false};
  const BothPasses run(ctx, whole, dtype);
  Doubles joined(static_cast<size_t>(run.out.numel())), dq(joined.size());
  for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, cut}, {cut, len}}) {
    AttentionShape part = whole;
    part.kv_len = end - begin;
    const auto rows = [&, b = begin, e = end](const Columns& c) {
      return Columns{c.matrix.slice(b, e), c.begin, c.count};
    };
    const Columns k = rows(run.in.k), v = rows(run.in.v);
    const Tensor out = Tensor::empty(ctx, run.out.shape(), dtype),
                 lse = Tensor::empty(ctx, run.lse.shape(), DType::f32);
    const Tensor dq_part = Tensor::empty(ctx, run.out.shape(), dtype);
    const Tensor dk = Tensor::empty(ctx, {end - begin, d}, dtype),
                 dv = Tensor::empty(ctx, {end - begin, d}, dtype);
    ops::attention(ctx, part, run.in.q, k, v, out, lse);
    ops::attention_backward(ctx, part, run.in.q, k, v, run.out, run.lse, run.dout, {dq_part, 0, width},
                            {dk, 0, d}, {dv, 0, d});
    const auto out_part = to_vector(out), lse_part = to_vector(lse), lse_whole = to_vector(run.lse);
    const auto dq_values = to_vector(dq_part);
    for (int64_t i = 0; i < len; ++i) {
      for (int64_t c = 0; c < width; ++c) {
        const auto at_lse = static_cast<size_t>(c / d * len + i), at = static_cast<size_t>(i * width + c);
        joined[at] += out_part[at] * std::exp(lse_part[at_lse] - lse_whole[at_lse]);
        dq[at] += dq_values[at];
      }
    }
    expect_near("dk", values_of({dk, 0, d}), values_of(rows(run.gradients.k)), tolerance);
    expect_near("dv", values_of({dv, 0, d}), values_of(rows(run.gradients.v)), tolerance);
  }
  expect_near("out", joined, values_of({run.out, 0, width}), tolerance);
  expect_near("dq", dq, values_of(run.gradients.q), tolerance);
}

TEST(AttentionEdges, BlocksOfKeysJoinToTheWholeRow) {
  expect_joined(DType::f32, 4, 0.5f, 1e-5);
  expect_joined(DType::bf16, 64, 0.125f, 0x1p-6);
}

// Of what lies before every query's window nothing is read, so that a narrow window costs little.
TEST(AttentionEdges, KeysOutOfSightAreNotLookedAt) {
  Context ctx(test::test_device(), 1, settings_of_edges());
  for (const auto& [dtype, head_dim] : {std::pair{DType::f32, 4}, {DType::f32, 64}, {DType::bf16, 64}}) {
    const AttentionShape s{1, 20, 500, 2, 1, head_dim, 0.5f, true, 30};
    BothPasses run(ctx, s, dtype);
    const auto expected = run.results();
    std::vector<Tensor> matrices{run.in.k.matrix};
    if (run.in.v.matrix.raw() != run.in.k.matrix.raw()) matrices.push_back(run.in.v.matrix);
    for (const Tensor& matrix : matrices) {
      ops::fill(ctx, matrix.slice(0, 320), std::nan(""));
    }
    run.both_passes(ctx, s);
    EXPECT_EQ(run.results(), expected) << to_string(dtype);
  }
}

TEST(AttentionEdges, KeysOfOtherDocumentsAreNotLookedAt) {
  Context ctx(test::test_device(), 1, settings_of_edges());
  for (const auto& [dtype, head_dim] : {std::pair{DType::f32, 4}, {DType::f32, 64}, {DType::bf16, 64}}) {
    AttentionShape s{1, 20, 500, 2, 1, head_dim, 0.5f, true};
    s.first_key = ops::to_device(ctx, FirstKeys(20, 450), {1, 20});
    BothPasses run(ctx, s, dtype);
    const auto expected = run.results();
    std::vector<Tensor> matrices{run.in.k.matrix};
    if (run.in.v.matrix.raw() != run.in.k.matrix.raw()) matrices.push_back(run.in.v.matrix);
    for (const Tensor& matrix : matrices) ops::fill(ctx, matrix.slice(0, 320), std::nan(""));
    run.both_passes(ctx, s);
    EXPECT_EQ(run.results(), expected) << to_string(dtype);
  }
}

// Multiply-adds of pairs of a query and a key that it sees.
TEST(AttentionEdges, WorkIsThatOfTheVisiblePairs) {
  struct Flops : OpObserver {
    void begin(Context&, const OpCall& call) override { seen.push_back(call.flops); }
    void end(Context&) override {}
    std::vector<double> seen;
  };
  for (const AttentionShape& s : {AttentionShape{1, 7, 7, 2, 1, 4},
                                  {2, 3, 9, 2, 2, 4, 1, true, 4},
                                  {1, 9, 3, 1, 1, 4, 1, true, 2},
                                  {1, 6, 6, 1, 1, 4, 1, true, 5, 0, 4},
                                  {1, 6, 8, 1, 1, 4, 1, false},
                                  {1, 6, 8, 1, 1, 4, 1, true, 20},
                                  {1, 6, 6, 1, 1, 4, 1, true, 3, 0, -2},
                                  {1, 6, 6, 1, 1, 4, 1, true, 3, 0, 50}}) {
    Context ctx(test::test_device(), 1, settings_of_edges());
    Flops flops;
    ctx.observe_ops(&flops);
    const BothPasses run(ctx, s, DType::f32);
    double pairs = 0;
    for (int64_t i = 0; i < s.q_len; ++i)
      pairs += static_cast<double>(seen_by(s, 0, i).second - seen_by(s, 0, i).first);
    pairs *= static_cast<double>(s.batch * s.num_heads * s.head_dim);
    EXPECT_EQ(flops.seen, (std::vector<double>{2 * 2 * pairs, 2 * 5 * pairs}))
        << ops::describe(s, DType::f32);
  }
}

TEST(AttentionEdges, MemoryGrowsWithTheKeysNotWithTheirSquare) {
  const auto peak = [](int64_t len) {
    Context ctx(test::test_device(), 1, settings_of_edges());
    const BothPasses run(ctx, {1, len, len, 1, 1, 8, 1.0f, true}, DType::f32);
    return ctx.allocator().stats().by_category[static_cast<size_t>(MemoryCategory::buffers)].peak;
  };
  EXPECT_LT(peak(512), 5 * peak(128));
}

TEST(AttentionEdges, OnCpusFirstKeysThatFallAreRefused) {
  Context ctx(Device{}, 1, settings_of_edges());
  AttentionShape s{2, 4, 4, 2, 2, 4, 1.0f, true};
  const auto with = [&](const FirstKeys& first_keys) {
    s.first_key = ops::to_device(ctx, first_keys, {2, 4});
    return BothPasses(ctx, s, DType::f32);
  };
  EXPECT_NO_THROW(with({0, 1, 1, 3, 0, 0, 0, 0}));
  EXPECT_THROW(with({0, 1, 0, 3, 0, 0, 0, 0}), InternalError);
  EXPECT_THROW(with({0, 0, 0, 0, -1, 0, 0, 0}), InternalError);
}

TEST(AttentionEdges, RefusesArgumentsThatDoNotFit) {
  Context ctx(test::test_device(), 1, settings_of_edges());
  const AttentionShape s{1, 4, 4, 2, 2, 4, 1.0f, true};
  const Packed in(ctx, s, DType::f32, 1);
  const Tensor out = Tensor::empty(ctx, {4, 8}, DType::f32), lse = Tensor::empty(ctx, {1, 2, 4}, DType::f32);
  AttentionShape wrong = s;
  wrong.num_kv_heads = 3;
  EXPECT_THROW(ops::attention(ctx, wrong, in.q, in.k, in.v, out, lse), InternalError);
  wrong = s;
  wrong.window = -1;
  EXPECT_THROW(ops::attention(ctx, wrong, in.q, in.k, in.v, out, lse), InternalError);
  wrong.window = 2;
  wrong.causal = false;
  EXPECT_THROW(ops::attention(ctx, wrong, in.q, in.k, in.v, out, lse), InternalError);
  wrong = s;
  wrong.soft_cap = -1;
  EXPECT_THROW(ops::attention(ctx, wrong, in.q, in.k, in.v, out, lse), InternalError);
  wrong = s;
  wrong.first_key = ops::to_device(ctx, FirstKeys{0, 0, 0}, {1, 3});
  EXPECT_THROW(ops::attention(ctx, wrong, in.q, in.k, in.v, out, lse), InternalError);
  wrong.first_key = Tensor::empty(ctx, {1, 4}, DType::i64);
  EXPECT_THROW(ops::attention(ctx, wrong, in.q, in.k, in.v, out, lse), InternalError);
  wrong.first_key = ops::to_device(ctx, FirstKeys{0, 0, 1, 1}, {1, 4});
  wrong.causal = false;
  EXPECT_THROW(ops::attention(ctx, wrong, in.q, in.k, in.v, out, lse), InternalError);
  EXPECT_THROW(ops::attention(ctx, s, in.q, in.k, in.v, out, Tensor::empty(ctx, {1, 2, 5}, DType::f32)),
               InternalError);
  EXPECT_THROW(ops::attention(ctx, s, in.q, in.k, in.v, Tensor::empty(ctx, {4, 8}, DType::bf16), lse),
               InternalError);
}

}  // namespace
}  // namespace trireme
