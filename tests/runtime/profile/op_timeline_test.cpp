// What an observer hears of ops, and the times of a timeline.
#include "runtime/profile/op_timeline.h"

#include <thread>

#include "runtime/ops/attention/attention.h"
#include "runtime/ops/attention/rotary.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/embedding.h"
#include "runtime/ops/gemm/float8.h"
#include "runtime/ops/gemm/gemm.h"
#include "runtime/ops/gemm/grouped_gemm.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/training/adamw.h"
#include "tests/runtime/ops/op_test.h"
#include "tests/support/expect_error.h"

namespace trireme::test {
namespace {

class OpTimelineTest : public testing::Test {
 protected:
  Tensor zeros(const Shape& shape, DType dtype = DType::f32) { return full(ctx_, shape, dtype, 0); }
  /// The only op that `call` runs.
  template <class Call>
  TimedOp only_op(const Call& call) {
    OpTimeline timeline(ctx_);
    call();
    const OpTimes times = timeline.stop();
    EXPECT_EQ(times.ops.size(), 1);
    return times.ops.empty() ? TimedOp{} : times.ops.front();
  }

  Context ctx_{test_device()};
};

TEST_F(OpTimelineTest, HasTheOpsInTheirOrderWithoutOverlap) {
  const Tensor a = zeros({6, 4}), b = zeros({6, 4}, DType::bf16);
  ops::fill(ctx_, a, 1);  // before its time
  OpTimeline timeline(ctx_);
  ops::copy(ctx_, a, b);
  ops::scale(ctx_, a, 2);
  ops::accumulate(ctx_, b, a);
  const OpTimes times = timeline.stop();
  ops::fill(ctx_, a, 3);
  ASSERT_EQ(times.ops.size(), 3);
  EXPECT_EQ(times.ops[0].name, "copy");
  EXPECT_EQ(times.ops[0].shapes, "6x4 6x4");
  EXPECT_EQ(times.ops[1].name, "scale");
  EXPECT_EQ(times.ops[2].name, "accumulate");
  double end = 0;
  for (const TimedOp& op : times.ops) {
    EXPECT_GE(op.begin_ms, end);
    EXPECT_GE(op.ms, 0);
    end = op.begin_ms + op.ms;
  }
  EXPECT_GE(times.ms, end - 1e-3) << "but for rounding to float";
}

TEST_F(OpTimelineTest, WhatLiesBetweenOpsIsInTheWhole) {
  const Tensor a = zeros({1});
  OpTimeline timeline(ctx_);
  ops::fill(ctx_, a, 1);
  ctx_.stream().synchronize();
  std::this_thread::sleep_for(std::chrono::milliseconds(3));
  ops::fill(ctx_, a, 2);
  const OpTimes times = timeline.stop();
  ASSERT_EQ(times.ops.size(), 2);
  EXPECT_GE(times.ops[1].begin_ms - times.ops[0].begin_ms - times.ops[0].ms, 3 - 1e-3);
}

TEST_F(OpTimelineTest, AnOpWithinAnOpIsPartOfIt) {
  OpTimeline timeline(ctx_);
  timeline.begin(ctx_, {"outer", {}, 1, 2});
  timeline.begin(ctx_, {"inner", {}, 3, 4});
  timeline.end(ctx_);
  timeline.end(ctx_);
  const OpTimes times = timeline.stop();
  ASSERT_EQ(times.ops.size(), 1);
  EXPECT_EQ(times.ops[0].name, "outer");
}

TEST_F(OpTimelineTest, ObservesUntilItEnds) {
  const Tensor a = zeros({1});
  {
    const OpTimeline timeline(ctx_);
    expect_error(ExitCode::internal, {"observed already"}, [&] { const OpTimeline second(ctx_); });
    EXPECT_EQ(ctx_.op_observer(), &timeline);
  }
  EXPECT_EQ(ctx_.op_observer(), nullptr);
  OpTimeline timeline(ctx_);
  EXPECT_TRUE(timeline.stop().ops.empty());
  EXPECT_EQ(ctx_.op_observer(), nullptr);
}

TEST_F(OpTimelineTest, CountsTheArithmeticOfProducts) {
  const Tensor x = zeros({5, 3}, DType::bf16), w = zeros({7, 3}, DType::bf16), y = zeros({5, 7}, DType::bf16),
               dx = zeros({5, 3}, DType::bf16), dw = zeros({7, 3}), bias = zeros({7});
  const double flops = 2 * 5 * 3 * 7, bytes = 2 * (5 * 3 + 7 * 3 + 5 * 7);
  const TimedOp forward = only_op([&] { ops::linear(ctx_, x, w, bias, y); });
  EXPECT_EQ(forward.flops, flops);
  EXPECT_EQ(forward.bytes, bytes + 4 * 7);
  EXPECT_EQ(forward.shapes, "5x3 7x3 7 5x7");
  const TimedOp input = only_op([&] { ops::linear_backward_input(ctx_, y, w, dx); });
  EXPECT_EQ(input.flops, flops);
  EXPECT_EQ(input.bytes, bytes);
  const TimedOp weight = only_op([&] { ops::linear_backward_weight(ctx_, y, x, dw, bias); });
  EXPECT_EQ(weight.flops, flops);
  EXPECT_EQ(weight.bytes, 2 * (5 * 7 + 5 * 3) + 2 * 4 * (7 * 3 + 7)) << "gradients are read and written";
  const TimedOp gelu = only_op([&] { ops::linear_gelu(ctx_, x, w, bias, y, clone(ctx_, y)); });
  EXPECT_EQ(gelu.flops, flops);
  const TimedOp added = only_op([&] {
    ops::gemm(ctx_, {.transpose_a = true, .accumulate = true}, x, y, {}, zeros({3, 7}));
  });
  EXPECT_EQ(added.flops, flops);
  EXPECT_EQ(added.bytes, 2 * (5 * 3 + 5 * 7) + 2 * 4 * 3 * 7);
}

TEST_F(OpTimelineTest, OfColumnsThoseThatAreMeant) {
  const Tensor wide = zeros({5, 8}), w = zeros({2, 3}), y = zeros({5, 2});
  const TimedOp op = only_op([&] { ops::gemm(ctx_, {.transpose_b = true}, {wide, 4, 3}, w, {}, y); });
  EXPECT_EQ(op.shapes, "5x3 2x3 5x2");
  EXPECT_EQ(op.bytes, 4 * (5 * 3 + 2 * 3 + 5 * 2));
  EXPECT_EQ(op.flops, 2 * 5 * 3 * 2);
}

TEST_F(OpTimelineTest, CountsTheKeysThatQueriesSee) {
  struct Case {
    int64_t q_len, kv_len;
    bool causal;
    int64_t pairs;
  };
  for (const Case& c : {Case{4, 4, true, 10},
                        {4, 4, false, 16},
                        {2, 5, true, 4 + 5},
                        {5, 2, true, 1 + 2},
                        {3, 5, false, 15}}) {
    ops::AttentionShape s;
    s.batch = 2, s.q_len = c.q_len, s.kv_len = c.kv_len, s.num_heads = 6, s.num_kv_heads = 3, s.head_dim = 8;
    s.causal = c.causal;
    const Tensor q = zeros({2 * c.q_len, 48}), k = zeros({2 * c.kv_len, 24}), v = clone(ctx_, k),
                 out = clone(ctx_, q), lse = zeros({2, 6, c.q_len});
    const auto product = static_cast<double>(2 * c.pairs * 2 * 6 * 8);
    EXPECT_EQ(only_op([&] { ops::attention(ctx_, s, q, k, v, out, lse); }).flops, 2 * product)
        << c.q_len << " queries, " << c.kv_len << " keys";
    EXPECT_EQ(only_op([&] {
                ops::attention_backward(ctx_, s, q, k, v, out, lse, out, clone(ctx_, q), clone(ctx_, k),
                                        clone(ctx_, k));
              }).flops,
              5 * product);
  }
}

TEST_F(OpTimelineTest, CountsTheRowsOfExperts) {
  const std::vector<int64_t> counts = {3, 0, 2};
  const Tensor x = zeros({5, 4}), w = zeros({3 * 6, 4}), y = zeros({5, 6});
  const double flops = 2 * 5 * 4 * 6;
  EXPECT_EQ(only_op([&] { ops::grouped_linear(ctx_, x, counts, w, y); }).flops, flops);
  EXPECT_EQ(only_op([&] { ops::grouped_linear_backward_input(ctx_, y, counts, w, x); }).flops, flops);
  const TimedOp weight = only_op([&] { ops::grouped_linear_backward_weight(ctx_, y, x, counts, w); });
  EXPECT_EQ(weight.flops, flops);
  EXPECT_EQ(weight.bytes, 4 * (5 * 6 + 5 * 4 + 2 * 18 * 4));
}

TEST_F(OpTimelineTest, CountsBytesThatAreReadAndWritten) {
  const Tensor g = zeros({10}), w = zeros({10}), m = zeros({10}), v = zeros({10}),
               copy = zeros({10}, DType::bf16);
  ops::AdamWOptions options;
  options.update = ops::to_device(ctx_, ops::adamw_update(options, 1e-3, 1), {ops::kAdamWUpdateSize});
  EXPECT_EQ(only_op([&] { ops::adamw(ctx_, options, g, w, m, v, copy); }).bytes, 10 * (4 + 3 * 8 + 2));
  const Tensor heads = zeros({3, 8}), table = zeros({4, 4}), positions = make_indices(ctx_, {0, 1, 2});
  EXPECT_EQ(only_op([&] {
              ops::rotary(ctx_, {heads, 0, 8}, 4, positions, table, false);
            }).bytes,
            2 * 4 * 3 * 8 + 4 * 3 + 4 * 4 * 4);
}

TEST_F(OpTimelineTest, OfTablesTheRowsThatAreWanted) {
  const Tensor ids = make_indices(ctx_, {1, 3}), table = zeros({1000, 4}, DType::bf16),
               out = zeros({2, 4}, DType::bf16), dtable = zeros({1000, 4});
  const ops::TablePart whole{0, 1000};
  EXPECT_EQ(only_op([&] { ops::embedding(ctx_, ids, table, whole, {}, {}, out); }).bytes, 2 * 4 + 2 * 2 * 8);
  EXPECT_EQ(only_op([&] { ops::embedding(ctx_, ids, table, whole, ids, table, out); }).bytes,
            2 * 2 * 4 + 3 * 2 * 8);
  EXPECT_EQ(only_op([&] { ops::embedding_backward(ctx_, ids, out, whole, dtable); }).bytes,
            2 * 4 + 2 * 8 + 2 * 4 * 8);
}

TEST_F(OpTimelineTest, SeesScaledTensors) {
  const Tensor x = zeros({16, 32}, DType::bf16);
  const ops::ScaledTensor a{Tensor::empty(ctx_, {16, 32}, DType::f8e4m3), zeros({1})};
  const TimedOp quantize = only_op([&] { ops::quantize(ctx_, x, a); });
  EXPECT_EQ(quantize.shapes, "16x32 16x32");
  EXPECT_EQ(quantize.bytes, 3 * 16 * 32);
  const TimedOp product = only_op([&] {
    ops::gemm_float8(ctx_, {.transpose_b = true}, a, a, {}, zeros({16, 16}, DType::bf16));
  });
  EXPECT_EQ(product.flops, 2 * 16 * 16 * 32);
}

}  // namespace
}  // namespace trireme::test
