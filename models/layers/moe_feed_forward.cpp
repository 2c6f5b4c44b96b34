#include "models/layers/moe_feed_forward.h"

#include <optional>

#include <fmt/format.h>

#include "parallel/expert_parallel/token_exchange.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/grouped_gemm.h"
#include "runtime/ops/permute.h"

namespace trireme {

namespace {

struct MoeState {
  bool divided_rows = false;
  Saved router, shared;
  Tensor x;             // all rows
  Tensor slots, gates;  // of each choice
  std::optional<TokenExchange> exchange;
  Tensor rows, h, a;  // of the experts here: what comes in, before and after the activation
  Tensor returned;    // what the experts made of this rank's rows
  Tensor dh, dout;    // gradients of h and of what the experts make
};

ParameterBlock expert_block(const ModelConfig& c, const std::string& name, bool up,
                            const TensorParallel& tensor, const Part& held) {
  ParameterBlock block;
  const int64_t width = c.expert_ffn_size();
  for (int64_t e = held.begin; e < held.end; ++e) {
    const auto add = [&](const char* part, const Shape& shape, int dim, float std) {
      block.members.push_back(
          tensor.divided(fmt::format("{}.experts.{}{}.weight", name, e, part), shape, dim, 0.0f, std));
      block.members.back().expert = static_cast<int>(e);
    };
    const auto std = static_cast<float>(c.init_std);
    if (up && c.activation == ActivationKind::swiglu) add(".gate", {width, c.hidden_size}, 0, std);
    if (up) add(".up", {width, c.hidden_size}, 0, std);
    if (!up) add(".down", {c.hidden_size, width}, 1, residual_init_std(c));
  }
  return block;
}

ModelConfig with_width(ModelConfig config, int64_t ffn_size) {
  config.ffn_size = ffn_size;
  return config;
}

Tensor rows_of_width(Context& ctx, const Tensor& like, int64_t num_rows, int64_t width) {
  return Tensor::empty(ctx, {num_rows, width}, like.dtype());
}

}  // namespace

MoeFeedForward::MoeFeedForward(const ModelConfig& config, const std::string& name, int64_t layer,
                               const TensorParallel& tensor, const ContextParallel& context,
                               const ExpertParallel& experts)
    : activation_(config.activation),
      tensor_(tensor),
      experts_(experts),
      router_(config, name + ".router", layer, tensor, context),
      up_(expert_block(config, name, true, tensor, experts.part(config.moe.num_experts))),
      down_(expert_block(config, name, false, tensor, experts.part(config.moe.num_experts))) {
  if (config.moe.shared_ffn_size > 0) {
    shared_ = std::make_unique<FeedForward>(with_width(config, config.moe.shared_ffn_size), name + ".shared",
                                            tensor);
  }
}

Tensor MoeFeedForward::forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) const {
  auto& state = saved.emplace<MoeState>();
  state.divided_rows = tensor_.divides_rows(mb);
  state.x = tensor_.gather(ctx, x, state.divided_rows);
  const int64_t hidden = x.dim(1);
  const Routing routing = router_.forward(ctx, mb, state.x, state.router);
  state.slots = routing.slots;
  state.gates = routing.gates;
  const Tensor sent = rows_of_width(ctx, x, routing.num_rows, hidden);
  ops::permute_rows(ctx, state.x, state.slots, sent);
  state.exchange.emplace(ctx, experts_, routing.counts);
  const TokenExchange& exchange = *state.exchange;
  const RowsUnderWay arriving = exchange.start_to_experts(ctx, sent);
  const Tensor shared = shared_ ? shared_->forward(ctx, mb, x, state.shared) : Tensor();
  state.rows = exchange.finish_to_experts(ctx, arriving);

  const int64_t num_held = std::ssize(exchange.counts()), num_rows = exchange.num_received();
  state.h = rows_of_width(ctx, x, num_rows, up_.weight.dim(0) / num_held);
  ops::grouped_linear(ctx, state.rows, exchange.counts(), up_.weight, state.h);
  state.a = rows_of_width(ctx, x, num_rows, down_.weight.dim(1));
  if (activation_ == ActivationKind::swiglu) {
    ops::swiglu(ctx, state.h, state.a);
  } else {
    ops::gelu(ctx, state.h, state.a);
  }
  const Tensor made = rows_of_width(ctx, x, num_rows, hidden);
  ops::grouped_linear(ctx, state.a, exchange.counts(), down_.weight, made);

  state.returned = exchange.finish_from_experts(ctx, exchange.start_from_experts(ctx, made));
  const Tensor sum = rows_of_width(ctx, x, state.x.dim(0), hidden);
  ops::combine_rows(ctx, state.returned, state.slots, state.gates, sum);
  const Tensor y = tensor_.reduce(ctx, sum, state.divided_rows);
  if (shared) ops::add(ctx, y, shared, y);
  return y;
}

