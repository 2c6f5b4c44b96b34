#include "runtime/ops/compress/pruning.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "runtime/base/error.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops {

namespace {

/// Keys are read by digits, the highest first: so many passes, and so few counts, find the one in question
/// whichever rank has it.
constexpr int kDigitBits = 11, kDigits = 6;
constexpr int64_t kDigitValues = 1 << kDigitBits;
constexpr int64_t kRowsOfTask = 16;

void add_up_counts(const RowRanks& ranks, std::span<int64_t> counts) {
  if (ranks.add_up) ranks.add_up(counts);
}

/// Looks for the key that has `place` keys before it.
class KeySearch {
 public:
  KeySearch(Context& ctx, int64_t rows, int64_t width, const RowRanks& ranks,
            const std::function<void(int64_t row, uint64_t* keys)>& fill)
      : ctx_(ctx), rows_(rows), width_(width), ranks_(ranks), fill_(fill) {}

  FirstKeys run(double part) {
    int64_t number = rows_ * width_;
    add_up_counts(ranks_, {&number, 1});
    int64_t place = static_cast<int64_t>(part * static_cast<double>(number));
    FirstKeys found;
    found.ties.resize(static_cast<size_t>(rows_));
    if (place == number) {
      found.limit = std::numeric_limits<uint64_t>::max();
      return found;
    }
    for (int digit = kDigits - 1; digit >= 0; --digit) {
      const std::vector<int64_t> counts = counts_of(digit, found.limit);
      int64_t value = 0;
      while (place >= counts[static_cast<size_t>(value)]) place -= counts[static_cast<size_t>(value++)];
      found.limit |= static_cast<uint64_t>(value) << (digit * kDigitBits);
    }
    share_ties(place, found);
    return found;
  }

 private:
  template <class Take>
  void for_keys(const Take& take) const {
    cpu::run_in_team(ctx_.num_threads(), ceil_of(rows_, kRowsOfTask), [&](int64_t t, int64_t worker) {
      std::vector<uint64_t> keys(static_cast<size_t>(width_));
      for (int64_t row = t * kRowsOfTask; row < std::min(rows_, (t + 1) * kRowsOfTask); ++row) {
        fill_(row, keys.data());
        take(worker, row, keys);
      }
    });
  }

  // How many keys that begin with the digits of `prefix` have each value of the next one.
  std::vector<int64_t> counts_of(int digit, uint64_t prefix) const {
    const int shift = digit * kDigitBits, above = shift + kDigitBits;
    std::vector<std::vector<int64_t>> of_worker(static_cast<size_t>(ctx_.num_threads()));
    for_keys([&](int64_t worker, int64_t, const std::vector<uint64_t>& keys) {
      std::vector<int64_t>& counts = of_worker[static_cast<size_t>(worker)];
      counts.resize(kDigitValues);
      for (const uint64_t key : keys) {
        if (above < 64 && (key ^ prefix) >> above != 0) continue;
        ++counts[(key >> shift) & (kDigitValues - 1)];
      }
    });
    std::vector<int64_t> sum(kDigitValues);
    for (const auto& counts : of_worker) {
      for (size_t i = 0; i < counts.size(); ++i) sum[i] += counts[i];
    }
    add_up_counts(ranks_, sum);
    return sum;
  }

  // `count` of the keys that are the limit go: those of earlier ranks, and of earlier rows, first.
  void share_ties(int64_t count, FirstKeys& found) const {
    for_keys([&](int64_t, int64_t row, const std::vector<uint64_t>& keys) {
      found.ties[static_cast<size_t>(row)] = std::ranges::count(keys, found.limit);
    });
    std::vector<int64_t> of_ranks(static_cast<size_t>(ranks_.ranks));
    int64_t& own = of_ranks[static_cast<size_t>(ranks_.rank)];
    for (const int64_t ties : found.ties) own += ties;
    add_up_counts(ranks_, of_ranks);
    for (int r = 0; r < ranks_.rank; ++r) count -= of_ranks[static_cast<size_t>(r)];
    for (int64_t& ties : found.ties) {
      ties = std::clamp<int64_t>(count, 0, ties);
      count -= ties;
    }
  }

