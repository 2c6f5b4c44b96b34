// The mixture of experts against finite differences: experts, router, shared expert and balance terms.
#include <gtest/gtest.h>

#include "models/families/family.h"
#include "models/transformer/transformer.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/ops/elementwise.h"
#include "tests/support/gradient_check.h"
#include "tests/support/layers_of.h"
#include "tests/support/tensors.h"

namespace trireme {
namespace {

// The part of a block as a layer that ends in a loss: sum(y * r) and what the balance terms add.
class MoeLoss final : public Layer {
 public:
  MoeLoss(Communicator& self, const ModelConfig& c) : part_(test::LayersOf(c, self).mixture()) {}

  Tensor forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) override {
    part_.balance().clear();
    const Tensor y = part_.forward(ctx, mb, x, saved);
    direction_ = test::random_tensor(ctx, y.shape(), DType::f32, 77);
    const auto values = test::to_vector(y), factors = test::to_vector(direction_);
    for (size_t i = 0; i < values.size(); ++i)
      mb.loss_sum.data<double>()[0] += static_cast<double>(values[i]) * static_cast<double>(factors[i]);
    const RouterSums& sums = part_.balance().sums;
    mb.loss_sum.data<double>()[0] += sums.aux_loss + sums.z_loss;
    return {};
  }
  Tensor backward_input(Context& ctx, const Tensor&, Saved& saved) override {
    return part_.backward_input(ctx, direction_, saved);
  }
  void backward_weight(Context& ctx, Saved& saved) override { part_.backward_weight(ctx, saved); }
  void collect(std::vector<ParameterBlock*>& blocks) override { part_.collect(blocks); }
  RouterBalance& balance() { return part_.balance(); }

 private:
  MoeFeedForward part_;
  Tensor direction_;
};

ModelConfig small(ModelFamily family, const MoeConfig& moe) {
  ModelConfig c;
  c.vocab_size = 17;
  c.num_layers = 1;
  c.num_heads = c.num_kv_heads = 1;
  c.hidden_size = 10;
  c.ffn_size = 7;
  c.max_positions = 8;
  c.moe = moe;
  apply_family(c, family);
  return c;
}

void check(const ModelConfig& config, int64_t batch = 2, int64_t seq_len = 6) {
  Context ctx;
  const auto self = make_self_communicator();
  MoeLoss layer(*self, config);
  // Wide router weights: a finite difference is not to move a choice.
  const test::RandomParameters parameters(ctx, layer, 0.5f);
  const Tensor x = test::random_tensor(ctx, {batch * seq_len, config.hidden_size}, DType::f32, 5);
  std::vector<int32_t> tokens(static_cast<size_t>(batch * seq_len), 3), targets = tokens;
  if (targets.size() > 1) targets[1] = -1;
  test::check_gradients(ctx, layer, make_micro_batch(ctx, batch, seq_len, tokens, targets), x);
}

TEST(MoeGradients, MixtralsRouterWithBothLosses) {
  check(small(ModelFamily::llama, {.num_experts = 5, .aux_loss = 0.3, .z_loss = 0.1}));
}

TEST(MoeGradients, ExpertsWithTheExactGelu) {
  check(small(ModelFamily::neox, {.num_experts = 4, .shared_ffn_size = 5, .z_loss = 0.1}));
}

TEST(MoeGradients, SwitchDropsTokens) {
  check(small(ModelFamily::gpt2, {.num_experts = 4,
                                  .experts_per_token = 1,
                                  .normalize_gates = false,
                                  .capacity = CapacityMode::drop,
                                  .capacity_factor = 1.0,
                                  .aux_loss = 0.3}));
}

TEST(MoeGradients, SigmoidScoresGroupsAndASharedExpert) {
  check(small(ModelFamily::llama, {.num_experts = 6,
                                   .experts_per_token = 3,
                                   .expert_ffn_size = 5,
                                   .shared_ffn_size = 9,
                                   .score = RouterScore::sigmoid,
                                   .num_groups = 3,
                                   .groups_per_token = 2,
                                   .gate_scale = 2.5,
                                   .capacity = CapacityMode::pad,
                                   .aux_loss = 0.3,
                                   .z_loss = 0.2}));
}

TEST(MoeGradients, JitterOnWhatTheRouterSees) {
  check(small(ModelFamily::llama,
              {.num_experts = 5, .shared_ffn_size = 9, .jitter = 0.4, .aux_loss = 0.3, .z_loss = 0.1}));
}

TEST(MoeGradients, EveryExpertAndOneToken) {
  check(small(ModelFamily::llama,
              {.num_experts = 3, .experts_per_token = 3, .normalize_gates = false, .aux_loss = 0.0}),
        1, 1);
}

}  // namespace
}  // namespace trireme
