// Sparsities of single matrices for a sparsity of all of them together.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/compress/prune_matrix.h"
#include "models/inference/inference_model.h"
#include "parallel/checkpoint/weights/weight_source.h"

namespace trireme {

/// A layer, whose matrices share a sparsity.
struct LayerOutliers {
  int64_t weights = 0;  ///< of all its matrices that are pruned
  double outliers = 0;  ///< of these the part whose |w| * ||x||_2 is above 5 times their mean
};

/// Outlier-weighed layerwise sparsity (OWL, arXiv 2310.05175 and its published code): layers with more
/// outliers keep more. Parts of outliers, mapped linearly to densities over a range of 2 * spread, all moved
/// alike so that the mean over all weights is 1 - sparsity, none beyond 0 or 1. One sparsity a layer.
std::vector<double> outlier_weighted_sparsities(std::span<const LayerOutliers> layers, double sparsity,
                                                double spread = 0.08);

struct PruneBudgetOptions {
  PruneMethod method = PruneMethod::wanda;
  double sparsity = 0.5;              ///< of all `matrices` together
  std::vector<std::string> matrices;  ///< that are pruned, by name
  /// Wanda and SparseGPT: as of QuantizeModelOptions.
  std::vector<std::vector<int32_t>> samples = {};
  std::optional<int32_t> end_of_text = {};
  double spread = 0.08;  ///< OWL's lambda
  double outlier = 5;    ///< OWL's M: how many means an outlier is above
};

/// The sparsity of each matrix, to be PruneOptions::sparsity with scope `automatic` and no pattern.
/// Magnitude: one threshold over all matrices, whose sparsities are such that just what is below it goes, and
/// of what equals it as much of the first matrices as makes the total exact. Wanda and SparseGPT: OWL over
/// blocks of the model as it is (matrices outside of blocks, as the head, each count as a layer). `model` is
/// loaded from `source`, and is afterwards as before. All ranks of any layout call it alike and get the same;
/// it runs all samples through each layer twice, but for magnitude. UserError (usage) for a sparsity out of
/// range, or no matrices.
std::map<std::string, double> prune_budgets(Context& ctx, InferenceModel& model, const WeightSource& source,
                                            const PruneBudgetOptions& options);

}  // namespace trireme
