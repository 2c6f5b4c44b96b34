#include "models/layers/router.h"

#include <numeric>
#include <utility>

#include "parallel/module/routing_observer.h"
#include "runtime/base/philox.h"
#include "runtime/ops/gemm/gemm.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/random.h"
#include "runtime/ops/routing.h"

namespace trireme {

ops::RouteOptions route_options(const MoeConfig& c) {
  ops::RouteOptions options;
  options.sigmoid = c.score == RouterScore::sigmoid;
  options.num_groups = static_cast<int>(c.num_groups);
  options.groups_per_token = static_cast<int>(c.groups_per_token);
  options.normalize = c.normalize_gates;
  options.gate_scale = static_cast<float>(c.gate_scale);
  return options;
}

namespace {

Tensor in_type(Context& ctx, const Tensor& t, DType dtype) {
  if (t.dtype() == dtype) return t;
  const Tensor out = Tensor::empty(ctx, t.shape(), dtype, MemoryCategory::buffers);
  ops::copy(ctx, t, out);
  return out;
}

/// The noise on what the router sees of a micro-batch: a function of the place of each token in the run, so
/// that it is made again wherever it is needed.
struct Jitter {
  ops::JitterOptions options;
  Tensor positions;       // of all rows; undefined: no noise
  int64_t first_own = 0;  // of the rank's own rows

  void multiply(Context& ctx, int64_t first_row, const Tensor& x, const Tensor& y) const {
    ops::jitter(ctx, options, positions, first_row, x, y);
  }
  Tensor seen(Context& ctx, int64_t first_row, const Tensor& x) const {
    if (!positions) return x;
    const Tensor y = Tensor::empty(ctx, x.shape(), x.dtype());
    multiply(ctx, first_row, x, y);
    return y;
  }
};

struct RouterState {
  Tensor logits, log_sum, chosen;
  Tensor dprobabilities, dsquares;  // of the balance terms; undefined: none
  Tensor dlogits;                   // in the compute type
  float gradient_scale = 1;
  Jitter jitter;
};

Jitter jitter_of(const MoeConfig& config, const std::string& router, const MicroBatch& mb) {
  if (config.jitter == 0 || !mb.training) return {};
  return {{.eps = static_cast<float>(config.jitter),
           .key = stream_key(mb.seed, router + ".jitter"),
           .first_sample = mb.first_sample,
           .rows_per_sample = mb.seq_len},
          mb.places_in_sequence()};
}

}  // namespace

/// The gradients of a micro-batch's balance terms, for each of its sequences (docs/moe.md).
struct Router::Terms {
  std::vector<float> dprobabilities;  // [S * E]: of the probabilities of each of its tokens
  std::vector<float> dsquares;        // [S]: of the squared log-sums

