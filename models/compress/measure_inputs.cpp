// ModelQuantizer: statistics and scales of inputs.
#include <algorithm>
#include <memory>
#include <utility>

#include "models/compress/input_sums.h"
#include "models/compress/model_quantizer.h"
#include "models/spec/rank_share.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

SharedRows shared_rows(const ParallelContext& parallel, const InputGroup& group) {
  Communicator& ranks = group.is_of_experts() ? parallel.expert_tensor() : parallel.tensor();
  SharedRows rows{&ranks, group.inputs(), {}};
  for (int r = 0; r < ranks.size(); ++r) {
    rows.columns.push_back(group.is_row_parallel ? GroupShare{r, ranks.size()}.part(group.inputs())
                                                 : Part{0, group.inputs()});
  }
  return rows;
}

/// A block whose inputs are summed while this lives.
class ObservedBlock {
 public:
  ObservedBlock(ParameterBlock& block, InputSums sums) : block_(block), sums_(std::move(sums)) {
    observe(&sums_);
  }
  ~ObservedBlock() { observe(nullptr); }
  ObservedBlock(const ObservedBlock&) = delete;
  ObservedBlock& operator=(const ObservedBlock&) = delete;

  InputSums& sums() { return sums_; }

 private:
  void observe(InputObserver* observer) {
    PackedBlock seen = *block_.packed;
    seen.observer = observer;
    block_.packed = std::make_shared<const PackedBlock>(std::move(seen));
  }

  ParameterBlock& block_;
  InputSums sums_;
};

void add(InputStatistics& to, const InputStatistics& s) {
  to.tokens += s.tokens;
  for (size_t i = 0; i < s.hessian.size(); ++i) to.hessian[i] += s.hessian[i];
  for (size_t i = 0; i < s.magnitudes.size(); ++i) {
    to.magnitudes[i] += s.magnitudes[i];
    to.largest[i] = std::max(to.largest[i], s.largest[i]);
  }
}

}  // namespace

ModelQuantizer::Statistics ModelQuantizer::measure(int place, std::span<const CalibrationStep> steps) {
  Statistics statistics;
  if (!passes_ || !is_here(place)) return statistics;
  std::vector<std::pair<const InputGroup*, std::unique_ptr<ObservedBlock>>> observed;
  for (const CalibrationStep& step : steps) {
    for (const InputGroup& group : step) {
      if (!is_planned(group)) continue;
      ParameterBlock* block = nullptr;
      for (const Parameter& p : group.matrices) {
        if (block == nullptr) block = held_.find(p.name);
      }
      TRIREME_CHECK(block != nullptr, "rank {} holds nothing of {}", groups_.world().rank(), group.name);
      const int64_t count =
          block->is_of_experts() ? block->members.back().expert - block->members.front().expert + 1 : 1;
      const bool all_rows = group.is_of_experts() && options_.plan.all_experts;
      InputSums sums(shared_rows(groups_.parallel(), group), count, all_rows, !group.is_row_parallel);
      observed.emplace_back(&group, std::make_unique<ObservedBlock>(*block, std::move(sums)));
    }
  }
  if (observed.empty()) return statistics;
  passes_->forward(ctx_, place, false);
  for (auto& [group, block] : observed)
    statistics[group->name] = block->sums().reduce(ctx_, groups_.holders(group->is_of_experts() ? 0 : -1));
  return statistics;
}

ModelQuantizer::Statistics ModelQuantizer::measure_head(const InputGroup& head) {
  InputSums sums(shared_rows(groups_.parallel(), head), 1);
  passes_->for_each_normed(ctx_, [&](const Tensor& x) {
    const int64_t rows = x.dim(0);
    sums.inputs(ctx_, x, {&rows, 1});
  });
  Statistics statistics;
  statistics[head.name] = sums.reduce(ctx_, groups_.holders(-1));
  return statistics;
}

