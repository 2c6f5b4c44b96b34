// Which of many numbers are the smallest: exact, and the same however they lie on ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "parallel/pruning/prune_config.h"
#include "runtime/tensor/shape.h"

namespace trireme {

/// In place of a magnitude |w|, which is not negative (NaN counts as the largest).
inline constexpr float kPruned = -1;        ///< zero already, and counted
inline constexpr float kPrunedBeside = -2;  ///< zero already, beyond what its group of inputs has to give
inline constexpr float kStays = -3;         ///< no candidate

inline bool is_candidate(float score) { return !(score < 0); }
inline bool is_pruned(float score) { return score == kPruned || score == kPrunedBeside; }

/// An order of magnitudes by whole numbers.
uint32_t key_of(float score);

/// The smallest of some numbers: those below `key`, and of the equal ones the first `ties`.
struct Cut {
  uint32_t key = 0;
  int64_t ties = 0;
};

/// Of the candidates among `scores` the `count` smallest; all, where these are fewer.
Cut smallest(std::span<const float> scores, int64_t count);

/// Makes what the cut takes kPruned.
void apply_cut(std::span<float> scores, const Cut& cut);

/// Patterns of `zeros` in each `of` neighbours of the rows of a matrix: of each whole group the `zeros`
/// smallest (those that are zero first, of equal ones the first) stay candidates, all others do not. Without
/// a pattern nothing changes.
void keep_candidates(const PruneConfig& config, const Shape& shape, std::span<float> scores, int num_threads);
/// How many candidates, zeros among them, there are then.
int64_t num_units(const PruneConfig& config, const Shape& shape);

/// Of a matrix with candidates alone: makes so many of them zero that floor(part * units) are, of the matrix
/// or of each row, as the budget says.
void choose_within(const PruneConfig& config, const Shape& shape, double part, std::span<float> scores,
                   int num_threads);

/// The smallest of numbers that several ranks have, found by two histograms of 16 bits. `for_each_counted`,
/// called once or twice, calls what it is given with all scores that this rank counts; `sum` adds up numbers
/// of all ranks; `count_of` says how many are to be taken, now that the number of kPruned is known. As
/// smallest(), but that the ties are those of all ranks together.
using ScoreVisitor = std::function<void(std::span<const float>)>;
Cut smallest_of_ranks(const std::function<void(const ScoreVisitor&)>& for_each_counted,
                      const std::function<void(std::span<int64_t>)>& sum,
                      const std::function<int64_t(int64_t num_pruned)>& count_of);

}  // namespace trireme
