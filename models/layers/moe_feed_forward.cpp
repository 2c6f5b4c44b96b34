#include "models/layers/moe_feed_forward.h"

#include <algorithm>
#include <utility>

#include "models/layers/activation.h"
#include "parallel/expert_parallel/token_exchange.h"
#include "parallel/module/routing_observer.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/gemm/grouped_gemm.h"
#include "runtime/ops/packed/packed_linear.h"
#include "runtime/ops/permute.h"

namespace trireme {

struct MoeFeedForward::MoeState {
  std::optional<ExpertRows> rows_passed;
  Saved router, shared;
  Tensor x;             // the rows passed
  Tensor slots, gates;  // of each choice
  std::optional<TokenExchange> exchange;
  Tensor rows, h, a;              // of the experts here: what comes in, before and after the activation
  Tensor returned;                // what the experts made of this rank's rows
  Tensor dh, dout;                // gradients of h and of what the experts make
  Tensor up_weight, down_weight;  // where the gradients of learned scales need them
};

namespace {

// Rows and experts of one chunk.
Tensor rows_of(const Tensor& rows, const Part& part) { return rows.slice(part.begin, part.end); }
int64_t outputs_of(const ParameterBlock& block, int64_t num_experts) {
  return block.view().num_outputs() / num_experts;
}
Tensor experts_of(const WeightView& weight, const TokenExchange& exchange, int chunk) {
  const int64_t height = weight.values.dim(0) / std::ssize(exchange.counts());
  const Part& experts = exchange.experts(chunk);
  return weight.values.slice(experts.begin * height, experts.end * height);
}

// Packed experts come all at once: those of other chunks get no rows.
std::vector<int64_t> counts_among_all(const TokenExchange& exchange, int chunk) {
  std::vector<int64_t> counts(exchange.counts().size(), 0);
  std::ranges::copy(exchange.counts(chunk), counts.begin() + exchange.experts(chunk).begin);
  return counts;
}

// y = x · w_e^T of the experts of a chunk.
void multiply(Context& ctx, const Tensor& x, const TokenExchange& exchange, int chunk,
              const WeightView& weight, const Tensor& y) {
  if (!weight.packed)
    return ops::grouped_linear(ctx, x, exchange.counts(chunk), experts_of(weight, exchange, chunk), y);
  const PackedBlock& packed = *weight.packed;
  TRIREME_CHECK(packed.parts.size() == 1, "experts in {} parts", packed.parts.size());
  const std::vector<int64_t> counts = counts_among_all(exchange, chunk);
  if (packed.observer != nullptr && !packed.observer->sees_all_rows())
    packed.observer->inputs(ctx, x, counts);
  ops::packed_grouped_linear(ctx, x, counts, packed.parts.front(), packed.activations, y);
}

// Who wants to see all rows of such a block; null: nobody.
InputObserver* observer_of_all(const ParameterBlock& block) {
  InputObserver* observer = block.packed ? block.packed->observer : nullptr;
  return observer != nullptr && observer->sees_all_rows() ? observer : nullptr;
}

// Sends all chunks off: they travel one after the other.
std::vector<RowsInFlight> start_to_experts(Context& ctx, const TokenExchange& exchange, const Tensor& here,
                                           const Tensor& there) {
  std::vector<RowsInFlight> arriving;
  for (int chunk = 0; chunk < exchange.num_chunks(); ++chunk)
    arriving.push_back(exchange.start_to_experts(ctx, chunk, here, there));
  return arriving;
}

Tensor rows_of_width(Context& ctx, const Tensor& like, int64_t num_rows, int64_t width) {
  return Tensor::empty(ctx, {num_rows, width}, like.dtype());
}

}  // namespace

MoeFeedForward::MoeFeedForward(const MixtureSpec& spec, std::shared_ptr<MixtureParameters> parameters,
                               RouterPlace place, const TensorParallel& tensor,
                               const ContextParallel& context, const ExpertParallel& experts,
                               const MatmulPolicies& matmul)
    : activation_(spec.expert.activation),
      tensor_(tensor),
      experts_(experts),
      router_(spec.routing, part_of(parameters, parameters->router), std::move(place), tensor, context,
              experts),
      parameters_(std::move(parameters)),
      up_(parameters_->up),
      down_(parameters_->down),
      quantized_up_(up_, matmul.of(up_).quantization, &parameters_->up_scales),
      quantized_down_(down_, matmul.of(down_).quantization, &parameters_->down_scales) {
  if (spec.shared) shared_.emplace(*spec.shared, part_of(parameters_, *parameters_->shared), tensor, matmul);
}

// All rows through every expert here, for observers alone.
void MoeFeedForward::show_all_rows(Context& ctx, const Tensor& passed) const {
  InputObserver *const of_up = observer_of_all(up_), *const of_down = observer_of_all(down_);
  if (of_up == nullptr && of_down == nullptr) return;
  Communicator& group = experts_.group();
  std::vector<int64_t> num_passed(static_cast<size_t>(group.size())), own{passed.dim(0)};
  group.all_gather(ctx.host_stream(), Tensor::borrow(own.data(), {1}, DType::i64),
                   Tensor::borrow(num_passed.data(), {group.size()}, DType::i64));
  const PackedBlock& up = *up_.packed;
  const int64_t num_held = up.parts.front().matrices, width = down_.view().num_inputs();
  for (int root = 0; root < group.size(); ++root) {
    const int64_t num_rows = num_passed[static_cast<size_t>(root)];
    if (num_rows == 0) continue;
    const Tensor rows = root == group.rank() ? passed : rows_of_width(ctx, passed, num_rows, passed.dim(1));
    group.broadcast(ctx.stream(), rows, root);
    for (int64_t expert = 0; expert < num_held; ++expert) {
      std::vector<int64_t> counts(static_cast<size_t>(num_held), 0);
      counts[static_cast<size_t>(expert)] = num_rows;
      if (of_up != nullptr) of_up->inputs(ctx, rows, counts);
      if (of_down == nullptr) continue;
      const Tensor h = rows_of_width(ctx, rows, num_rows, outputs_of(up_, num_held)),
                   a = rows_of_width(ctx, rows, num_rows, width);
      ops::packed_grouped_linear(ctx, rows, counts, up.parts.front(), up.activations, h);
      activation(ctx, activation_, h, a);
      of_down->inputs(ctx, a, counts);
    }
  }
}

Tensor MoeFeedForward::forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) const {
  auto& state = saved.emplace<MoeState>();
  const ExpertRows& rows = state.rows_passed.emplace(tensor_, experts_, mb);
  state.x = rows.take(ctx, x);
  show_all_rows(ctx, state.x);
  const int64_t hidden = x.dim(1);
  const Routing routing = router_.forward(ctx, mb, rows, x, state.router);
  state.slots = routing.slots;
  state.gates = routing.gates;
  const Tensor sent = rows_of_width(ctx, x, routing.num_rows, hidden);
  ops::permute_rows(ctx, state.x, state.slots, sent);
  const TokenExchange& exchange = state.exchange.emplace(ctx, experts_, routing.counts);
  state.rows = rows_of_width(ctx, x, exchange.num_received(), hidden);
  const auto arriving = start_to_experts(ctx, exchange, sent, state.rows);
  const Tensor shared = shared_ ? shared_->forward(ctx, mb, x, state.shared) : Tensor();

  const int64_t num_held = std::ssize(exchange.counts()), num_rows = exchange.num_received();
  state.h = rows_of_width(ctx, x, num_rows, outputs_of(up_, num_held));
  state.a = rows_of_width(ctx, x, num_rows, down_.view().num_inputs());
  state.returned = rows_of_width(ctx, x, exchange.num_sent(), hidden);
  const Tensor made = rows_of_width(ctx, x, num_rows, hidden);
  const Weights weights{quantized_up_.forward(ctx), quantized_down_.forward(ctx)};
  std::vector<WorkPtr> returning;
  for (int chunk = 0; chunk < exchange.num_chunks(); ++chunk) {
    exchange.finish_to_experts(ctx, chunk, arriving[static_cast<size_t>(chunk)], state.rows);
    router_.balance().expert_time.measure(ctx.stream(), [&] { compute(ctx, chunk, state, weights, made); });
    returning.push_back(exchange.start_from_experts(ctx, chunk, made, state.returned));
  }
  for (const WorkPtr& work : returning) work->wait();
  if (RoutingObserver* observer = router_.balance().observer; observer != nullptr && rows.passed().size() > 0)
    observer->after_experts(ctx, router_.balance(),
                            {routing.chosen, state.slots, state.gates, state.returned});
  const Tensor sum = rows_of_width(ctx, x, state.x.dim(0), hidden);
  ops::combine_rows(ctx, state.returned, state.slots, state.gates, sum);
  const Tensor y = rows.give(ctx, sum);
  if (shared) ops::add(ctx, y, shared, y);
  return y;
}

