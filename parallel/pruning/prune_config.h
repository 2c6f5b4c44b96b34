// PruneConfig: how a model becomes sparse while it is trained, and stays so.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trireme {

/// What becomes zero as a whole: single weights; a neuron of a feed-forward network, or of each expert (its
/// rows of gate and up with their biases, its column of down); a query head; a key-value head with all of its
/// query heads.
enum class PruneUnit : uint8_t { weight, neuron, head, kv_group };
/// Among which units the smallest ones are chosen.
enum class PruneBudget : uint8_t { global, matrix, output };

struct PruneConfig {
  /// Part of the units that are zero at the end; 0: nothing is pruned.
  double sparsity = 0;
  int64_t zeros = 0, of = 0;  ///< of every `of` neighbouring inputs at least `zeros`, in place of sparsity
  PruneUnit unit = PruneUnit::weight;
  PruneBudget budget = PruneBudget::matrix;
  /// After start_step updates the first units go, after end_step all have, in between every `every` updates
  /// as many as sparsity * (1 - (1 - progress)^3) asks for (arXiv 1710.01878, equation 1).
  int64_t start_step = 0, end_step = 0, every = 100;
  /// Zeros of the weights that training begins with stay zero: retraining of a sparse model.
  bool keeps_zeros = false;
  std::vector<std::string> skip = {};  ///< patterns (*) of names of matrices that stay

  bool is_scheduled() const { return sparsity > 0 || of > 0; }
  explicit operator bool() const { return is_scheduled() || keeps_zeros; }

  friend bool operator==(const PruneConfig&, const PruneConfig&) = default;
};

}  // namespace trireme
