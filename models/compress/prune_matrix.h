// One matrix made sparse: by magnitude, Wanda (arXiv 2306.11695) or SparseGPT (arXiv 2301.00774).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/compress/input_statistics.h"
#include "models/compress/quantize_matrix.h"
#include "runtime/device/context.h"
#include "runtime/ops/compress/pruning.h"

namespace trireme {

enum class PruneMethod : uint8_t { magnitude, wanda, sparsegpt };
/// Among which weights the least important ones are chosen.
enum class PruneScope : uint8_t {
  automatic,  ///< magnitude: matrix, wanda: output; the only one of SparseGPT and of patterns
  output,     ///< each output's inputs
  matrix,
};

struct PruneOptions {
  PruneMethod method = PruneMethod::wanda;
  double sparsity = 0.5;  ///< part of the weights that become zero: floor(part * number) of each scope
  /// Of every `of` neighbouring inputs at least `zeros` become zero (2:4: zeros 2, of 4), in place of
  /// sparsity; of 0: no such pattern. The last inputs of a row that make no whole group stay. of <= 128.
  int64_t zeros = 0, of = 0;
  PruneScope scope = PruneScope::automatic;
  double damping = 0.01;  ///< SparseGPT: of the mean of the Hessian's diagonal, added to it
  /// SparseGPT: columns whose mask is chosen at once; with patterns those that are updated at once, rounded
  /// up to whole groups.
  int64_t block = 128;
};

struct PrunedMatrix {
  std::vector<float> values;  ///< [outputs, inputs], zeros exactly 0
  RoundingReport report;
};

/// w [outputs, inputs]; statistics of its inputs, perhaps empty. Importance: |w|; |w| * ||x||_2, the root of
/// the Hessian's diagonal; w^2 / U_ii^2 of the upper Cholesky factor of the inverse Hessian, in each block of
/// columns among those of all rows, as the weights stand when the block is reached (the published code; it
/// takes one more than the floor). Of equal ones those of the first rows go, within a row the first inputs.
/// Weights that are zero already are the least important, and stay zero in every method. Never fails on a
/// Hessian: dead inputs get weights of zero and a one on the diagonal (SparseGPT), damping grows as in
/// quantize_matrix(), and where nothing of the inputs is known, or the Hessian never factors, weights go by
/// magnitude, in Wanda's scope or else the whole matrix, said in the note.
///
/// `ranks`: those that share out the rows of one matrix, of which `w` has this rank's, perhaps none; equal
/// statistics on all of them give the values of one rank bit for bit. The report is of these rows. Bits do
/// not depend on threads. UserError (bad_input) for a weight that is not finite, (usage) for options out of
/// their range or without effect.
PrunedMatrix prune_matrix(Context& ctx, std::span<const float> w, int64_t outputs, int64_t inputs,
                          const InputStatistics& statistics, const PruneOptions& options,
                          const ops::RowRanks& ranks = {});

/// What is wrong with the options; empty: nothing. For those who read them.
std::string trouble_with(const PruneOptions& options);
/// "50% zero, wanda", "2:4 zero, sparsegpt".
std::string describe_pruning(const PruneOptions& options);

}  // namespace trireme