// The experts of a chunk: rows, h, a, made.
void MoeFeedForward::compute(Context& ctx, int chunk, const MoeState& state, const Weights& weights,
                             const Tensor& made) const {
  const TokenExchange& exchange = *state.exchange;
  const Part& there = exchange.there(chunk);
  const Tensor h = rows_of(state.h, there), a = rows_of(state.a, there);
  multiply(ctx, rows_of(state.rows, there), exchange, chunk, weights.up, h);
  activation(ctx, activation_, h, a);
  multiply(ctx, a, exchange, chunk, weights.down, rows_of(made, there));
}

Tensor MoeFeedForward::backward_input(Context& ctx, const Tensor& dy, Saved& saved) const {
  auto& state = saved.get<MoeState>();
  const TokenExchange& exchange = *state.exchange;
  const ExpertRows& rows = *state.rows_passed;
  const int64_t hidden = dy.dim(1), num_rows = exchange.num_received();
  const Tensor dsum = rows.take(ctx, dy);
  const Tensor dgates = Tensor::empty(ctx, state.gates.shape(), DType::f32);
  ops::combine_rows_backward(ctx, state.returned, state.slots, state.gates, dsum, state.returned, dgates);
  state.dout = rows_of_width(ctx, dy, num_rows, hidden);
  const auto arriving = start_to_experts(ctx, exchange, state.returned, state.dout);
  // Each rank has seen its own term of what the experts make.
  experts_.width().group().all_reduce(ctx.stream(), dgates);
  const Tensor dx_shared = shared_ ? shared_->backward_input(ctx, dy, state.shared) : Tensor();

  const Tensor da = rows_of_width(ctx, dy, num_rows, down_.weight.dim(1));
  state.dh = is_gated(activation_) ? state.h : da;
  const Tensor drows = rows_of_width(ctx, dy, num_rows, hidden),
               dsent = rows_of_width(ctx, dy, exchange.num_sent(), hidden);
  state.up_weight = quantized_up_.kept();
  state.down_weight = quantized_down_.kept();
  const Weights weights{quantized_up_.backward(ctx), quantized_down_.backward(ctx)};
  std::vector<WorkPtr> returning;
  for (int chunk = 0; chunk < exchange.num_chunks(); ++chunk) {
    exchange.finish_to_experts(ctx, chunk, arriving[static_cast<size_t>(chunk)], state.dout);
    router_.balance().expert_time.measure(ctx.stream(),
                                          [&] { compute_backward(ctx, chunk, state, weights, da, drows); });
    returning.push_back(exchange.start_from_experts(ctx, chunk, drows, dsent));
  }
  state.h = Tensor();
  for (const WorkPtr& work : returning) work->wait();
  state.returned = Tensor();
  const Tensor dx = rows_of_width(ctx, dy, dsum.dim(0), hidden);
  ops::combine_rows(ctx, dsent, state.slots, {}, dx);
  router_.backward_input(ctx, rows, dgates, dx, state.router);
  const Tensor reduced = rows.give(ctx, dx);
  if (dx_shared) ops::add(ctx, reduced, dx_shared, reduced);
  return reduced;
}

