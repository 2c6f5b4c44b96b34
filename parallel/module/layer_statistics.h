// LayerStatistics: what a layer counts in a step, and what it does with the counts of all ranks.
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

/// Of one part of a layer, alike on every rank that holds a copy of it. Layers count in training; who runs
/// the step clears the counts, sums them over ranks, and hands those of the whole global batch to finish().
class LayerStatistics {
 public:
  LayerStatistics(StatisticsKind kind_of_part, std::string part, int64_t block)
      : kind(kind_of_part), name(std::move(part)), layer(block) {}
  virtual ~LayerStatistics() = default;

  const StatisticsKind kind;
  const std::string name;  ///< of the part: "layers.3.ffn.router"
  const int64_t layer;     ///< block of the model

  virtual void clear() = 0;
  /// What this rank's micro-batches have counted so far: always as many numbers, which add up over ranks.
  virtual std::vector<double> counted() const = 0;
  /// Time that this rank spent on what is counted; the ranks' mean and the longest are told of.
  virtual double seconds() { return 0; }
  /// The step was made: counted() of the global batch.
  virtual void finish(std::span<const double> of_global_batch) = 0;
};

}  // namespace trireme
