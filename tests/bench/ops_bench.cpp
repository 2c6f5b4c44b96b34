// Speed of the ops, on the shapes of GPT-2 124M with 1024 tokens where nothing else is said. Rates: FLOP/s of
// the arithmetic that the maths needs (half of the scores in causal attention), bytes/s of the tensors read
// and written once.
#include <cmath>

#include <benchmark/benchmark.h>

#include "runtime/ops/activation.h"
#include "runtime/ops/adamw.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/gemm.h"
#include "runtime/ops/grouped_gemm.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/permute.h"
#include "runtime/ops/routing.h"
#include "tests/support/tensors.h"

namespace trireme {
namespace {

using benchmark::State;
using test::random_tensor;

constexpr int64_t kTokens = 1024;

// Arguments 0 and 1 of every benchmark.
DType dtype_of(const State& state) { return static_cast<DType>(state.range(0)); }
Context context_of(const State& state) { return Context({}, static_cast<int>(state.range(1))); }

void set_rates(State& state, double flops, double bytes) {
  using benchmark::Counter;
  const auto rate = Counter::kIsIterationInvariantRate;
  if (flops > 0) state.counters["FLOP/s"] = Counter(flops, rate, Counter::kIs1000);
  if (bytes > 0) state.counters["bytes/s"] = Counter(bytes, rate, Counter::kIs1000);
}

template <class... Tensors>
double bytes_of(const Tensors&... tensors) {
  return static_cast<double>((tensors.bytes() + ...));
}

// Memory that has been touched: the first touch of a page costs more than a product writes to it.
Tensor touched(Context& ctx, const Shape& shape, DType dtype) {
  const Tensor t = Tensor::empty(ctx, shape, dtype);
  ops::fill(ctx, t, 0);
  return t;
}

void run_linear(State& state, void (*pass)(Context&, DType, int64_t, int64_t, State&)) {
  Context ctx = context_of(state);
  const int64_t in = state.range(2), out = state.range(3);
  pass(ctx, dtype_of(state), in, out, state);
  set_rates(state, 2.0 * kTokens * static_cast<double>(in * out), 0);
}

void linear_forward(State& state) {
  run_linear(state, [](Context& ctx, DType dtype, int64_t in, int64_t out, State& loop) {
    const Tensor x = random_tensor(ctx, {kTokens, in}, dtype, 1), w = random_tensor(ctx, {out, in}, dtype, 2);
    const Tensor bias = out < 50000 ? random_tensor(ctx, {out}, DType::f32, 3) : Tensor();
    const Tensor y = touched(ctx, {kTokens, out}, dtype);
    for (auto _ : loop) ops::linear(ctx, x, w, bias, y);
  });
}

void linear_backward_input(State& state) {
  run_linear(state, [](Context& ctx, DType dtype, int64_t in, int64_t out, State& loop) {
    const Tensor dy = random_tensor(ctx, {kTokens, out}, dtype, 1),
                 w = random_tensor(ctx, {out, in}, dtype, 2);
    const Tensor dx = touched(ctx, {kTokens, in}, dtype);
    for (auto _ : loop) ops::linear_backward_input(ctx, dy, w, dx);
  });
}

void linear_backward_weight(State& state) {
  run_linear(state, [](Context& ctx, DType dtype, int64_t in, int64_t out, State& loop) {
    const Tensor dy = random_tensor(ctx, {kTokens, out}, dtype, 1),
                 x = random_tensor(ctx, {kTokens, in}, dtype, 2);
    const Tensor dw = random_tensor(ctx, {out, in}, DType::f32, 3),
                 dbias = random_tensor(ctx, {out}, DType::f32, 4);
    for (auto _ : loop) ops::linear_backward_weight(ctx, dy, x, dw, out < 50000 ? dbias : Tensor());
  });
}

void linear_sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"dtype", "threads", "in", "out"})->Unit(benchmark::kMicrosecond)->UseRealTime();
  for (const auto dtype : {DType::f32, DType::bf16, DType::f16}) {
    for (const int64_t threads : {1, 2}) {
      for (const auto& [in, out] :
           {std::pair<int64_t, int64_t>{768, 2304}, {768, 768}, {768, 3072}, {3072, 768}, {768, 50257}}) {
        bench->Args({static_cast<int64_t>(dtype), threads, in, out});
      }
    }
  }
}
BENCHMARK(linear_forward)->Apply(linear_sizes);
BENCHMARK(linear_backward_input)->Apply(linear_sizes);
BENCHMARK(linear_backward_weight)->Apply(linear_sizes);