  explicit operator bool() const { return !dsquares.empty(); }
};

Router::Router(const MoeConfig& config, std::shared_ptr<ParameterBlock> weight, RouterPlace place,
               const TensorParallel& tensor, const ContextParallel& context, const ExpertParallel& experts)
    : config_(config),
      tensor_(tensor),
      context_(context),
      order_(experts.order(config.num_experts)),
      weight_(std::move(weight)),
      balance_(std::make_unique<RouterBalance>(std::move(place.name), place.layer, config.num_experts,
                                               config.bias_rate)) {}

// Of all rows, on every rank.
Tensor Router::logits(Context& ctx, const ExpertRows& rows, const Tensor& x) const {
  const auto empty = [&](int64_t n) { return Tensor::empty(ctx, {n, config_.num_experts}, DType::f32); };
  const Tensor logits = empty(x.dim(0));
  ops::linear(ctx, x, weight_->weight, {}, logits);
  if (!rows.sharded()) return logits;
  const Tensor all = empty(rows.num_all());
  tensor_.group().all_gather(ctx.stream(), logits, all);
  return all;
}

Routing Router::forward(Context& ctx, const MicroBatch& mb, const ExpertRows& rows, const Tensor& x,
                        Saved& saved) const {
  const int64_t num_rows = rows.num_all(), num_experts = config_.num_experts, k = config_.experts_per_token;
  const Part& passed = rows.passed();
  const auto floats = [&](const Shape& shape) { return Tensor::empty(ctx, shape, DType::f32); };
  auto& state = saved.emplace<RouterState>();
  state.gradient_scale = mb.gradient_scale;
  if (num_rows == 0) {  // the experts here may get rows of other ranks
    return {.slots = Tensor::empty(ctx, {0, k}, DType::i32),
            .gates = floats({0, k}),
            .chosen = Tensor::empty(ctx, {0, k}, DType::i32),
            .counts = std::vector<int64_t>(static_cast<size_t>(num_experts), 0)};
  }
  state.jitter = jitter_of(config_, balance_->name, mb);
  state.jitter.first_own = rows.own().begin;
  state.logits = logits(ctx, rows, state.jitter.seen(ctx, rows.sharded() ? rows.own().begin : 0, x));
  state.log_sum = floats({num_rows});
  state.chosen = Tensor::empty(ctx, {num_rows, k}, DType::i32);
  const Tensor probabilities = floats({num_rows, num_experts}), gates = floats({num_rows, k});
  const Tensor bias = balance_->bias.empty() ? Tensor() : ops::to_device(ctx, balance_->bias, {num_experts});
  ops::route(ctx, route_options(config_), state.logits, bias, probabilities, state.log_sum, state.chosen,
             gates);
  if (balance_->observer != nullptr)
    balance_->observer->after_choice(ctx, mb, *balance_, state.logits, state.chosen, gates);

  const ContextShare share =
      mb.context_parts > 1 ? context_.share() : ContextShare();  // else every rank holds whole sequences
  const int64_t halves = share.size > 1 ? 2 : 1, half_len = mb.seq_len / halves;
  // Runs end where the passed rows begin and end.
  const int64_t run_len = std::gcd(half_len, std::gcd(passed.begin, passed.end));
  const QueueRuns runs{
      mb.batch, half_len / run_len, run_len, {passed.begin / run_len, passed.end / run_len}, order_};
  const Tensor counts =
      Tensor::empty(ctx, {num_rows / run_len, num_experts}, DType::i64, MemoryCategory::buffers);
  ops::count_choices(ctx, state.chosen, counts);
  const std::vector<int64_t> chosen = gather_counts(ctx, share, counts);
  MoeConfig limits = config_;
  if (mb.paged || mb.like_paged)
    limits.capacity = CapacityMode::dropless;  // a row must not depend on the others
  ExpertQueues queues = make_queues(limits, chosen, share, runs, mb.seq_len * share.size);
  Routing routing;
  routing.gates = gates.slice(passed.begin, passed.end);
  routing.chosen = state.chosen.slice(passed.begin, passed.end);
  routing.slots = Tensor::empty(ctx, {passed.size(), k}, DType::i32);
  const Shape of_runs{runs.passed.size(), num_experts};
  if (passed.size() > 0) {
    ops::assign_slots(ctx, state.chosen.slice(passed.begin, passed.end),
                      ops::to_device(ctx, queues.base, of_runs), ops::to_device(ctx, queues.ahead, of_runs),
                      queues.capacity, routing.slots);
  }
  routing.counts = std::move(queues.counts);
  routing.num_rows = queues.num_rows;
  if (!mb.training) return routing;
  const Terms terms = balance_terms(mb, mb.seq_len * share.size, chosen);
  if (terms) {
    state.dprobabilities = ops::to_device(ctx, terms.dprobabilities, {mb.batch, num_experts});
    state.dsquares = ops::to_device(ctx, terms.dsquares, {mb.batch});
  }
  if (mb.loss_sum) count(ctx, mb, terms, probabilities, state.log_sum, counts, queues.num_dropped);
  return routing;
}

std::vector<int64_t> Router::gather_counts(Context& ctx, const ContextShare& share,
                                           const Tensor& counts) const {
  if (share.size == 1) return ops::to_host<int64_t>(ctx, counts);
  const Tensor all = Tensor::empty(ctx, {share.size, counts.numel()}, DType::i64, MemoryCategory::buffers);
  context_.group().all_gather(ctx.stream(), counts, all);
  return ops::to_host<int64_t>(ctx, all);
}

// `chosen` counts each sequence on all ranks that share it, so every term is of the whole sequence.
Router::Terms Router::balance_terms(const MicroBatch& mb, int64_t seq_len,
                                    const std::vector<int64_t>& chosen) const {
  Terms terms;
  if (mb.weight_of_sequence.empty() || (config_.aux_loss == 0 && config_.z_loss == 0)) return terms;
  const auto num_experts = static_cast<size_t>(config_.num_experts),
             num_sequences = static_cast<size_t>(mb.batch);
  const auto length = static_cast<double>(seq_len);
  std::vector<double> load(num_sequences * num_experts, 0.0);
  const size_t parts = mb.context_parts > 1 ? static_cast<size_t>(context_.share().size) : 1;
  const size_t per_rank = chosen.size() / parts, per_sequence = per_rank / num_sequences;
  for (size_t i = 0; i < chosen.size(); ++i) {
    const size_t sequence = i % per_rank / per_sequence;
    load[sequence * num_experts + i % num_experts] += static_cast<double>(chosen[i]);
  }
  const double even =
      static_cast<double>(config_.experts_per_token) * length / static_cast<double>(num_experts);
  for (size_t s = 0; s < num_sequences; ++s) {
    const double weight = mb.weight_of_sequence[s] / length;
    for (size_t e = 0; e < num_experts; ++e) {
      const double f = config_.aux_scope == BalanceScope::sequence ? load[s * num_experts + e] / even
                                                                   : balance_->last_load[e];
      terms.dprobabilities.push_back(static_cast<float>(config_.aux_loss * weight * f));
    }
    terms.dsquares.push_back(static_cast<float>(config_.z_loss * weight));
  }
  return terms;
}

// The terms are linear in what their gradients are of, so these give their values too.
void Router::count(Context& ctx, const MicroBatch& mb, const Terms& terms, const Tensor& probabilities,
                   const Tensor& log_sum, const Tensor& counts, int64_t num_dropped) const {
  RouterSums& sums = balance_->sums;
  const int64_t num_experts = config_.num_experts;
  sums.num_tokens += static_cast<double>(mb.rows());
  sums.num_dropped += static_cast<double>(num_dropped);
  const std::vector<int64_t> own = ops::to_host<int64_t>(ctx, counts);
  for (size_t i = 0; i < own.size(); ++i) sums.chosen[i % sums.chosen.size()] += static_cast<double>(own[i]);
  if (!terms) return;
  const Tensor sums_p = Tensor::empty(ctx, {mb.batch, num_experts}, DType::f32, MemoryCategory::buffers);
  const Tensor squares = Tensor::empty(ctx, {mb.batch}, DType::f64, MemoryCategory::buffers);
  ops::fill(ctx, sums_p, 0);
  ops::fill(ctx, squares, 0);
  for (int64_t s = 0; s < mb.batch; ++s) {
    const int64_t begin = s * mb.seq_len, end = begin + mb.seq_len;
    ops::add_column_sums(ctx, probabilities.slice(begin, end), sums_p.slice(s, s + 1).view({num_experts}));
    ops::add_sum_of_squares(ctx, log_sum.slice(begin, end), squares.slice(s, s + 1));
  }
  const std::vector<float> p = ops::to_host<float>(ctx, sums_p);
  const std::vector<double> z = ops::to_host<double>(ctx, squares);
  for (size_t i = 0; i < p.size(); ++i)
    sums.aux_loss += static_cast<double>(terms.dprobabilities[i]) * static_cast<double>(p[i]);
  for (size_t s = 0; s < z.size(); ++s) sums.z_loss += static_cast<double>(terms.dsquares[s]) * z[s];
}

void Router::backward_input(Context& ctx, const ExpertRows& rows, const Tensor& dgates, const Tensor& dx,
                            Saved& saved) const {
  auto& state = saved.get<RouterState>();
  const Part &passed = rows.passed(), &own = rows.own();
  // Of the rows that others pass only the shape is needed.
  const Tensor all_dgates = Tensor::empty(ctx, state.chosen.shape(), DType::f32);
  ops::fill(ctx, all_dgates, 0);
  ops::copy(ctx, dgates, all_dgates.slice(passed.begin, passed.end));
  const Tensor dlogits = Tensor::empty(ctx, state.logits.shape(), DType::f32);
  for (const Tensor& term : {state.dprobabilities, state.dsquares}) {
    if (term) ops::scale(ctx, term, state.gradient_scale);
  }
  ops::route_backward(ctx, route_options(config_), state.logits, state.log_sum, state.chosen, all_dgates,
                      state.dprobabilities, state.dsquares, dlogits);
  const Jitter jitter = state.jitter;
  state = {};
  state.jitter = jitter;
  state.dlogits = in_type(ctx, dlogits.slice(own.begin, own.end), weight_->weight.dtype());
  if (own.size() == 0) return;
  const Tensor own_dx = rows.own_of(dx);
  if (!jitter.positions) {
    ops::gemm(ctx, {.accumulate = true}, state.dlogits, weight_->weight, {}, own_dx);
    return;
  }
  const Tensor dseen = Tensor::empty(ctx, own_dx.shape(), own_dx.dtype());
  ops::gemm(ctx, {}, state.dlogits, weight_->weight, {}, dseen);
  jitter.multiply(ctx, own.begin, dseen, dseen);
  ops::add(ctx, own_dx, dseen, own_dx);
}

void Router::backward_weight(Context& ctx, const Tensor& x, Saved& saved) const {
  const auto& state = saved.get<RouterState>();
  if (x.dim(0) > 0 && weight_->gradient) {
    ops::linear_backward_weight(ctx, state.dlogits, state.jitter.seen(ctx, state.jitter.first_own, x),
                                weight_->gradient, {});
  }
  saved.clear();
}

}  // namespace trireme
