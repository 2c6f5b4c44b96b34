// Attention under patterns of keys: against its definition, and a cache against the whole sequence.
#include <cmath>
#include <functional>
#include <limits>

#include <gtest/gtest.h>

#include "runtime/ops/attention/attention.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/op_observer.h"
#include "tests/runtime/ops/attention/drawn_patterns.h"
#include "tests/runtime/ops/attention/paged_cache.h"
#include "tests/runtime/ops/op_test.h"

namespace trireme {
namespace {

using ops::AttentionShape;
using ops::CacheType;
using ops::KeyPattern;
using ops::PagedShape;
using ops::test::WindowedPattern;
using test::PagedCache;
using test::PagedPiece;
using test::PagedSequence;
using test::to_vector;

using Doubles = std::vector<double>;

class SparseAttentionOnCpu : public test::SharedContexts {};

struct Passes {
  Passes(Context& ctx, const AttentionShape& s, DType dtype) {
    const int64_t q_rows = s.batch * s.q_len, kv_rows = s.batch * s.kv_len;
    const int64_t width = s.num_heads * s.head_dim, kv_width = s.num_kv_heads * s.head_dim;
    q = test::random_tensor(ctx, {q_rows, width}, dtype, 1);
    k = test::random_tensor(ctx, {kv_rows, kv_width}, dtype, 2);
    v = test::random_tensor(ctx, {kv_rows, kv_width}, dtype, 3);
    dout = test::random_tensor(ctx, {q_rows, width}, dtype, 4);
    out = Tensor::empty(ctx, {q_rows, width}, dtype);
    dq = Tensor::empty(ctx, {q_rows, width}, dtype);
    dk = Tensor::empty(ctx, {kv_rows, kv_width}, dtype);
    dv = Tensor::empty(ctx, {kv_rows, kv_width}, dtype);
    lse = Tensor::empty(ctx, {s.batch, s.num_heads, s.q_len}, DType::f32);
    ops::attention(ctx, s, q, k, v, out, lse);
    ops::attention_backward(ctx, s, q, k, v, out, lse, dout, dq, dk, dv);
  }
  std::vector<std::vector<float>> results() const {
    std::vector<std::vector<float>> all;
    for (const Tensor* t : {&out, &lse, &dq, &dk, &dv}) all.push_back(to_vector(*t));
    return all;
  }
  Tensor q, k, v, dout, out, lse, dq, dk, dv;
};

// By the definition, in double precision: out, lse, dq, dk, dv.
std::vector<Doubles> reference(const AttentionShape& s, const Passes& run) {
  const auto q = to_vector(run.q), k = to_vector(run.k), v = to_vector(run.v), dout = to_vector(run.dout);
  std::vector<Doubles> all{Doubles(q.size()), {}, Doubles(q.size()), Doubles(k.size()), Doubles(k.size())};
  Doubles &out = all[0], &dq = all[2], &dk = all[3], &dv = all[4];
  const int64_t d = s.head_dim, group = s.num_heads / s.num_kv_heads;
  for (int64_t b = 0; b < s.batch; ++b) {
    const ops::KeyPlaces places = s.places(b);
    for (int64_t h = 0; h < s.num_heads; ++h) {
      for (int64_t i = 0; i < s.q_len; ++i) {
        const size_t at = static_cast<size_t>(((b * s.q_len + i) * s.num_heads + h) * d);
        const auto of_key = [&](int64_t j) {
          return static_cast<size_t>(((b * s.kv_len + j) * s.num_kv_heads + h / group) * d);
        };
        Doubles p(static_cast<size_t>(s.kv_len)), slope(p.size(), 1.0);
        double sum = 0, delta = 0;
        const auto for_seen = [&](const std::function<void(int64_t, size_t)>& body) {
          for (int64_t j = 0; j < s.kv_len; ++j) {
            if (places.sees_key(i, j)) body(j, of_key(j));
          }
        };
        for_seen([&](int64_t j, size_t at_k) {
          double score = 0;
          for (size_t c = 0; c < static_cast<size_t>(d); ++c) score += s.scale * q[at + c] * k[at_k + c];
          if (s.soft_cap > 0) {
            const double t = std::tanh(score / s.soft_cap);
            score = s.soft_cap * t;
            slope[static_cast<size_t>(j)] = 1 - t * t;
          }
          sum += p[static_cast<size_t>(j)] = std::exp(score);
        });
        all[1].push_back(std::log(sum));
        for_seen([&](int64_t j, size_t at_k) {
          p[static_cast<size_t>(j)] /= sum;
          for (size_t c = 0; c < static_cast<size_t>(d); ++c)
            out[at + c] += p[static_cast<size_t>(j)] * v[at_k + c];
        });
        for (size_t c = 0; c < static_cast<size_t>(d); ++c) delta += out[at + c] * dout[at + c];
        for_seen([&](int64_t j, size_t at_k) {
          const double weight = p[static_cast<size_t>(j)];
          double dp = 0;
          for (size_t c = 0; c < static_cast<size_t>(d); ++c) {
            dp += dout[at + c] * v[at_k + c];
            dv[at_k + c] += weight * dout[at + c];
          }
          const double ds = weight * (dp - delta) * slope[static_cast<size_t>(j)] * s.scale;
          for (size_t c = 0; c < static_cast<size_t>(d); ++c) {
            dq[at + c] += ds * k[at_k + c];
            dk[at_k + c] += ds * q[at + c];
          }
        });
      }
    }
  }
  return all;
}

void expect_definition(Context& one, Context& three, const AttentionShape& s, DType dtype) {
  const Passes run(one, s, dtype);
  const auto got = run.results();
  const auto expected = reference(s, run);
  const double tolerance = dtype == DType::bf16 ? 0x1p-5 : dtype == DType::f16 ? 0x1p-8 : 2e-5;
  for (size_t r = 0; r < got.size(); ++r) {
    ASSERT_EQ(got[r].size(), expected[r].size());
    for (size_t i = 0; i < got[r].size(); ++i) {
      if (std::isinf(expected[r][i])) {
        ASSERT_EQ(got[r][i], expected[r][i]) << "result " << r << "[" << i << "]";
      } else {
        ASSERT_NEAR(got[r][i], expected[r][i], tolerance * (1 + std::abs(expected[r][i])))
            << "result " << r << "[" << i << "]";
      }
    }
  }
  EXPECT_EQ(got, Passes(three, s, dtype).results()) << "three threads";
}

TEST_F(SparseAttentionOnCpu, MatchesDoublePrecisionForwardAndBackward) {
  for (const WindowedPattern& w : ops::test::patterns_of_each_kind()) {
    SCOPED_TRACE(w.name);
    AttentionShape s{1, 150, 150, 2, 1, 8, 0.5f};
    s.window = w.window;
    s.pattern = w.keys;
    expect_definition(context(), context(3), s, DType::f32);
  }
}

// Sizes that do not divide, documents, pieces of rows, soft caps, half types.
TEST_F(SparseAttentionOnCpu, DrawnShapesMatchDoublePrecision) {
  std::mt19937 random(7);
  const auto draw = [&](int64_t most) { return static_cast<int64_t>(random() % (most + 1)); };
  for (int n = 0; n < 40; ++n) {
    SCOPED_TRACE(n);
    const WindowedPattern w = ops::test::drawn_pattern(random, 120);
    AttentionShape s{1 + draw(1), 1 + draw(150), 1 + draw(150), 1, 1 + draw(1), 4 + draw(30), 0.4f};
    s.num_heads = s.num_kv_heads * (1 + draw(2));
    s.window = w.window;
    s.pattern = w.keys;
    if (draw(1) == 0) s.soft_cap = 3;
    if (draw(1) == 0) s.kv_len = s.q_len;
    if (draw(2) == 0) s.shift = draw(60);
    if (draw(2) == 0) s.first_place = draw(60);
    const int64_t place = s.places(0).query_place;
    if (draw(1) == 0 && place >= 0) {
      std::vector<int32_t> first;
      for (int64_t b = 0; b < s.batch; ++b) {
        const auto more = ops::test::drawn_documents(random, draw(place), place, s.q_len, 25);
        first.insert(first.end(), more.begin(), more.end());
      }
      s.first_key = ops::to_device(context(), first, {s.batch, s.q_len});
    }
    const DType dtype = draw(2) > 0 ? DType::f32 : draw(1) == 0 ? DType::bf16 : DType::f16;
    expect_definition(context(), context(3), s, dtype);
  }
}

// In whatever pieces rows come, alone or beside others, and with the blocks that nobody sees given back.
TEST_F(SparseAttentionOnCpu, ACacheChangesNoBit) {
  std::mt19937 random(11);
  std::vector<WindowedPattern> patterns = ops::test::patterns_of_each_kind();
  for (int n = 0; n < 10; ++n) patterns.push_back(ops::test::drawn_pattern(random, 150));
  for (size_t n = 0; n < patterns.size(); ++n) {
    SCOPED_TRACE(patterns[n].name + std::to_string(n));
    PagedShape s{4, 2, n % 2 == 0 ? 24 : 32, 0.3f, patterns[n].window, n % 3 == 0 ? 2.0f : 0.0f};
    s.pattern = patterns[n].keys;
    const DType dtype = n % 4 == 3 ? DType::bf16 : DType::f32;
    const std::vector<PagedSequence> sequences{{context(), s, 155, dtype, n},
                                               {context(), s, 90, dtype, n + 50}};
    PagedCache cache(context(), s, sequences, n % 2 == 0 ? 16 : 32, CacheType::plain, n);
    PagedCache codes(context(), s, sequences, 16, CacheType::int8, n);
    const Tensor whole_codes = codes.step({{0, 0, 155}});
    PagedCache code_pieces(context(), s, sequences, 16, CacheType::int8, n + 1);
    const auto expect_rows = [&](const Tensor& got, int64_t at, const Tensor& whole, int64_t from,
                                 int64_t count) {
      const auto a = to_vector(got), b = to_vector(whole);
      const int64_t width = whole.dim(1);
      ASSERT_TRUE(
          std::equal(a.begin() + at * width, a.begin() + (at + count) * width, b.begin() + from * width))
          << "rows from " << from;
    };
    const Tensor first = test::whole_attention(context(3), s, sequences[0]);
    const Tensor second = test::whole_attention(context(), s, sequences[1]);
    int64_t before = 0;
    for (const int64_t count : {1, 40, 17, 1, 1, 64, 31}) {
      const int64_t other = before < 90 ? std::min<int64_t>(count, 90 - before) : 0;
      std::vector<PagedPiece> pieces{{0, before, count}};
      if (other > 0) pieces.push_back({1, before, other});
      const Tensor got = cache.step(before % 2 == 0 ? context() : context(3), pieces);
      expect_rows(got, 0, first, before, count);
      expect_rows(got, count, second, before, other);
      expect_rows(code_pieces.step({{0, before, count}}), 0, whole_codes, before, count);
      before += count;
    }
  }
}

TEST_F(SparseAttentionOnCpu, KeysOutOfSightAreNotLookedAt) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  AttentionShape s{1, 400, 400, 1, 1, 8, 0.5f};
  s.window = 20;
  s.pattern = {.sinks = 3};
  const Passes run(context(), s, DType::f32);
  std::vector<float> k = to_vector(run.k);
  std::fill(k.begin() + 16 * 8, k.begin() + 200 * 8, kNan);
  const Tensor broken = test::make_tensor(context(), {400, 8}, DType::f32, k);
  const Tensor out = Tensor::empty(context(), {400, 8}, DType::f32),
               lse = Tensor::empty(context(), {1, 1, 400}, DType::f32);
  ops::attention(context(), s, run.q, broken, broken, out, lse);
  const auto got = to_vector(lse), expected = to_vector(run.lse);
  EXPECT_TRUE(std::isnan(got[30]));
  EXPECT_TRUE(std::equal(got.begin() + 272, got.end(), expected.begin() + 272));
}

TEST_F(SparseAttentionOnCpu, WorkAndMemoryAreThoseOfThePattern) {
  struct Flops : OpObserver {
    void begin(Context&, const OpCall& call) override { seen.push_back(call.flops); }
    void end(Context&) override {}
    std::vector<double> seen;
  };
  const KeyPattern pattern{.sinks = 4, .stride = 64, .stride_keys = 8};
  int64_t most = 0;
  for (const int64_t length : {1400, 2800}) {
    Context ctx(Device{}, 1, test::test_settings());
    Flops flops;
    ctx.observe_ops(&flops);
    AttentionShape s{1, length, length, 1, 1, 2, 1};
    s.window = 30;
    s.pattern = pattern;
    const Passes run(ctx, s, DType::f32);
    double pairs = 0;
    for (int64_t i = 0; i < length; ++i) {
      for (int64_t j = 0; j <= i; ++j) pairs += ops::sees(pattern, 30, i, j) ? 2 : 0;
    }
    EXPECT_EQ(flops.seen, (std::vector<double>{4 * pairs, 10 * pairs}));
    const int64_t peak =
        ctx.allocator().stats().by_category[static_cast<size_t>(MemoryCategory::buffers)].peak;
    EXPECT_TRUE(most == 0 || peak == most) << peak;
    most = peak;
  }
}

TEST_F(SparseAttentionOnCpu, RefusesWhatDoesNotFit) {
  AttentionShape s{1, 8, 8, 1, 1, 4, 1};
  s.pattern = {.block = 4, .summary = 5};
  EXPECT_THROW(Passes(context(), s, DType::f32), std::exception);
  s.pattern = {.sinks = 1};
  s.causal = false;
  EXPECT_THROW(Passes(context(), s, DType::f32), std::exception);
  s.causal = true;
  s.first_key = ops::to_device(context(), std::vector<int32_t>{0, 0, 1, 1, 1, 1, 1, 1}, {1, 8});
  EXPECT_THROW(Passes(context(), s, DType::f32), std::exception);
}

}  // namespace
}  // namespace trireme
