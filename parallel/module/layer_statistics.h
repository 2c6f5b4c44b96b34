// LayerStatistics: counters of a layer in a step, reduced over all ranks.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace trireme {

/// Says how the numbers are to be read.
enum class StatisticsKind : uint8_t {
  router,  ///< RouterSums
};

/// Statistics of one part of a layer, of equal size on every rank that replicates it. Layers count in
/// training; the TrainingStep clears the counts, reduces them over ranks, and passes those of the global
/// batch to finish().
class LayerStatistics {
 public:
  LayerStatistics(StatisticsKind kind_of_part, std::string part, int64_t block)
      : kind(kind_of_part), name(std::move(part)), layer(block) {}
  virtual ~LayerStatistics() = default;

  const StatisticsKind kind;
  const std::string name;  ///< of the part: "layers.3.ffn.router"
  const int64_t layer;     ///< block of the model

  virtual void clear() = 0;
  /// Counts of this rank's micro-batches so far: always equally many numbers, which sum over ranks.
  virtual std::vector<double> counted() const = 0;
  /// Time this rank spent on what is counted; reported as mean and maximum over ranks.
  virtual double seconds() { return 0; }
  /// The step was made: counted() of the global batch.
  virtual void finish(std::span<const double> of_global_batch) = 0;
};

}  // namespace trireme