// What a product costs beside its arithmetic.
void gemm_tiny(State& state) {
  Context ctx = context_of(state);
  const Tensor a = random_tensor(ctx, {8, 8}, dtype_of(state), 1),
               bias = random_tensor(ctx, {8}, DType::f32, 2);
  const Tensor c = touched(ctx, {8, 8}, dtype_of(state));
  for (auto _ : state) ops::gemm(ctx, {.transpose_b = true}, a, a, bias, c);
}

void gemm_square(State& state) {
  Context ctx = context_of(state);
  const Tensor a = random_tensor(ctx, {1024, 1024}, dtype_of(state), 1),
               c = touched(ctx, a.shape(), a.dtype());
  for (auto _ : state) ops::gemm(ctx, {.transpose_b = true}, a, a, {}, c);
  set_rates(state, 2.0 * 1024 * 1024 * 1024, 0);
}

struct AttentionData {
  AttentionData(Context& ctx, const State& state)
      : dtype(dtype_of(state)),
        shape{.batch = state.range(2),
              .q_len = state.range(3),
              .kv_len = state.range(3),
              .num_heads = 12,
              .num_kv_heads = 12,
              .head_dim = 64,
              .scale = 0.125f,
              .causal = true},
        qkv(random_tensor(ctx, {shape.batch * shape.q_len, 3 * width}, dtype, 1)),
        dqkv(touched(ctx, qkv.shape(), dtype)),
        out(touched(ctx, {qkv.dim(0), width}, dtype)),
        dout(random_tensor(ctx, out.shape(), dtype, 2)),
        lse(touched(ctx, {shape.batch, 12, shape.q_len}, DType::f32)) {}

  // Two products forward, five backward, over the half of the scores that is seen.
  double flops(int products) const {
    const auto t = static_cast<double>(shape.q_len);
    return products * 2.0 * static_cast<double>(shape.batch * width) * t * (t + 1) / 2;
  }
  ops::Columns part(const Tensor& packed, int64_t i) const { return {packed, i * width, width}; }
  void forward(Context& ctx) const {
    ops::attention(ctx, shape, part(qkv, 0), part(qkv, 1), part(qkv, 2), out, lse);
  }
  void backward(Context& ctx) const {
    ops::attention_backward(ctx, shape, part(qkv, 0), part(qkv, 1), part(qkv, 2), out, lse, dout,
                            part(dqkv, 0), part(dqkv, 1), part(dqkv, 2));
  }

  static constexpr int64_t width = 768;
  DType dtype;
  ops::AttentionShape shape;
  Tensor qkv, dqkv, out, dout, lse;
};

void attention_forward(State& state) {
  Context ctx = context_of(state);
  const AttentionData data(ctx, state);
  for (auto _ : state) data.forward(ctx);
  set_rates(state, data.flops(2), 0);
}

void attention_backward(State& state) {
  Context ctx = context_of(state);
  const AttentionData data(ctx, state);
  data.forward(ctx);
  for (auto _ : state) data.backward(ctx);
  set_rates(state, data.flops(5), 0);
}

void attention_sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"dtype", "threads", "batch", "len"})->Unit(benchmark::kMicrosecond)->UseRealTime();
  for (const auto dtype : {DType::f32, DType::bf16, DType::f16}) {
    for (const int64_t threads : {1, 2}) {
      for (const auto& [batch, len] : {std::pair<int64_t, int64_t>{16, 64}, {4, 256}, {1, 1024}}) {
        bench->Args({static_cast<int64_t>(dtype), threads, batch, len});
      }
    }
  }
}
BENCHMARK(attention_forward)->Apply(attention_sizes);
BENCHMARK(attention_backward)->Apply(attention_sizes);

void cross_entropy(State& state) {
  Context ctx = context_of(state);
  const Tensor logits = random_tensor(ctx, {kTokens, 50257}, dtype_of(state), 1);
  const Tensor targets = touched(ctx, {kTokens}, DType::i32), loss = touched(ctx, {kTokens}, DType::f32);
  ops::fill(ctx, targets, 17);
  for (auto _ : state) ops::cross_entropy(ctx, logits, targets, 1.0f, loss, logits);
  set_rates(state, 0, 2 * bytes_of(logits));
}

void column_sums(State& state) {
  Context ctx = context_of(state);
  const Tensor x = random_tensor(ctx, {kTokens, 3072}, dtype_of(state), 1),
               out = random_tensor(ctx, {3072}, DType::f32, 2);
  for (auto _ : state) ops::add_column_sums(ctx, x, out);
  set_rates(state, 0, bytes_of(x));
}

