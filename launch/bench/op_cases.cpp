#include "launch/bench/op_cases.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <fmt/format.h>

#include "launch/bench/expert_cases.h"
#include "launch/bench/op_tensors.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/attention/attention.h"
#include "runtime/ops/attention/rotary.h"
#include "runtime/ops/embedding.h"
#include "runtime/ops/gemm/gemm.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/training/adamw.h"
#include "runtime/ops/training/cross_entropy.h"
#include "runtime/profile/op_timeline.h"

namespace trireme::launch {

namespace {

constexpr int64_t kLongest = 1024;

using namespace op_tensors;

using Make = std::function<OpCase(Context&, DType, int64_t)>;

/// As training lays them out: rows of odd length begin at multiples of 128 bytes (logits).
ops::Columns aligned(Context& ctx, int64_t rows, int64_t width, DType dtype) {
  return {random(ctx, {rows, aligned_row_stride(width)}, dtype, 1), 0, width};
}

Make linear_forward(int64_t in, int64_t out, bool has_bias) {
  return [=](Context& ctx, DType dtype, int64_t tokens) {
    const Tensor x = random(ctx, {tokens, in}, dtype, 1), w = random(ctx, {out, in}, dtype, 2);
    const Tensor bias = has_bias ? random(ctx, {out}, DType::f32, 3) : Tensor();
    const ops::Columns y = aligned(ctx, tokens, out, dtype);
    return [=, &ctx] { ops::linear(ctx, x, w, bias, y); };
  };
}

Make linear_backward_input(int64_t in, int64_t out) {
  return [=](Context& ctx, DType dtype, int64_t tokens) {
    const ops::Columns dy = aligned(ctx, tokens, out, dtype);
    const Tensor w = random(ctx, {out, in}, dtype, 2), dx = zeros(ctx, {tokens, in}, dtype);
    return [=, &ctx] { ops::linear_backward_input(ctx, dy, w, dx); };
  };
}

Make linear_backward_weight(int64_t in, int64_t out, bool has_bias) {
  return [=](Context& ctx, DType dtype, int64_t tokens) {
    const ops::Columns dy = aligned(ctx, tokens, out, dtype);
    const Tensor x = random(ctx, {tokens, in}, dtype, 2);
    const Tensor dw = zeros(ctx, {out, in}, DType::f32);
    const Tensor dbias = has_bias ? zeros(ctx, {out}, DType::f32) : Tensor();
    return [=, &ctx] { ops::linear_backward_weight(ctx, dy, x, dw, dbias); };
  };
}

Make linear_and_gelu(int64_t in, int64_t out) {
  return [=](Context& ctx, DType dtype, int64_t tokens) {
    const Tensor x = random(ctx, {tokens, in}, dtype, 1), w = random(ctx, {out, in}, dtype, 2),
                 bias = random(ctx, {out}, DType::f32, 3), h = zeros(ctx, {tokens, out}, dtype),
                 y = zeros(ctx, h.shape(), dtype);
    return [=, &ctx] { ops::linear_gelu(ctx, x, w, bias, h, y); };
  };
}

Make linear_and_gelu_backward(int64_t in, int64_t out) {
  return [=](Context& ctx, DType dtype, int64_t tokens) {
    const Tensor dy = random(ctx, {tokens, out}, dtype, 1), w = random(ctx, {out, in}, dtype, 2),
                 h = random(ctx, {tokens, in}, dtype, 3), dh = zeros(ctx, h.shape(), dtype);
    return [=, &ctx] { ops::linear_backward_input_gelu(ctx, dy, w, h, dh); };
  };
}

struct AttentionTensors {
  AttentionTensors(Context& ctx, DType dtype, int64_t tokens, int64_t heads, int64_t kv_heads, int64_t dim)
      : width(heads * dim), kv_width(kv_heads * dim) {
    shape.q_len = shape.kv_len = std::min(tokens, kLongest);
    shape.batch = tokens / shape.q_len;
    shape.num_heads = heads;
    shape.num_kv_heads = kv_heads;
    shape.head_dim = dim;
    shape.scale = 1.0f / std::sqrt(static_cast<float>(dim));
    const int64_t rows = shape.batch * shape.q_len;
    qkv = random(ctx, {rows, width + 2 * kv_width}, dtype, 1);
    dqkv = zeros(ctx, qkv.shape(), dtype);
    out = zeros(ctx, {rows, width}, dtype);
    dout = random(ctx, out.shape(), dtype, 2);
    lse = zeros(ctx, {shape.batch, heads, shape.q_len}, DType::f32);
  }
  ops::Columns q(const Tensor& t) const { return {t, 0, width}; }
  ops::Columns k(const Tensor& t) const { return {t, width, kv_width}; }
  ops::Columns v(const Tensor& t) const { return {t, width + kv_width, kv_width}; }
  void forward(Context& ctx) const { ops::attention(ctx, shape, q(qkv), k(qkv), v(qkv), out, lse); }
  void backward(Context& ctx) const {
    ops::attention_backward(ctx, shape, q(qkv), k(qkv), v(qkv), out, lse, dout, q(dqkv), k(dqkv), v(dqkv));
  }

