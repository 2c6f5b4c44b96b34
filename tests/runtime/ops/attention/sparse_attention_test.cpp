// Sparse attention on every device: against its definition in double precision, forward and backward.
#include <array>
#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "runtime/ops/attention/attention.h"
#include "runtime/ops/attention/attention_by_cudnn.h"
#include "runtime/ops/host_copy.h"
#include "tests/runtime/ops/attention/drawn_patterns.h"
#include "tests/support/shared_contexts.h"
#include "tests/support/tensors.h"

namespace trireme::ops::test {
namespace {

using trireme::test::random_tensor;
using trireme::test::SharedContexts;
using trireme::test::to_vector;

using Doubles = std::vector<double>;

// q, dq: [B * q_len, H * D]; k, v and their gradients [B * kv_len, K * D].
struct Passes {
  Passes(Context& ctx, const AttentionShape& s, DType dtype)
      : q(random_tensor(ctx, {s.batch * s.q_len, s.num_heads * s.head_dim}, dtype, 1)),
        k(random_tensor(ctx, {s.batch * s.kv_len, s.num_kv_heads * s.head_dim}, dtype, 2)),
        v(random_tensor(ctx, k.shape(), dtype, 3)),
        dout(random_tensor(ctx, q.shape(), dtype, 4)),
        out(Tensor::empty(ctx, q.shape(), dtype)),
        lse(Tensor::empty(ctx, {s.batch, s.num_heads, s.q_len}, DType::f32)),
        dq(Tensor::empty(ctx, q.shape(), dtype)),
        dk(Tensor::empty(ctx, k.shape(), dtype)),
        dv(Tensor::empty(ctx, k.shape(), dtype)) {
    attention(ctx, s, q, k, v, out, lse);
    attention_backward(ctx, s, q, k, v, out, lse, dout, dq, dk, dv);
  }
  Tensor q, k, v, dout, out, lse, dq, dk, dv;
};

struct Expected {
  Doubles out, dq, dk, dv;

  Expected(const AttentionShape& s, const std::vector<int32_t>& first_keys, const Passes& in)
      : s_(s),
        first_keys_(first_keys),
        q_(to_vector(in.q)),
        k_(to_vector(in.k)),
        v_(to_vector(in.v)),
        dout_(to_vector(in.dout)) {
    out.resize(q_.size()), dq.resize(q_.size()), dk.resize(k_.size()), dv.resize(k_.size());
    for (int64_t b = 0; b < s.batch; ++b) {
      for (int64_t h = 0; h < s.num_heads; ++h) {
        for (int64_t i = 0; i < s.q_len; ++i) add_query(b, h, i);
      }
    }
  }

 private:
  bool is_seen(int64_t b, int64_t i, int64_t j) const {
    const int64_t first = first_keys_.empty() ? 0 : first_keys_[static_cast<size_t>(b * s_.q_len + i)];
    const int64_t query = s_.first_place + i + s_.kv_len - s_.q_len + s_.shift, key = s_.first_place + j;
    return sees(s_.pattern, s_.window, query - first, key - first);
  }

  void add_query(int64_t b, int64_t h, int64_t i) {
    const int64_t d = s_.head_dim, at_q = ((b * s_.q_len + i) * s_.num_heads + h) * d;
    const auto at_kv = [&](int64_t j) {
      return ((b * s_.kv_len + j) * s_.num_kv_heads + h / (s_.num_heads / s_.num_kv_heads)) * d;
    };
    const auto dot = [d](const auto& x, int64_t at_x, const auto& y, int64_t at_y) {
      double sum = 0;
      for (int64_t c = 0; c < d; ++c)
        sum += static_cast<double>(x[static_cast<size_t>(at_x + c)]) *
               static_cast<double>(y[static_cast<size_t>(at_y + c)]);
      return sum;
    };
    const auto add = [d](Doubles& sum, int64_t at, double by, const auto& x, int64_t at_x) {
      for (int64_t c = 0; c < d; ++c)
        sum[static_cast<size_t>(at + c)] += by * static_cast<double>(x[static_cast<size_t>(at_x + c)]);
    };
    std::vector<std::pair<int64_t, double>> seen;
    double total = 0;
    for (int64_t j = 0; j < s_.kv_len; ++j) {
      if (!is_seen(b, i, j)) continue;
      seen.emplace_back(j, std::exp(static_cast<double>(s_.scale) * dot(q_, at_q, k_, at_kv(j))));
      total += seen.back().second;
    }
    for (auto& [j, p] : seen) {
      p /= total;
      add(out, at_q, p, v_, at_kv(j));
    }
    const double delta = dot(out, at_q, dout_, at_q);
    for (const auto& [j, p] : seen) {
      const double ds = p * (dot(dout_, at_q, v_, at_kv(j)) - delta) * static_cast<double>(s_.scale);
      add(dv, at_kv(j), p, dout_, at_q);
      add(dq, at_q, ds, k_, at_kv(j));
      add(dk, at_kv(j), ds, q_, at_q);
    }
  }