void gelu(State& state) {
  Context ctx = context_of(state);
  const Tensor x = random_tensor(ctx, {kTokens, 3072}, dtype_of(state), 1),
               y = touched(ctx, x.shape(), x.dtype());
  for (auto _ : state) ops::gelu(ctx, x, y);
  set_rates(state, 0, bytes_of(x, y));
}

void gelu_backward(State& state) {
  Context ctx = context_of(state);
  const Tensor x = random_tensor(ctx, {kTokens, 3072}, dtype_of(state), 1),
               dx = touched(ctx, x.shape(), x.dtype());
  for (auto _ : state) ops::gelu_backward(ctx, x, x, dx);
  set_rates(state, 0, bytes_of(x, x, dx));
}

struct NormData {
  NormData(Context& ctx, DType dtype)
      : x(random_tensor(ctx, {kTokens, 768}, dtype, 1)),
        residual(random_tensor(ctx, {kTokens, 768}, dtype, 2)),
        gain(random_tensor(ctx, {768}, DType::f32, 3)),
        bias(random_tensor(ctx, {768}, DType::f32, 4)),
        sum(touched(ctx, x.shape(), dtype)),
        y(touched(ctx, x.shape(), dtype)),
        mean(touched(ctx, {kTokens}, DType::f32)),
        rstd(touched(ctx, {kTokens}, DType::f32)) {}
  void forward(Context& ctx) const {
    ops::layer_norm(ctx, x, residual, gain, bias, 1e-5f, sum, y, mean, rstd);
  }
  Tensor x, residual, gain, bias, sum, y, mean, rstd;
};

void layer_norm(State& state) {
  Context ctx = context_of(state);
  const NormData data(ctx, dtype_of(state));
  for (auto _ : state) data.forward(ctx);
  set_rates(state, 0, bytes_of(data.x, data.residual, data.sum, data.y));
}

void layer_norm_backward(State& state) {
  Context ctx = context_of(state);
  const NormData data(ctx, dtype_of(state));
  data.forward(ctx);
  for (auto _ : state) {
    ops::layer_norm_backward(ctx, data.x, data.residual, data.sum, data.gain, data.mean, data.rstd, data.y,
                             data.gain, data.bias);
  }
  set_rates(state, 0, bytes_of(data.x, data.residual, data.sum, data.y));
}

void adamw(State& state) {
  Context ctx = context_of(state);
  const Shape shape{10'000'000};
  const Tensor w = random_tensor(ctx, shape, DType::f32, 1, 0.02f),
               g = random_tensor(ctx, shape, DType::f32, 2);
  const Tensor m = touched(ctx, shape, DType::f32), v = touched(ctx, shape, DType::f32);
  const Tensor copy = dtype_of(state) == DType::f32 ? Tensor() : touched(ctx, shape, dtype_of(state));
  ops::fill(ctx, m, 0);
  ops::fill(ctx, v, 0);
  for (auto _ : state) ops::adamw(ctx, {.lr = 1e-4f}, g, w, m, v, copy);
  set_rates(state, 0, bytes_of(w, w, g, m, m, v, v) + (copy ? bytes_of(copy) : 0));
}

void plain_sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"dtype", "threads"})->Unit(benchmark::kMicrosecond)->UseRealTime();
  for (const auto dtype : {DType::f32, DType::bf16, DType::f16}) {
    for (const int64_t threads : {1, 2}) bench->Args({static_cast<int64_t>(dtype), threads});
  }
}
// Eight experts, arguments 2 to 4: rows of each, width in and out; beside it one dense product of as many
// operations, whose speed is the bound.
constexpr int64_t kExperts = 8;

void grouped_forward(State& state) {
  Context ctx = context_of(state);
  const DType dtype = dtype_of(state);
  const int64_t rows = kExperts * state.range(2), in = state.range(3), out = state.range(4);
  const std::vector<int64_t> counts(kExperts, state.range(2));
  const Tensor x = random_tensor(ctx, {rows, in}, dtype, 1),
               w = random_tensor(ctx, {kExperts * out, in}, dtype, 2);
  const Tensor y = touched(ctx, {rows, out}, dtype);
  for (auto _ : state) ops::grouped_linear(ctx, x, counts, w, y);
  set_rates(state, 2.0 * static_cast<double>(rows * in * out), 0);
}