// Scales of all places are found in the block as it was: those of a place change no other's inputs but by
// their own factors.
void ModelQuantizer::scale_inputs(int64_t block, std::span<const CalibrationStep> steps) {
  const int place = static_cast<int>(block) + 1;
  const Statistics statistics = measure(place, steps);
  const std::set<std::string> fixed = names_of_codes(steps);
  const auto is_fixed = [&](const std::string& name) { return fixed.contains(name); };
  const auto is_rounded = [&](const std::string& name) { return rounding_of(name).has_value(); };
  std::set<std::string> changed;
  for (const FoldPlace& fold_place : fold_places(spec_, block)) {
    if (std::ranges::none_of(fold_place.readers, is_rounded)) continue;
    if (std::ranges::any_of(fold_place.readers, is_fixed)) continue;
    if (std::ranges::any_of(fold_place.divided, is_fixed)) continue;
    InputScales found = scales_of(fold_place, steps, statistics);
    const int root =
        groups_.leader(pipeline_rank_of(place), fold_place.expert, model_.config().moe.num_experts);
    std::vector<int64_t> size{std::ssize(found.scales)};
    Communicator& world = groups_.world();
    world.broadcast(ctx_.host_stream(), Tensor::borrow(size.data(), {1}, DType::i64), root);
    if (size[0] == 0) continue;
    found.scales.resize(static_cast<size_t>(size[0]));
    world.broadcast(ctx_.host_stream(), Tensor::borrow(found.scales.data(), {size[0]}, DType::f32), root);
    std::vector<double> numbers{found.strength, found.error, found.error_before};
    world.broadcast(ctx_.host_stream(), Tensor::borrow(numbers.data(), {3}, DType::f64), root);
    if (std::ranges::all_of(found.scales, [](float s) { return s == 1; })) continue;
    fold(fold_place, found.scales, weights_);
    for (const auto* names : {&fold_place.readers, &fold_place.routers, &fold_place.divided})
      changed.insert(names->begin(), names->end());
    if (world.rank() != 0) continue;
    const bool awq = options_.plan.scaling == InputScaling::awq;
    MatrixOutcome& outcome = outcomes_.emplace_back();
    outcome.name = fold_place.name;
    outcome.what =
        fmt::format("input scales, {} with exponent {:.2f}", awq ? "awq" : "smoothquant", numbers[0]);
    outcome.report.error = numbers[2] > 0 ? numbers[1] / numbers[2] : 0;
  }
  std::set<const ParameterBlock*> refreshed;
  for (const std::string& name : changed) {
    if (const ParameterBlock* held = held_.find(name); held != nullptr && refreshed.insert(held).second)
      held_.refresh(name);
  }
}

// Matrices that are codes in the source already, and stay so: nothing can be folded into these.
std::set<std::string> ModelQuantizer::names_of_codes(std::span<const CalibrationStep> steps) const {
  std::set<std::string> names;
  for (const CalibrationStep& step : steps) {
    for (const InputGroup& group : step) {
      for (const Parameter& p : group.matrices) {
        if (!is_changed(p.name) && weights_.source().coded_spec(p.name, p)) names.insert(p.name);
      }
    }
  }
  return names;
}

// On the first of the ranks that hold the readers; empty on others, and where nothing was seen.
InputScales ModelQuantizer::scales_of(const FoldPlace& place, std::span<const CalibrationStep> steps,
                                      const Statistics& statistics) {
  if (statistics.empty()) return {};
  const InputStatistics of_readers = statistics_of_readers(place, steps, statistics);
  if (groups_.holders(place.expert).rank() != 0 || of_readers.is_empty()) return {};
  std::vector<std::vector<float>> values;
  std::vector<ScaledMatrix> matrices;
  for (const CalibrationStep& step : steps) {
    for (const InputGroup& group : step) {
      for (const Parameter& p : group.matrices) {
        const auto rounding = rounding_of(p.name);
        if (!rounding || std::ranges::count(place.readers, p.name) == 0) continue;
        values.push_back(weights_.whole(p));
        matrices.push_back({{}, p.global_shape[0], *rounding});
      }
    }
  }
  for (size_t i = 0; i < values.size(); ++i) matrices[i].w = values[i];
  InputScales found = input_scales(ctx_, options_.plan.scaling, matrices,
                                   shared_magnitudes(place, of_readers), options_.plan.strength);
  found.scales = shared_scales(place, std::move(found.scales));
  return found;
}

// Experts have seen rows of their own: together all, each as often as it was chosen.
InputStatistics ModelQuantizer::statistics_of_readers(const FoldPlace& place,
                                                      std::span<const CalibrationStep> steps,
                                                      const Statistics& statistics) {
  const CalibrationStep& step = steps[place.step];
  const InputGroup* group = nullptr;
  for (const InputGroup& g : step) {
    const bool reads = std::ranges::any_of(
        g.matrices, [&](const Parameter& p) { return std::ranges::count(place.readers, p.name) > 0; });
    if (reads && statistics.contains(g.name)) group = &g;  // the last: of a shared expert, where there is one
  }
  if (group == nullptr) return {};
  const std::vector<InputStatistics>& all = statistics.at(group->name);
  if (!group->is_of_experts() || (place.expert < 0 && options_.plan.all_experts)) return all.front();
  const ParameterBlock* block = nullptr;
  for (const Parameter& p : group->matrices) {
    if (block == nullptr) block = held_.find(p.name);
  }
  if (place.expert >= 0) {
    const int64_t index = place.expert - block->members.front().expert;
    return index >= 0 && index < std::ssize(all) ? all[static_cast<size_t>(index)] : InputStatistics();
  }
  InputStatistics sum = all.front();
  for (size_t i = 1; i < all.size(); ++i) add(sum, all[i]);
  Communicator& stage = groups_.holders(-1);
  const auto reduce = [&](auto* data, int64_t count, DType dtype, ReduceOp op) {
    stage.all_reduce(ctx_.host_stream(), Tensor::borrow(data, {count}, dtype), op);
  };
  reduce(&sum.tokens, 1, DType::i64, ReduceOp::sum);
  reduce(sum.hessian.data(), std::ssize(sum.hessian), DType::f64, ReduceOp::sum);
  reduce(sum.magnitudes.data(), sum.inputs, DType::f64, ReduceOp::sum);
  reduce(sum.largest.data(), sum.inputs, DType::f32, ReduceOp::max);
  return sum;
}

}  // namespace trireme