  const AttentionShape& s_;
  const std::vector<int32_t>& first_keys_;
  std::vector<float> q_, k_, v_, dout_;
};

void expect_near(const char* what, const Tensor& tensor, const Doubles& expected, double relative) {
  const std::vector<float> got = to_vector(tensor);
  double largest = 1;
  for (const double x : expected) largest = std::max(largest, std::abs(x));
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(static_cast<double>(got[i]), expected[i], relative * largest) << what << "[" << i << "]";
}

class SparseAttention : public SharedContexts, public testing::WithParamInterface<DType> {
 protected:
  // `document`: of how many tokens on average; 0: one document.
  void expect(AttentionShape s, const WindowedPattern& w, int64_t document = 0) {
    const DType dtype = GetParam();
    s.window = w.window;
    s.pattern = w.keys;
    s.scale = 1 / std::sqrt(static_cast<float>(s.head_dim));
    SCOPED_TRACE(std::string(w.name) + ": " + describe(s, dtype));
    std::vector<int32_t> first_keys;
    const int64_t place = s.first_place + s.kv_len - s.q_len + s.shift;
    for (int64_t b = 0; b < s.batch && document > 0; ++b) {
      const auto of_row = drawn_documents(random_, place / 3, place, s.q_len, document);
      first_keys.insert(first_keys.end(), of_row.begin(), of_row.end());
    }
    Context& ctx = context();
    if (document > 0) s.first_key = to_device(ctx, first_keys, {s.batch, s.q_len});
    if (ctx.settings().attention == AttentionChoice::cudnn) {
      EXPECT_THROW(Passes(ctx, s, dtype), UserError);
      return;
    }
    const Passes got(ctx, s, dtype);
    const Expected expected(s, first_keys, got);
    const double tolerance = dtype == DType::bf16 ? 0x1p-7 : 5e-6;
    expect_near("out", got.out, expected.out, tolerance);
    // Where a query sees few keys, the rounding of `out` enters the gradients by its product with dout.
    expect_near("dq", got.dq, expected.dq, 3 * tolerance);
    expect_near("dk", got.dk, expected.dk, 3 * tolerance);
    expect_near("dv", got.dv, expected.dv, tolerance);
  }

  std::mt19937 random_{7};
};

// Over several tiles of every kernel, of which patterns leave most out; sizes that divide by nothing.
TEST_P(SparseAttention, OfEachKindIsThatOfItsDefinition) {
  std::vector<WindowedPattern> patterns = patterns_of_each_kind();
  patterns.push_back(
      {"far", 9, {.sinks = 1, .stride = 61, .stride_keys = 2, .block = 50, .summary = 3, .reach = 1}});
  int turn = 0;
  for (const WindowedPattern& w : patterns) {
    const bool is_odd = ++turn % 2 == 1;
    expect({2, 70, 70, 2, 1, 8}, w, is_odd ? 0 : 25);
    expect({1, 203, 203, 2, 1, is_odd ? 64 : 32}, w, is_odd ? 70 : 0);
    // Ring attention's blocks of keys of a longer row.
    AttentionShape block{1, 50, 37, 2, 2, is_odd ? 128 : 33, 1, true, 0, 0, is_odd ? 61 : 20};
    block.first_place = is_odd ? 40 : 0;
    expect(block, w, is_odd ? 0 : 30);
  }
}

TEST_P(SparseAttention, DrawnIsThatOfItsDefinition) {
  const auto draw = [this](int64_t least, int64_t most) {
    return least + static_cast<int64_t>(random_() % static_cast<uint32_t>(most - least + 1));
  };
  constexpr std::array<int64_t, 5> kHeads{16, 32, 64, 80, 96};
  for (int i = 0; i < 8; ++i) {
    const int64_t q = draw(1, 150), kv_heads = draw(1, 2);
    AttentionShape s{draw(1, 2),   q,
                     draw(1, 150), kv_heads * draw(1, 2),
                     kv_heads,     kHeads[static_cast<size_t>(draw(0, 4))]};
    s.first_place = draw(0, 1) * draw(0, 100);
    s.shift = draw(std::max<int64_t>(0, q - s.kv_len - s.first_place), 60);  // every query has a place
    expect(s, drawn_pattern(random_, 200), draw(0, 1) * draw(1, 60));
  }
}

INSTANTIATE_TEST_SUITE_P(, SparseAttention, testing::Values(DType::f32, DType::bf16),
                         [](const auto& p) { return std::string(to_string(p.param)); });

}  // namespace
}  // namespace trireme::ops::test
