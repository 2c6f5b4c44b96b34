#include "runtime/ops/attention/attention.h"

#include <algorithm>
#include <cmath>

namespace trireme::ops {

namespace {

void expect_first_key(const char* op, Device device, const AttentionShape& s) {
  if (!s.first_key) return;
  TRIREME_CHECK(s.causal, "{}: first keys without a causal mask", op);
  expect_shape(op, "first_key", s.first_key, {s.batch, s.q_len});
  expect_dtype(op, "first_key", s.first_key, DType::i32);
  expect_on_device(op, device, s.first_key);
}

void expect_attention(const char* op, Device device, const AttentionShape& s, const Columns& q,
                      const Columns& k, const Columns& v, const Tensor& out, const Tensor& lse) {
  TRIREME_CHECK(s.num_kv_heads > 0 && s.num_heads % s.num_kv_heads == 0,
                "{}: {} heads over {} key/value heads", op, s.num_heads, s.num_kv_heads);
  TRIREME_CHECK(s.window >= 0 && (s.window == 0 || s.causal), "{}: a window of {} keys{}", op, s.window,
                s.causal ? "" : " without a causal mask");
  TRIREME_CHECK(!s.pattern || s.causal, "{}: a pattern of keys without a causal mask", op);
  TRIREME_CHECK(why_not(s.pattern).empty(), "{}: {}", op, why_not(s.pattern));
  expect_first_key(op, device, s);
  TRIREME_CHECK(s.soft_cap >= 0 && std::isfinite(s.soft_cap), "{}: a soft cap of {}", op, s.soft_cap);
  expect_columns(op, "q", q, s.batch * s.q_len, s.num_heads * s.head_dim);
  expect_columns(op, "k", k, s.batch * s.kv_len, s.num_kv_heads * s.head_dim);
  expect_columns(op, "v", v, s.batch * s.kv_len, s.num_kv_heads * s.head_dim);
  const DType dtype = q.matrix.dtype();
  expect_compute_type(op, "q", q.matrix);
  expect_dtype(op, "k", k.matrix, dtype);
  expect_dtype(op, "v", v.matrix, dtype);
  expect_shape(op, "out", out, {s.batch * s.q_len, s.num_heads * s.head_dim});
  expect_dtype(op, "out", out, dtype);
  expect_shape(op, "lse", lse, {s.batch, s.num_heads, s.q_len});
  expect_dtype(op, "lse", lse, DType::f32);
}

/// The sum of x, held in [0, most], over x = first, ..., first + count - 1.
int64_t clamped_sum(int64_t first, int64_t count, int64_t most) {
  const auto up_to = [most](int64_t x) {
    const int64_t rising = std::clamp<int64_t>(x, 0, most);
    return rising * (rising + 1) / 2 + (std::max(x, most) - most) * most;
  };
  return up_to(first + count - 1) - up_to(first - 1);
}

/// Pairs of a query and a key that it sees.
int64_t visible_pairs(const AttentionShape& s) {
  if (!s.causal) return s.q_len * s.kv_len;
  if (s.pattern) {
    int64_t pairs = 0;
    const int64_t behind = s.first_place + s.kv_len;
    for (int64_t i = behind - s.q_len + s.shift; i < behind + s.shift; ++i)
      pairs += count_seen(s.pattern, s.window, i, s.first_place, behind);
    return pairs;
  }
  const int64_t first = 1 + s.kv_len - s.q_len + s.shift;  // keys up to the first query's place
  const int64_t before = s.window > 0 ? clamped_sum(first - s.window, s.q_len, s.kv_len) : 0;
  return clamped_sum(first, s.q_len, s.kv_len) - before;
}

/// Of this many products of queries and keys that see each other, with a head's elements each.
OpWork work_of(const AttentionShape& s, int products) {
  OpWork work;
  work.flops = 2.0 * products * static_cast<double>(visible_pairs(s)) *
               static_cast<double>(s.batch * s.num_heads * s.head_dim);
  return work;
}

}  // namespace

void attention(Context& ctx, const AttentionShape& shape, const Columns& q, const Columns& k,
               const Columns& v, const Tensor& out, const Tensor& lse) {
  expect_attention("attention", ctx.device(), shape, q, k, v, out, lse);
  if (out.numel() == 0) return;
  TRIREME_DISPATCH_WORK(work_of(shape, 2), attention, ctx, shape, q, k, v, out, lse);
}

void attention_backward(Context& ctx, const AttentionShape& shape, const Columns& q, const Columns& k,
                        const Columns& v, const Tensor& out, const Tensor& lse, const Tensor& dout,
                        const Columns& dq, const Columns& dk, const Columns& dv) {
  const char* op = "attention_backward";
  expect_attention(op, ctx.device(), shape, q, k, v, out, lse);
  expect_shape(op, "dout", dout, out.shape());
  expect_dtype(op, "dout", dout, out.dtype());
  expect_columns(op, "dq", dq, q.rows(), q.count);
  expect_columns(op, "dk", dk, k.rows(), k.count);
  expect_columns(op, "dv", dv, v.rows(), v.count);
  for (const Columns* gradient : {&dq, &dk, &dv}) expect_dtype(op, "gradient", gradient->matrix, out.dtype());
  if (shape.batch == 0 || shape.head_dim == 0) return;
  TRIREME_DISPATCH_WORK(work_of(shape, 5), attention_backward, ctx, shape, q, k, v, out, lse, dout, dq, dk,
                        dv);
}

}  // namespace trireme::ops
