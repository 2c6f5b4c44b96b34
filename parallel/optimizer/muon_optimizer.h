// Muon: momentum updates orthogonalized by Newton-Schulz iterations.
#pragma once

#include <vector>

#include "parallel/optimizer/matrix_pieces.h"
#include "parallel/optimizer/optimizer.h"
#include "parallel/plan/parallel_context.h"
#include "runtime/ops/training/muon.h"

namespace trireme {

struct MuonConfig {
  double lr_ratio = 1;  ///< its learning rate over AdamW's
  double momentum = 0.95;
  bool nesterov = true;
  int ns_steps = 5;             ///< iterations of Newton-Schulz
  DType ns_dtype = DType::f32;  ///< of their products
  double weight_decay = 0.1;    ///< of what is decayed (ParameterSettings)
  uint64_t seed = 0;            ///< of the stochastic rounding of weights without masters
};

/// Jordan et al. 2024 (kellerjordan.github.io/posts/muon), with the weight decay and the scale of Liu et al.,
/// "Muon is scalable for LLM training" (arXiv 2502.16982): w = w - lr (0.2 sqrt(max(rows, columns)) O + wd
/// w), O = orthogonalized(momentum), so that an update has the root mean square of AdamW's and its rate.
/// Every parameter is a matrix for itself: query, key and value, gate and up, and each expert.
///
/// Ranks bring a matrix together at an owner, which makes it orthogonal and gives every rank its piece back
/// (MatrixPieces). Owners are all ranks that hold pieces or copies, by balanced_assignment() of the
/// arithmetic; in a round each has at most one matrix. So an update has one rank's bits in every layout in
/// which the gradients have.
class MuonOptimizer final : public Optimizer {
 public:
  /// Momenta start at zero, and exist for this rank's shards only. Arguments outlive the optimizer; every
  /// rank of the world makes one.
  MuonOptimizer(Context& ctx, const ParallelContext& parallel, ParameterStorage& storage,
                const MuonConfig& config);

  OptimizerKind kind() const override { return OptimizerKind::muon; }
  void begin(Context& ctx, double lr, int64_t number) override;
  void update(Context& ctx, const Tensor& gradient_scale, const BucketUpdated& updated) override;
  std::vector<StateBuffer> state() const override;

 private:
  struct Group {
    const ParameterGroup* group;
    Tensor momentum;  // f32, sharded
    Tensor update;    // ops::MuonOptions::update
  };
  /// Matrices that the same ranks hold, and who makes which of them orthogonal in which round: the matrix of
  /// rank r of team c is rounds[i][c][r]; negative: none.
  struct Matrices {
    MatrixPieces pieces;
    std::vector<std::vector<std::vector<int>>> rounds;
  };
  Matrices matrices_of(Context& ctx, const ParallelContext& parallel, ParameterStorage& storage,
                       bool of_experts) const;
  const Group& group_of(const ParameterView& view) const;
  ops::MuonOptions options(const ParameterView& view, const Tensor& gradient_scale) const;
  void run_round(Context& ctx, const MatrixPieces& pieces, const std::vector<std::vector<int>>& round,
                 const Tensor& gradient_scale) const;
  Tensor add_momentum(Context& ctx, const MatrixPieces& pieces, const std::vector<std::vector<int>>& round,
                      const Tensor& gradient_scale) const;
  void apply(Context& ctx, const ParameterView& view, const Tensor& gradient_scale,
             const Tensor& orthogonal) const;

  MuonConfig config_;
  std::vector<Group> groups_;
  std::vector<Matrices> matrices_;
};

}  // namespace trireme