  Context& ctx_;
  int64_t rows_, width_;
  const RowRanks& ranks_;
  const std::function<void(int64_t row, uint64_t* keys)>& fill_;
};

uint64_t normed_key(const NormedWeights& weights, int64_t row, int64_t input) {
  const float w = weights.w[static_cast<size_t>(row * weights.inputs + input)];
  const double norm = weights.norms.empty() ? 1.0 : weights.norms[static_cast<size_t>(input)];
  return removal_key(w, std::abs(static_cast<double>(w)) * norm);
}

struct KeyAt {
  uint64_t key = 0;
  int64_t input = 0;

  friend auto operator<=>(const KeyAt&, const KeyAt&) = default;
};

}  // namespace

uint64_t removal_key(float w, double importance) {
  if (w == 0) return 0;
  if (std::isnan(importance)) importance = std::numeric_limits<double>::infinity();
  return 1 + std::bit_cast<uint64_t>(std::abs(importance));
}

FirstKeys first_keys(Context& ctx, int64_t rows, int64_t width, double part, const RowRanks& ranks,
                     const std::function<void(int64_t row, uint64_t* keys)>& fill) {
  TRIREME_CHECK(part >= 0 && part <= 1, "a part of {}", part);
  return KeySearch(ctx, rows, width, ranks, fill).run(part);
}

void prune_groups(Context& ctx, const NormedWeights& weights, int64_t zeros, int64_t of,
                  std::span<float> values) {
  const int64_t inputs = weights.inputs, size = of == 0 ? inputs : of, end = inputs / size * size;
  TRIREME_CHECK(zeros >= 0 && zeros <= size, "{} zeros of {}", zeros, size);
  cpu::run_in_team(ctx.num_threads(), ceil_of(weights.outputs, kRowsOfTask), [&](int64_t t, int64_t) {
    std::vector<KeyAt> keys(static_cast<size_t>(size));
    for (int64_t row = t * kRowsOfTask; row < std::min(weights.outputs, (t + 1) * kRowsOfTask); ++row) {
      float* to = values.data() + row * inputs;
      // Adding zero leaves no negative one.
      for (int64_t i = 0; i < inputs; ++i) to[i] = weights.w[static_cast<size_t>(row * inputs + i)] + 0.0f;
      for (int64_t begin = 0; begin < end; begin += size) {
        for (int64_t i = 0; i < size; ++i)
          keys[static_cast<size_t>(i)] = {normed_key(weights, row, begin + i), begin + i};
        std::nth_element(keys.begin(), keys.begin() + zeros, keys.end());
        for (int64_t i = 0; i < zeros; ++i) to[keys[static_cast<size_t>(i)].input] = 0;
      }
    }
  });
}

void prune_whole(Context& ctx, const NormedWeights& weights, double sparsity, const RowRanks& ranks,
                 std::span<float> values) {
  const int64_t inputs = weights.inputs;
  const FirstKeys first =
      first_keys(ctx, weights.outputs, inputs, sparsity, ranks, [&](int64_t row, uint64_t* keys) {
        for (int64_t i = 0; i < inputs; ++i) keys[i] = normed_key(weights, row, i);
      });
  cpu::run_in_team(ctx.num_threads(), weights.outputs, [&](int64_t row, int64_t) {
    int64_t ties = first.ties[static_cast<size_t>(row)];
    for (int64_t i = 0; i < inputs; ++i) {
      const auto at = static_cast<size_t>(row * inputs + i);
      values[at] = first.takes(normed_key(weights, row, i), ties) ? 0.0f : weights.w[at] + 0.0f;
    }
  });
}

}  // namespace trireme::ops
