#include "parallel/optimizer/muon_optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "parallel/module/local_ranges.h"
#include "parallel/optimizer/balanced_assignment.h"
#include "parallel/optimizer/newton_schulz.h"
#include "runtime/base/philox.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/training/stochastic_rounding.h"

namespace trireme {

namespace {

/// Of an update of AdamW, about: arXiv 2502.16982, section 2.2.
constexpr double kRootMeanSquare = 0.2;

bool is_of_muon(const ParameterView& view, bool of_experts) {
  const ParameterSettings& settings = view.group->settings;
  return !settings.frozen && settings.optimizer == OptimizerKind::muon && view.group->experts == of_experts;
}

/// This rank's piece of a parameter in a buffer of its group.
Tensor piece_in(const ParameterView& view, const Tensor& buffer) {
  return own_range(view, extent_of(*view.group, buffer)).in(buffer);
}

}  // namespace

MuonOptimizer::MuonOptimizer(Context& ctx, const ParallelContext& parallel, ParameterStorage& storage,
                             const MuonConfig& config)
    : config_(config) {
  for (const ParameterGroup* group : groups_of(storage, kind())) {
    groups_.push_back({group, make_state(ctx, *group),
                       Tensor::empty(ctx, {ops::kMuonUpdateSize}, DType::f64, MemoryCategory::buffers)});
  }
  for (const bool of_experts : {false, true})
    matrices_.push_back(matrices_of(ctx, parallel, storage, of_experts));
}

MuonOptimizer::Matrices MuonOptimizer::matrices_of(Context& ctx, const ParallelContext& parallel,
                                                   ParameterStorage& storage, bool of_experts) const {
  std::vector<const ParameterView*> views;
  std::vector<double> costs;
  for (const ParameterView& view : storage.parameters()) {
    if (!is_of_muon(view, of_experts)) continue;
    const Shape& shape = view.parameter->global_shape;
    TRIREME_CHECK(shape.rank() == 2, "{} is {}, but Muon needs matrices", view.parameter->name,
                  to_string(shape));
    views.push_back(&view);
    costs.push_back(newton_schulz_flops(shape[0], shape[1], config_.ns_steps));
  }
  Matrices matrices{MatrixPieces(ctx, parallel, of_experts, storage.sharding(), std::move(views)), {}};
  const auto team_size = static_cast<size_t>(matrices.pieces.team().size()),
             num_teams = static_cast<size_t>(matrices.pieces.copies().size());
  const auto assigned = balanced_assignment(costs, static_cast<int>(team_size * num_teams));
  size_t num_rounds = 0;
  for (const auto& of_worker : assigned) num_rounds = std::max(num_rounds, of_worker.size());
  matrices.rounds.assign(num_rounds,
                         std::vector<std::vector<int>>(num_teams, std::vector<int>(team_size, -1)));
  for (size_t worker = 0; worker < assigned.size(); ++worker) {
    for (size_t i = 0; i < assigned[worker].size(); ++i)
      matrices.rounds[i][worker / team_size][worker % team_size] = assigned[worker][i];
  }
  return matrices;
}

const MuonOptimizer::Group& MuonOptimizer::group_of(const ParameterView& view) const {
  return *std::ranges::find(groups_, view.group, &Group::group);
}

ops::MuonOptions MuonOptimizer::options(const ParameterView& view, const Tensor& gradient_scale) const {
  const Shape& shape = view.parameter->global_shape;
  return {.momentum = static_cast<float>(config_.momentum),
          .nesterov = config_.nesterov,
          .weight_decay = view.group->settings.decays ? static_cast<float>(config_.weight_decay) : 0.0f,
          .scale = static_cast<float>(kRootMeanSquare *
                                      std::sqrt(static_cast<double>(std::max(shape[0], shape[1])))),
          .update = group_of(view).update,
          .gradient_scale = gradient_scale};
}

void MuonOptimizer::begin(Context& ctx, double lr, int64_t number) {
  for (const Group& group : groups_) {
    ops::write(ctx, ops::muon_update(lr * config_.lr_ratio * group.group->settings.lr_factor, number),
               group.update);
  }
}

void MuonOptimizer::update(Context& ctx, const Tensor& gradient_scale, const BucketUpdated& updated) {
  for (const Matrices& matrices : matrices_) {
    for (const auto& round : matrices.rounds) run_round(ctx, matrices.pieces, round, gradient_scale);
  }
  for (const Group& group : groups_) {
    for (const ParameterBucket& bucket : group.group->buckets) updated(*group.group, bucket);
  }
}

void MuonOptimizer::run_round(Context& ctx, const MatrixPieces& pieces,
                              const std::vector<std::vector<int>>& round,
                              const Tensor& gradient_scale) const {
  const std::vector<int>& of_team = round[static_cast<size_t>(pieces.copies().rank())];
  Tensor whole = pieces.gather(ctx, of_team, add_momentum(ctx, pieces, round, gradient_scale));
  if (whole) whole = orthogonalized(ctx, whole, config_.ns_dtype, config_.ns_steps);
  const Tensor own = pieces.scatter(ctx, of_team, whole, config_.ns_dtype);
  whole = Tensor();
  int64_t at = 0;
  for (size_t team = 0; team < round.size(); ++team) {
    const bool is_own = static_cast<int>(team) == pieces.copies().rank();
    for (const int matrix : round[team]) {
      const int64_t size = matrix < 0 ? 0 : pieces.own_piece(static_cast<size_t>(matrix)).size;
      if (size == 0) continue;
      const Tensor piece = is_own ? own.slice(at, at + size)
                                  : Tensor::empty(ctx, {size}, config_.ns_dtype, MemoryCategory::buffers);
      if (is_own) at += size;
      pieces.copies().broadcast(ctx.stream(), piece, static_cast<int>(team));
      apply(ctx, pieces.view(static_cast<size_t>(matrix)), gradient_scale, piece);
    }
  }
}

// Of all pieces of the round; what this rank is a source of, for MatrixPieces::gather.
Tensor MuonOptimizer::add_momentum(Context& ctx, const MatrixPieces& pieces,
                                   const std::vector<std::vector<int>>& round,
                                   const Tensor& gradient_scale) const {
  const auto is_source = [&](size_t team, size_t owner) {
    return static_cast<int>(team) == pieces.copies().rank() &&
           pieces.is_source(static_cast<size_t>(round[team][owner]), pieces.team().rank(),
                            static_cast<int>(owner));
  };
  const auto for_each = [&](const auto& f) {
    for (size_t team = 0; team < round.size(); ++team) {
      for (size_t owner = 0; owner < round[team].size(); ++owner) {
        const int matrix = round[team][owner];
        if (matrix >= 0) f(static_cast<size_t>(matrix), is_source(team, owner));
      }
    }
  };
  int64_t total = 0;
  for_each([&](size_t matrix, bool sends) { total += sends ? pieces.own_piece(matrix).size : 0; });
  const Tensor directions = Tensor::empty(ctx, {total}, DType::f32, MemoryCategory::buffers);
  int64_t at = 0;
  for_each([&](size_t matrix, bool sends) {
    const int64_t size = pieces.own_piece(matrix).size;
    if (size == 0) return;
    const ParameterView& view = pieces.view(matrix);
    ops::muon_momentum(ctx, options(view, gradient_scale), piece_in(view, view.group->gradients),
                       piece_in(view, group_of(view).momentum),
                       sends ? directions.slice(at, at + size) : Tensor());
    if (sends) at += size;
  });
  return directions;
}

void MuonOptimizer::apply(Context& ctx, const ParameterView& view, const Tensor& gradient_scale,
                          const Tensor& orthogonal) const {
  const ParameterGroup& group = *view.group;
  const ops::MuonOptions options = this->options(view, gradient_scale);
  const Tensor weights = piece_in(view, group.weights);
  if (group.master) {
    const bool rounded = weights.dtype() != DType::f32;
    return ops::muon_apply(ctx, options, orthogonal, piece_in(view, group.master),
                           rounded ? weights : Tensor());
  }
  const Tensor wide = Tensor::empty(ctx, weights.shape(), DType::f32, MemoryCategory::buffers);
  ops::copy(ctx, weights, wide);
  ops::muon_apply(ctx, options, orthogonal, wide, {});
  const Parameter& p = *view.parameter;
  const ops::ElementRange range{
      0,        wide.numel(), stream_key(config_.seed, p.name),          p.global_shape,
      p.offset, p.shape,      own_range(view, BufferExtent::whole).first};
  ops::round_stochastically(ctx, wide, options.update.slice(1, 2), std::array{range}, weights);
}

std::vector<StateBuffer> MuonOptimizer::state() const {
  std::vector<StateBuffer> state;
  for (const Group& group : groups_) state.push_back({"momentum", group.group, group.momentum});
  return state;
}

}  // namespace trireme