  int64_t width, kv_width;
  ops::AttentionShape shape;
  Tensor qkv, dqkv, out, dout, lse;
};

Make attention(int64_t heads, int64_t kv_heads, int64_t dim, bool backward) {
  return [=](Context& ctx, DType dtype, int64_t tokens) {
    const AttentionTensors t(ctx, dtype, tokens, heads, kv_heads, dim);
    t.forward(ctx);
    return [=, &ctx] { backward ? t.backward(ctx) : t.forward(ctx); };
  };
}

OpCase layer_norm(Context& ctx, DType dtype, int64_t tokens, bool backward) {
  constexpr int64_t kWidth = 768;
  const Tensor x = random(ctx, {tokens, kWidth}, dtype, 1), residual = random(ctx, x.shape(), dtype, 2),
               sum = zeros(ctx, x.shape(), dtype), y = zeros(ctx, x.shape(), dtype),
               gain = random(ctx, {kWidth}, DType::f32, 3), bias = random(ctx, {kWidth}, DType::f32, 4),
               mean = zeros(ctx, {tokens}, DType::f32), rstd = zeros(ctx, {tokens}, DType::f32);
  const auto forward = [=, &ctx] {
    ops::layer_norm(ctx, x, residual, gain, bias, 1e-5f, sum, y, mean, rstd);
  };
  forward();
  if (!backward) return forward;
  return [=, &ctx] { ops::layer_norm_backward(ctx, x, residual, sum, gain, mean, rstd, y, gain, bias); };
}

OpCase rms_norm(Context& ctx, DType dtype, int64_t tokens, bool backward) {
  constexpr int64_t kWidth = 2048;
  const Tensor x = random(ctx, {tokens, kWidth}, dtype, 1), residual = random(ctx, x.shape(), dtype, 2),
               sum = zeros(ctx, x.shape(), dtype), y = zeros(ctx, x.shape(), dtype),
               gain = random(ctx, {kWidth}, DType::f32, 3), rstd = zeros(ctx, {tokens}, DType::f32);
  const auto forward = [=, &ctx] { ops::rms_norm(ctx, x, residual, gain, 1e-5f, sum, y, rstd); };
  forward();
  if (!backward) return forward;
  return [=, &ctx] { ops::rms_norm_backward(ctx, x, residual, sum, gain, rstd, y, gain); };
}

OpCase gelu(Context& ctx, DType dtype, int64_t tokens) {
  const Tensor x = random(ctx, {tokens, 3072}, dtype, 1), y = zeros(ctx, x.shape(), dtype);
  return [=, &ctx] { ops::gelu(ctx, x, y); };
}

OpCase gelu_backward(Context& ctx, DType dtype, int64_t tokens) {
  const Tensor x = random(ctx, {tokens, 3072}, dtype, 1), dx = zeros(ctx, x.shape(), dtype);
  return [=, &ctx] { ops::gelu_backward(ctx, x, x, dx); };
}

OpCase swiglu(Context& ctx, DType dtype, int64_t tokens) {
  const Tensor gate_up = random(ctx, {tokens, 2 * 8192}, dtype, 1), y = zeros(ctx, {tokens, 8192}, dtype);
  return [=, &ctx] { ops::swiglu(ctx, gate_up, y); };
}

OpCase cross_entropy(Context& ctx, DType dtype, int64_t tokens) {
  const ops::Columns logits = aligned(ctx, tokens, 50257, dtype);
  const Tensor targets = zeros(ctx, {tokens}, DType::i32), loss = zeros(ctx, {tokens}, DType::f32);
  ops::fill(ctx, targets, 17);
  return [=, &ctx] { ops::cross_entropy(ctx, logits, targets, {}, loss, logits); };
}

OpCase embedding(Context& ctx, DType dtype, int64_t tokens) {
  constexpr int64_t kVocab = 50257;
  const Tensor ids = zeros(ctx, {tokens}, DType::i32), table = random(ctx, {kVocab, 768}, dtype, 1),
               out = zeros(ctx, {tokens, 768}, dtype);
  ops::fill(ctx, ids, 17);
  return [=, &ctx] { ops::embedding(ctx, ids, table, ops::TablePart{0, kVocab}, {}, {}, out); };
}

OpCase rotary(Context& ctx, DType dtype, int64_t tokens) {
  constexpr int64_t kWidth = 2048, kHeadDim = 64;
  const Tensor heads = random(ctx, {tokens, kWidth}, dtype, 1), positions = zeros(ctx, {tokens}, DType::i32),
               table = random(ctx, {kLongest, kHeadDim}, DType::f32, 2);
  return [=, &ctx] { ops::rotary(ctx, {heads, 0, kWidth}, kHeadDim, positions, table, false); };
}

OpCase column_sums(Context& ctx, DType dtype, int64_t tokens) {
  const Tensor x = random(ctx, {tokens, 3072}, dtype, 1), out = zeros(ctx, {3072}, DType::f32);
  return [=, &ctx] { ops::add_column_sums(ctx, x, out); };
}

OpCase adamw(Context& ctx, DType dtype, int64_t) {
  const Shape shape{10'000'000};
  const Tensor w = random(ctx, shape, DType::f32, 1), g = random(ctx, shape, DType::f32, 2),
               m = zeros(ctx, shape, DType::f32), v = zeros(ctx, shape, DType::f32);
  const Tensor copy = dtype == DType::f32 ? Tensor() : zeros(ctx, shape, dtype);
  ops::AdamWOptions options;
  options.update = ops::to_device(ctx, ops::adamw_update(options, 1e-4, 1), {ops::kAdamWUpdateSize});
  return [=, &ctx] { ops::adamw(ctx, options, g, w, m, v, copy); };
}

}  // namespace

std::vector<OpCaseMaker> op_cases() {
  std::vector<OpCaseMaker> cases;
  struct Product {
    const char* what;
    int64_t in, out;
    bool bias;
  };
  for (const Product& p : {Product{"124M qkv", 768, 2304, true},
                           {"124M projection", 768, 768, true},
                           {"124M up", 768, 3072, true},
                           {"124M down", 3072, 768, true},
                           {"124M head", 768, 50257, false},
                           {"1B qkv", 2048, 3072, false},
                           {"1B gate and up", 2048, 16384, false},
                           {"1B down", 8192, 2048, false}}) {
    const std::string shape = fmt::format("{}: {} -> {}", p.what, p.in, p.out);
    cases.push_back({"linear forward", shape, linear_forward(p.in, p.out, p.bias)});
    cases.push_back({"linear input gradient", shape, linear_backward_input(p.in, p.out)});
    cases.push_back({"linear weight gradient", shape, linear_backward_weight(p.in, p.out, p.bias)});
  }
  cases.push_back({"linear and gelu", "124M up: 768 -> 3072", linear_and_gelu(768, 3072)});
  cases.push_back(
      {"linear gradient and gelu", "124M down: 3072 -> 768", linear_and_gelu_backward(3072, 768)});
  for (const bool backward : {false, true}) {
    const char* name = backward ? "attention backward" : "attention forward";
    cases.push_back({name, "124M: 12 heads of 64", attention(12, 12, 64, backward)});
    cases.push_back({name, "1B: 32 heads of 64, 8 key-value", attention(32, 8, 64, backward)});
  }
  const auto norm = [](auto* make, bool backward) -> Make {
    return [=](Context& ctx, DType dtype, int64_t tokens) { return make(ctx, dtype, tokens, backward); };
  };
  cases.push_back({"layer norm", "width 768, with residual", norm(layer_norm, false)});
  cases.push_back({"layer norm backward", "width 768, with residual", norm(layer_norm, true)});
  cases.push_back({"rms norm", "width 2048, with residual", norm(rms_norm, false)});
  cases.push_back({"rms norm backward", "width 2048, with residual", norm(rms_norm, true)});
  cases.push_back({"gelu", "width 3072", gelu});
  cases.push_back({"gelu backward", "width 3072", gelu_backward});
  cases.push_back({"swiglu", "width 8192", swiglu});
  cases.push_back({"embedding", "vocabulary 50257, width 768", embedding});
  cases.push_back({"rotary", "32 heads of 64", rotary});
  cases.push_back({"cross-entropy and gradient", "vocabulary 50257", cross_entropy});
  cases.push_back({"column sums", "width 3072", column_sums});
  cases.push_back({"adamw", "10 million weights", adamw});
  std::ranges::move(expert_cases(), std::back_inserter(cases));
  return cases;
}

OpTime time_op(Context& ctx, const OpCaseMaker& maker, DType dtype, int64_t tokens, double seconds) {
  using Clock = std::chrono::steady_clock;
  const OpCase op = maker.make(ctx, dtype, tokens);
  const auto measure = [&](int runs) {
    ctx.stream().synchronize();
    const auto begin = Clock::now();
    for (int i = 0; i < runs; ++i) op();
    ctx.stream().synchronize();
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  OpTime result{maker.name, maker.shape};
  OpTimeline timeline(ctx);
  op();
  for (const TimedOp& part : timeline.stop().ops) {
    result.flops += part.flops;
    result.bytes += part.bytes;
  }
  // Several measurements of as many runs as fill a tenth of the time.
  const int runs = std::max(1, static_cast<int>(seconds / 10 / std::max(measure(1), 1e-7)));
  result.seconds = 1e30;
  for (double spent = 0; spent < seconds;) {
    const double time = measure(runs);
    result.seconds = std::min(result.seconds, time / runs);
    spent += time;
  }
  return result;
}

}  // namespace trireme::launch
