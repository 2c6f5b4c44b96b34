// Records the routing of a step, and replays it on one rank.
#pragma once

#include <cstdint>
#include <vector>

#include "launch/config/run_config.h"
#include "models/transformer/transformer.h"
#include "parallel/module/routing_observer.h"

namespace trireme::launch {

/// Choices of a step by block, sample, position and rank among the token's: 1 + the expert's number; 0: there
/// is no router. Equal on all ranks.
using ChoiceTable = std::vector<int32_t>;

/// What routers would have chosen otherwise than the table that they followed.
struct ChoiceDifferences {
  int64_t num_choices = 0, num_other = 0;
  /// The largest difference of what two experts that changed places are chosen by (logits, or scores and
  /// biases), as a share of the largest such number of the router; 0 where groups are chosen first.
  double widest = 0;
  int64_t layer = 0, sample = 0;  ///< where that was: a block, and a sample of the step
};

class ExpertChoices final : public RoutingObserver {
 public:
  /// Observes the routers of the model for its lifetime.
  ExpertChoices(const ParallelContext& parallel, Transformer& model, const RunConfig& config);
  ~ExpertChoices() override;
  ExpertChoices(const ExpertChoices&) = delete;
  ExpertChoices& operator=(const ExpertChoices&) = delete;

  /// On one rank: from now on tokens go where the table says.
  void follow(const ChoiceTable& choices) { followed_ = &choices; }
  /// Of the step that is done. All ranks call it.
  ChoiceTable take(Context& ctx);
  const ChoiceDifferences& differences() const { return differences_; }

  void begin(int64_t first_sample);  // of the step
  void after_choice(Context&, const MicroBatch&, const RouterBalance&, const Tensor& logits,
                    const Tensor& chosen, const Tensor& gates) override;

 private:
  struct Rows;
  void replace(Context& ctx, const RouterBalance& router, const std::vector<size_t>& places,
               const Tensor& logits, const Tensor& chosen, const Tensor& gates);

  const ParallelContext& parallel_;
  Transformer& model_;
  MoeConfig moe_;
  int64_t seq_len_, num_samples_;
  int64_t first_sample_ = 0;
  ChoiceTable own_;
  const ChoiceTable* followed_ = nullptr;
  ChoiceDifferences differences_;
};

}  // namespace trireme::launch
