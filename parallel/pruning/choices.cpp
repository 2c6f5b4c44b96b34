// Which units of a Pruner go.
#include <algorithm>
#include <utility>

#include "parallel/pruning/places.h"
#include "parallel/pruning/prune_schedule.h"
#include "parallel/pruning/pruner.h"
#include "parallel/pruning/selection.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

namespace {

size_t unit_at(const UnitPart& part, int64_t row, int64_t column) {
  return static_cast<size_t>((part.dim == 0 ? row : column) / part.width);
}

}  // namespace

void Pruner::choose_of_matrices(Context& ctx, double part) const {
  for (const ParameterView& view : storage_.parameters()) {
    if (!is_prunable(view)) continue;
    std::vector<float> scores = scores_of(ctx, view);
    const Shape& shape = view.parameter->global_shape;
    keep_candidates(config_, shape, scores, ctx.num_threads());
    choose_within(config_, shape, part, scores, ctx.num_threads());
    write_mask(ctx, view, scores);
  }
}

void Pruner::choose_of_all(Context& ctx, double part) const {
  const auto candidates = [&](const ParameterView& view) {
    std::vector<float> scores = scores_of(ctx, view);
    keep_candidates(config_, view.parameter->global_shape, scores, ctx.num_threads());
    return scores;
  };
  const auto for_each_counted = [&](const ScoreVisitor& visit) {
    for (const ParameterView& view : storage_.parameters()) {
      if (!is_prunable(view)) continue;
      const std::vector<float> scores = candidates(view);  // all ranks that have parts of it
      if (counts(view)) visit(scores);
    }
  };
  int64_t units = 0;
  for (const PrunableMatrix& matrix : prunable_.matrices) units += num_units(config_, matrix.shape);
  const Cut cut = smallest_of_ranks(
      for_each_counted, [&](std::span<int64_t> numbers) { sum_over_world(ctx, numbers); },
      [&](int64_t num_pruned) { return whole_part(part, units) - num_pruned; });

  // Of equal ones those of earlier matrices go.
  std::vector<int64_t> ties(prunable_.matrices.size(), 0);
  for (const ParameterView& view : storage_.parameters()) {
    if (!is_prunable(view)) continue;
    const std::vector<float> scores = candidates(view);
    if (!counts(view)) continue;
    ties[matrix_of_.at(view.parameter->name)] = std::ranges::count_if(
        scores, [&](float score) { return is_candidate(score) && key_of(score) == cut.key; });
  }
  sum_over_world(ctx, ties);
  int64_t left = cut.ties;
  for (int64_t& of_matrix : ties) left -= std::exchange(of_matrix, std::min(of_matrix, left));
  for (const ParameterView& view : storage_.parameters()) {
    if (!is_prunable(view)) continue;
    std::vector<float> scores = candidates(view);
    apply_cut(scores, {cut.key, ties[matrix_of_.at(view.parameter->name)]});
    write_mask(ctx, view, scores);
  }
}

void Pruner::choose_units(Context& ctx, double part) const {
  const std::vector<double> importance = measure_units(ctx);
  std::vector<bool> goes(importance.size(), false);
  const auto choose_among = [&](size_t begin, size_t end) {
    std::vector<size_t> order;
    for (size_t u = begin; u < end; ++u) {
      if (importance[u] != kPruned) order.push_back(u);
    }
    std::ranges::stable_sort(order, [&](size_t a, size_t b) { return importance[a] < importance[b]; });
    const auto units = static_cast<int64_t>(end - begin);
    const int64_t more = whole_part(part, units) - (units - std::ssize(order));
    for (int64_t i = 0; i < std::min(more, std::ssize(order)); ++i)
      goes[order[static_cast<size_t>(i)]] = true;
  };
  if (config_.budget == PruneBudget::global) {
    choose_among(0, importance.size());
  } else {
    size_t begin = 0;
    for (const UnitSet& set : prunable_.sets) {
      choose_among(begin, begin + static_cast<size_t>(set.num_units));
      begin += static_cast<size_t>(set.num_units);
    }
  }
  mask_units(ctx, goes);
}

std::vector<double> Pruner::measure_units(Context& ctx) const {
  size_t num_units = 0;
  for (const UnitSet& set : prunable_.sets) num_units += static_cast<size_t>(set.num_units);
  // Sums of squares, then how many elements are not zero for good.
  std::vector<double> numbers(2 * num_units, 0);
  for (const ParameterView& view : storage_.parameters()) {
    const auto parts = parts_of_.find(view.parameter->name);
    if (parts == parts_of_.end() || find(*view.group) == nullptr) continue;
    const std::vector<float> scores = scores_of(ctx, view);
    if (!counts(view)) continue;
    const int64_t columns = width_of_whole(*view.parameter);
    for (const Part& of_parameter : parts->second) {
      for (size_t i = 0; i < scores.size(); ++i) {
        if (!is_candidate(scores[i])) continue;
        const auto element = static_cast<int64_t>(i);
        const size_t unit =
            of_parameter.first_unit + unit_at(*of_parameter.part, element / columns, element % columns);
        numbers[unit] += static_cast<double>(scores[i]) * scores[i];
        numbers[num_units + unit] += 1;
      }
    }
  }
  // Every unit is counted on one rank, zeros elsewhere: nothing is rounded.
  if (num_units > 0) {
    parallel_.world().all_reduce(ctx.host_stream(),
                                 Tensor::borrow(numbers.data(), {std::ssize(numbers)}, DType::f64));
  }
  for (size_t u = 0; u < num_units; ++u) {
    if (numbers[num_units + u] == 0) numbers[u] = kPruned;
  }
  numbers.resize(num_units);
  return numbers;
}

void Pruner::mask_units(Context& ctx, const std::vector<bool>& goes) const {
  for (const ParameterView& view : storage_.parameters()) {
    const auto parts = parts_of_.find(view.parameter->name);
    const LocalRange own = own_range(view, BufferExtent::sharded);
    if (parts == parts_of_.end() || find(*view.group) == nullptr || own.empty()) continue;
    const Tensor mask = own.in(find(*view.group)->mask);
    std::vector<uint8_t> values = ops::to_host<uint8_t>(ctx, mask);
    for (const Part& of_parameter : parts->second) {
      for_each_place(own, [&](size_t i, int64_t row, int64_t column) {
        if (goes[of_parameter.first_unit + unit_at(*of_parameter.part, row, column)]) values[i] = 1;
      });
    }
    ops::write(ctx, values, mask);
  }
}

}  // namespace trireme
