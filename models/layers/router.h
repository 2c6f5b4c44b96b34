// Router: the MoE gate: scores tokens, chooses experts, and adds the load-balancing losses.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/config/moe_config.h"
#include "models/layers/expert_queues.h"
#include "parallel/expert_parallel/expert_rows.h"
#include "parallel/module/layer.h"
#include "parallel/module/router_balance.h"
#include "parallel/tensor_parallel/tensor_parallel.h"
#include "runtime/ops/routing.h"

namespace trireme {

/// What a router decided for the rows of a micro-batch that this rank passes to experts.
struct Routing {
  Tensor slots;   ///< [passed rows, k] i32: the row of each choice in the order of the experts; -1: none
  Tensor gates;   ///< [passed rows, k] f32
  Tensor chosen;  ///< [passed rows, k] i32: the expert of each choice
  std::vector<int64_t> counts;  ///< rows for each expert
  int64_t num_rows = 0;         ///< of all experts
};

/// Which router of the model it is. Where layers share weights, each has a router of its own place all the
/// same: what it counts, its balancing biases and its noise are its own.
struct RouterPlace {
  std::string name = "router";  ///< "layers.3.ffn.router"
  int64_t layer = 0;            ///< block of the model
};

/// How the tokens of such a mixture choose.
ops::RouteOptions route_options(const MoeConfig& config);

class Router {
 public:
  /// Every tensor-parallel rank holds the weight: all decide the same, for all rows. Each computes the
  /// gradients of its own rows.
  Router(const MoeConfig& config, std::shared_ptr<ParameterBlock> weight, RouterPlace place,
         const TensorParallel& tensor, const ContextParallel& context, const ExpertParallel& experts);

  /// x: the rows outside of `rows`. In training they are jittered where the config says so, and the tokens
  /// are counted in balance().sums, but not those of a micro-batch without loss_sum (a forward pass that is
  /// only run again).
  Routing forward(Context& ctx, const MicroBatch& micro_batch, const ExpertRows& rows, const Tensor& x,
                  Saved& saved) const;
  /// Adds to dx what goes through the gates' gradient and the balance terms. dgates, dx: of the rows passed;
  /// only dx of the rank's own ones is added to.
  void backward_input(Context& ctx, const ExpertRows& rows, const Tensor& dgates, const Tensor& dx,
                      Saved& saved) const;
  /// x: the rank's own rows.
  void backward_weight(Context& ctx, const Tensor& x, Saved& saved) const;
  RouterBalance& balance() const { return *balance_; }

 private:
  struct Terms;
  Tensor logits(Context& ctx, const ExpertRows& rows, const Tensor& x) const;
  std::vector<int64_t> gather_counts(Context& ctx, const ContextShare& share, const Tensor& counts) const;
  Terms balance_terms(const MicroBatch& mb, int64_t seq_len, const std::vector<int64_t>& chosen) const;
  void count(Context& ctx, const MicroBatch& mb, const Terms& terms, const Tensor& probabilities,
             const Tensor& log_sum, const Tensor& counts, int64_t num_dropped) const;

  MoeConfig config_;
  TensorParallel tensor_;
  ContextParallel context_;
  std::vector<int64_t> order_;  // of the experts' rows
  std::shared_ptr<ParameterBlock> weight_;
  std::unique_ptr<RouterBalance> balance_;
};

}  // namespace trireme