void grouped_weight_gradient(State& state) {
  Context ctx = context_of(state);
  const DType dtype = dtype_of(state);
  const int64_t rows = kExperts * state.range(2), in = state.range(3), out = state.range(4);
  const std::vector<int64_t> counts(kExperts, state.range(2));
  const Tensor x = random_tensor(ctx, {rows, in}, dtype, 1), dy = random_tensor(ctx, {rows, out}, dtype, 2);
  const Tensor dw = touched(ctx, {kExperts * out, in}, DType::f32);
  for (auto _ : state) ops::grouped_linear_backward_weight(ctx, dy, x, counts, dw);
  set_rates(state, 2.0 * static_cast<double>(rows * in * out), 0);
}

void dense_of_grouped(State& state) {
  Context ctx = context_of(state);
  const DType dtype = dtype_of(state);
  const int64_t rows = kExperts * state.range(2), in = state.range(3), out = state.range(4);
  const Tensor x = random_tensor(ctx, {rows, in}, dtype, 1), w = random_tensor(ctx, {out, in}, dtype, 2);
  const Tensor y = touched(ctx, {rows, out}, dtype);
  for (auto _ : state) ops::linear(ctx, x, w, {}, y);
  set_rates(state, 2.0 * static_cast<double>(rows * in * out), 0);
}

void grouped_sizes(benchmark::internal::Benchmark* b) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const int64_t threads : {1, 2}) {
      for (const int64_t rows : {16, 128, 512}) {
        for (const int64_t width : {256, 768})
          b->Args({static_cast<int64_t>(dtype), threads, rows, width, 4 * width});
      }
    }
  }
  b->UseRealTime();
}
BENCHMARK(grouped_forward)->Apply(grouped_sizes);
BENCHMARK(grouped_weight_gradient)->Apply(grouped_sizes);
BENCHMARK(dense_of_grouped)->Apply(grouped_sizes);

// Routing of 1,024 tokens to 2 of 8 experts, and the way of their rows there and back.
void route_and_permute(State& state) {
  Context ctx = context_of(state);
  const DType dtype = dtype_of(state);
  constexpr int64_t kWidth = 768, kChoices = 2;
  const auto floats = [&](int64_t columns) { return touched(ctx, {kTokens, columns}, DType::f32); };
  const Tensor logits = random_tensor(ctx, {kTokens, kExperts}, DType::f32, 1);
  const Tensor x = random_tensor(ctx, {kTokens, kWidth}, dtype, 2),
               out = touched(ctx, {kTokens, kWidth}, dtype);
  const Tensor sorted = touched(ctx, {kTokens * kChoices, kWidth}, dtype);
  const Tensor probabilities = floats(kExperts), gates = floats(kChoices);
  const Tensor log_sum = touched(ctx, {kTokens}, DType::f32);
  const Tensor chosen = touched(ctx, {kTokens, kChoices}, DType::i32),
               slots = touched(ctx, chosen.shape(), DType::i32);
  const Tensor counts = Tensor::empty(ctx, {1, kExperts}, DType::i64),
               base = Tensor::empty(ctx, {1, kExperts}, DType::i64);
  for (auto _ : state) {
    ops::route(ctx, {}, logits, {}, probabilities, log_sum, chosen, gates);
    ops::count_choices(ctx, chosen, counts);
    int64_t begin = 0;
    for (int64_t e = 0; e < kExperts; ++e) {
      base.data<int64_t>()[e] = begin;
      begin += counts.data<int64_t>()[e];
    }
    ops::assign_slots(ctx, chosen, base, base, 2 * kTokens * kChoices, slots);
    ops::permute_rows(ctx, x, slots, sorted);
    ops::combine_rows(ctx, sorted, slots, gates, out);
  }
  set_rates(state, 0, 2 * bytes_of(x, sorted));
}
BENCHMARK(route_and_permute)->Apply(plain_sizes);
BENCHMARK(gemm_tiny)->Apply(plain_sizes);
BENCHMARK(gemm_square)->Apply(plain_sizes);
BENCHMARK(cross_entropy)->Apply(plain_sizes);
BENCHMARK(column_sums)->Apply(plain_sizes);
BENCHMARK(gelu)->Apply(plain_sizes);
BENCHMARK(gelu_backward)->Apply(plain_sizes);
BENCHMARK(layer_norm)->Apply(plain_sizes);
BENCHMARK(layer_norm_backward)->Apply(plain_sizes);
BENCHMARK(adamw)->Apply(plain_sizes);

}  // namespace
}  // namespace trireme