Tensor MoeFeedForward::backward_input(Context& ctx, const Tensor& dy, Saved& saved) const {
  auto& state = saved.get<MoeState>();
  const TokenExchange& exchange = *state.exchange;
  const int64_t hidden = dy.dim(1);
  const Tensor dsum = tensor_.gather(ctx, dy, state.divided_rows);
  const Tensor dgates = Tensor::empty(ctx, state.gates.shape(), DType::f32);
  ops::combine_rows_backward(ctx, state.returned, state.slots, state.gates, dsum, state.returned, dgates);
  const RowsUnderWay arriving = exchange.start_to_experts(ctx, state.returned);
  // Each tensor rank has seen its own term of what the experts make.
  tensor_.group().all_reduce(ctx.stream(), dgates);
  const Tensor dx_shared = shared_ ? shared_->backward_input(ctx, dy, state.shared) : Tensor();
  state.dout = exchange.finish_to_experts(ctx, arriving);

  const Tensor da = rows_of_width(ctx, dy, exchange.num_received(), down_.weight.dim(1));
  ops::grouped_linear_backward_input(ctx, state.dout, exchange.counts(), down_.weight, da);
  if (activation_ == ActivationKind::swiglu) {
    ops::swiglu_backward(ctx, state.h, da, state.h);
  } else {
    ops::gelu_backward(ctx, state.h, da, da);
  }
  state.dh = activation_ == ActivationKind::swiglu ? state.h : da;
  state.h = state.returned = Tensor();
  const Tensor drows = rows_of_width(ctx, dy, exchange.num_received(), hidden);
  ops::grouped_linear_backward_input(ctx, state.dh, exchange.counts(), up_.weight, drows);

  const Tensor dsent = exchange.finish_from_experts(ctx, exchange.start_from_experts(ctx, drows));
  const Tensor dx = rows_of_width(ctx, dy, dsum.dim(0), hidden);
  ops::combine_rows(ctx, dsent, state.slots, {}, dx);
  // The router's term is whole on every tensor rank: one of them adds it before the sum.
  router_.backward_input(ctx, dgates, tensor_.rank() == 0 ? dx : Tensor(), state.router);
  const Tensor reduced = tensor_.reduce(ctx, dx, state.divided_rows);
  if (dx_shared) ops::add(ctx, reduced, dx_shared, reduced);
  return reduced;
}

void MoeFeedForward::backward_weight(Context& ctx, Saved& saved) const {
  auto& state = saved.get<MoeState>();
  const auto counts = state.exchange->counts();
  ops::grouped_linear_backward_weight(ctx, state.dh, state.rows, counts, up_.gradient);
  ops::grouped_linear_backward_weight(ctx, state.dout, state.a, counts, down_.gradient);
  router_.backward_weight(ctx, state.x, state.router);
  if (shared_) shared_->backward_weight(ctx, state.shared);
  saved.clear();
}

void MoeFeedForward::collect(std::vector<ParameterBlock*>& blocks) {
  router_.collect(blocks);
  blocks.push_back(&up_);
  blocks.push_back(&down_);
  if (shared_) shared_->collect(blocks);
}

}  // namespace trireme
