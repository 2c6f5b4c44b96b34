// Router: the linear layer by which tokens choose experts, and the terms that keep the experts' load even.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/config/model_config.h"
#include "models/layers/expert_queues.h"
#include "parallel/module/layer.h"
#include "parallel/module/router_balance.h"
#include "parallel/tensor_parallel/tensor_parallel.h"

namespace trireme {

/// What a router decided for the rows of a micro-batch.
struct Routing {
  Tensor slots;  ///< [rows, k] i32: the row of each choice in the order of the experts; -1: none
  Tensor gates;  ///< [rows, k] f32
  std::vector<int64_t> counts;  ///< rows for each expert
  int64_t num_rows = 0;         ///< of all experts
};

class Router {
 public:
  /// Parameter `name`.weight, which every tensor rank holds: all see all rows and decide the same. `layer` is
  /// the block's number in the model.
  Router(const ModelConfig& config, const std::string& name, int64_t layer, const TensorParallel& tensor,
         const ContextParallel& context);

  /// x: all rows of the micro-batch. In training the tokens are counted in balance().sums, but not those of
  /// a micro-batch without loss_sum (a forward pass that is only run again).
  Routing forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& x, Saved& saved) const;
  /// Adds to dx what goes through the gates' gradient and the balance terms; dx undefined: nothing is added
  /// to. All tensor ranks pass the same dgates.
  void backward_input(Context& ctx, const Tensor& dgates, const Tensor& dx, Saved& saved) const;
  void backward_weight(Context& ctx, const Tensor& x, Saved& saved) const;
  void collect(std::vector<ParameterBlock*>& blocks) { blocks.push_back(&weight_); }
  RouterBalance& balance() { return *balance_; }

 private:
  struct Terms;
  std::vector<int64_t> gather_counts(Context& ctx, const ContextShare& share, const Tensor& counts) const;
  Terms balance_terms(const MicroBatch& mb, int64_t seq_len, const std::vector<int64_t>& chosen) const;
  void count(Context& ctx, const MicroBatch& mb, const Terms& terms, const Tensor& probabilities,
             const Tensor& log_sum, const Tensor& counts, int64_t num_dropped) const;

  MoeConfig config_;
  ContextParallel context_;
  ParameterBlock weight_;
  std::unique_ptr<RouterBalance> balance_;
};

}  // namespace trireme
