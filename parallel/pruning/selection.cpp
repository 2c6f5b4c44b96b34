#include "parallel/pruning/selection.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "parallel/pruning/prune_schedule.h"
#include "runtime/base/parallel_for.h"

namespace trireme {

namespace {

constexpr uint32_t kLargestKey = std::numeric_limits<uint32_t>::max();
constexpr size_t kNumBins = size_t{1} << 16;

int64_t count_of_pruned(std::span<const float> scores) { return std::ranges::count(scores, kPruned); }

int64_t rows_a_thread(const Shape& shape) {
  constexpr int64_t kGrain = 1 << 15;  // elements
  return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, shape[1]));
}

/// The bin with element number `rank` (from 0) of all, which becomes its number among those of the bin; the
/// last where there are fewer.
size_t find_bin(std::span<const int64_t> bins, int64_t& rank) {
  for (size_t i = 0; i + 1 < bins.size(); ++i) {
    if (rank < bins[i]) return i;
    rank -= bins[i];
  }
  return bins.size() - 1;
}

}  // namespace

bool chooses_after(const PruneConfig& config, int64_t updates) {
  if (!config.is_scheduled() || updates < config.start_step || updates > config.end_step) return false;
  return updates == config.end_step || (updates - config.start_step) % config.every == 0;
}

double schedule_factor(const PruneConfig& config, int64_t updates) {
  if (!config.is_scheduled() || updates < config.start_step) return 0;
  if (updates >= config.end_step) return 1;
  const int64_t since = (updates - config.start_step) / config.every * config.every;
  const double left =
      1 - static_cast<double>(since) / static_cast<double>(config.end_step - config.start_step);
  return 1 - left * left * left;
}

int64_t whole_part(double part, int64_t units) {
  const double exact = part * static_cast<double>(units);
  return std::min(units, static_cast<int64_t>(std::floor(exact * (1 + 4e-16))));
}

uint32_t key_of(float score) { return std::bit_cast<uint32_t>(score); }

Cut smallest(std::span<const float> scores, int64_t count) {
  if (count <= 0) return {};
  if (scores.size() > kNumBins) {  // where histograms are quicker
    return smallest_of_ranks([&](const ScoreVisitor& visit) { visit(scores); }, [](std::span<int64_t>) {},
                             [&](int64_t) { return count; });
  }
  std::vector<uint32_t> keys;
  keys.reserve(scores.size());
  for (const float score : scores) {
    if (is_candidate(score)) keys.push_back(key_of(score));
  }
  if (count >= std::ssize(keys)) return {kLargestKey, 0};
  std::nth_element(keys.begin(), keys.begin() + (count - 1), keys.end());
  const uint32_t key = keys[static_cast<size_t>(count) - 1];
  // What lies below is among the first, whose order is open.
  const auto below = std::count_if(keys.begin(), keys.begin() + count, [&](uint32_t k) { return k < key; });
  return {key, count - below};
}

void apply_cut(std::span<float> scores, const Cut& cut) {
  int64_t ties = cut.ties;
  for (float& score : scores) {
    if (!is_candidate(score)) continue;
    const uint32_t key = key_of(score);
    if (key < cut.key || (key == cut.key && ties-- > 0)) score = kPruned;
  }
}

void keep_candidates(const PruneConfig& config, const Shape& shape, std::span<float> scores,
                     int num_threads) {
  if (config.of == 0) return;
  const auto inputs = static_cast<size_t>(shape[1]), of = static_cast<size_t>(config.of);
  const auto drop = [](float& score) { score = is_pruned(score) ? kPrunedBeside : kStays; };
  parallel_for(num_threads, shape[0], rows_a_thread(shape), [&](int64_t begin, int64_t end) {
    std::vector<uint64_t> order(of);  // by magnitude, zeros first, then by place
    for (int64_t row = begin; row < end; ++row) {
      const auto of_row = scores.subspan(static_cast<size_t>(row) * inputs, inputs);
      for (size_t at = 0; at + of <= inputs; at += of) {
        const auto group = of_row.subspan(at, of);
        for (size_t i = 0; i < of; ++i)
          order[i] = (is_candidate(group[i]) ? uint64_t{key_of(group[i])} + 1 : 0) << 32 | i;
        std::ranges::sort(order);
        for (size_t i = static_cast<size_t>(config.zeros); i < of; ++i)
          drop(group[static_cast<size_t>(order[i] & 0xffffffff)]);
      }
      for (float& score : of_row.subspan(inputs / of * of)) drop(score);
    }
  });
}

int64_t num_units(const PruneConfig& config, const Shape& shape) {
  return config.of == 0 ? shape.numel() : shape[0] * (shape[1] / config.of) * config.zeros;
}

void choose_within(const PruneConfig& config, const Shape& shape, double part, std::span<float> scores,
                   int num_threads) {
  const bool by_row = config.budget == PruneBudget::output;
  const int64_t rows = by_row ? shape[0] : 1;
  const int64_t units = whole_part(part, num_units(config, shape) / std::max<int64_t>(rows, 1));
  parallel_for(num_threads, rows, by_row ? rows_a_thread(shape) : 1, [&](int64_t begin, int64_t end) {
    const size_t size = scores.size() / static_cast<size_t>(rows);
    for (int64_t r = begin; r < end; ++r) {
      const auto own = scores.subspan(static_cast<size_t>(r) * size, size);
      apply_cut(own, smallest(own, units - count_of_pruned(own)));
    }
  });
}

Cut smallest_of_ranks(const std::function<void(const ScoreVisitor&)>& for_each_counted,
                      const std::function<void(std::span<int64_t>)>& sum,
                      const std::function<int64_t(int64_t num_pruned)>& count_of) {
  std::vector<int64_t> bins(kNumBins + 1, 0);  // the last: zeros already
  for_each_counted([&](std::span<const float> scores) {
    for (const float score : scores) {
      if (is_candidate(score)) ++bins[key_of(score) >> 16];
      if (score == kPruned) ++bins[kNumBins];
    }
  });
  sum(bins);
  int64_t left = count_of(bins[kNumBins]);
  bins.pop_back();
  if (left <= 0) return {};
  if (left >= std::accumulate(bins.begin(), bins.end(), int64_t{0})) return {kLargestKey, 0};
  --left;
  const size_t high = find_bin(bins, left);
  bins.assign(kNumBins, 0);
  for_each_counted([&](std::span<const float> scores) {
    for (const float score : scores) {
      if (is_candidate(score) && key_of(score) >> 16 == high) ++bins[key_of(score) & 0xffff];
    }
  });
  sum(bins);
  const size_t low = find_bin(bins, left);
  return {static_cast<uint32_t>(high << 16 | low), left + 1};
}

}  // namespace trireme
