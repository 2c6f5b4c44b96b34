// Sums over the tokens of a calibration that say how much units of a layer do, as one rank sees them.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "parallel/checkpoint/weights/weight_source.h"
#include "parallel/module/parameter.h"
#include "parallel/module/routing_observer.h"
#include "parallel/module/weight_view.h"
#include "runtime/comm/communicator.h"

namespace trireme {

/// Squared contributions of single inputs of matrices [outputs, inputs]: sum over rows of x_i^2, times the
/// squared norm of column i.
class NeuronSums final : public InputObserver {
 public:
  /// Adds to `to`, of each matrix of the block that the rank holds: the scores of all of its inputs, of which
  /// the rank has some.
  NeuronSums(const ParameterBlock& block, const WeightSource& source,
             const std::vector<std::vector<double>*>& to);
  void inputs(Context& ctx, const Tensor& x, std::span<const int64_t> counts) override;

 private:
  struct Matrix {
    std::vector<double> norms;  // of the rank's columns
    std::span<double> scores;
  };
  std::vector<Matrix> matrices_;
};

/// Squared contributions of runs of `width` inputs of one matrix: the sum over rows of |W_h x_h|^2, that is
/// of the products of W_h^T W_h and X_h^T X_h, element by element.
class HeadSums final : public InputObserver {
 public:
  HeadSums(Context& ctx, const ParameterBlock& block, const WeightSource& source, int64_t width,
           std::vector<double>& to);
  void inputs(Context& ctx, const Tensor& x, std::span<const int64_t> counts) override;

 private:
  int64_t width_;
  std::vector<std::vector<float>> weights_;  // of each head of the rank: W_h^T W_h
  std::span<double> scores_;
};

/// Of each expert: the sum over the tokens that chose it of gate times the norm of what it made.
class ExpertSums final : public RoutingObserver {
 public:
  /// `width`: the ranks that share the width of experts.
  ExpertSums(Communicator& width, std::vector<double>& to) : width_(width), scores_(to) {}
  void after_choice(Context&, const MicroBatch&, const RouterBalance&, const Tensor&, const Tensor&,
                    const Tensor&) override {}
  void after_experts(Context& ctx, const RouterBalance& router, const ExpertOutputs& made) override;

 private:
  Communicator& width_;
  std::span<double> scores_;
};

/// The sum over rows of the cosine between two tensors of one shape. Of a row of zeros it is 1 where the
/// other is one too, else 0.
double sum_of_cosines(Context& ctx, const Tensor& a, const Tensor& b);

}  // namespace trireme