// The experts of a chunk: dout, da, dh (in place of h or da), drows.
void MoeFeedForward::compute_backward(Context& ctx, int chunk, const MoeState& state, const Weights& weights,
                                      const Tensor& da, const Tensor& drows) const {
  const TokenExchange& exchange = *state.exchange;
  const Part& there = exchange.there(chunk);
  const Tensor h = rows_of(state.h, there), da_here = rows_of(da, there);
  ops::grouped_linear_backward_input(ctx, rows_of(state.dout, there), exchange.counts(chunk),
                                     experts_of(weights.down, exchange, chunk), da_here);
  activation_backward(ctx, activation_, h, da_here, rows_of(state.dh, there));
  ops::grouped_linear_backward_input(ctx, rows_of(state.dh, there), exchange.counts(chunk),
                                     experts_of(weights.up, exchange, chunk), rows_of(drows, there));
}

void MoeFeedForward::backward_weight(Context& ctx, Saved& saved) const {
  auto& state = saved.get<MoeState>();
  const auto counts = state.exchange->counts();
  router_.balance().expert_time.measure(ctx.stream(), [&] {
    const auto add = [&](const Tensor& dy, const Tensor& x, const QuantizedWeight& weight,
                         const Tensor& kept) {
      weight.add_gradient(ctx, kept, [&](const Tensor& dw) {
        if (dw) ops::grouped_linear_backward_weight(ctx, dy, x, counts, dw);
      });
    };
    add(state.dh, state.rows, quantized_up_, state.up_weight);
    add(state.dout, state.a, quantized_down_, state.down_weight);
  });
  router_.backward_weight(ctx, state.rows_passed->own_of(state.x), state.router);
  if (shared_) shared_->backward_weight(ctx, state.shared);
  saved.clear();
}

}  // namespace trireme
