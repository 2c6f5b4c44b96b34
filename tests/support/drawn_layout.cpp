#include "tests/support/drawn_layout.h"

#include <initializer_list>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/config/weight_sharing.h"
#include "models/families/family.h"
#include "runtime/base/philox.h"

namespace trireme::test {

namespace {

// A stream of choices.
class Draw {
 public:
  explicit Draw(uint64_t seed) : seed_(seed) {}
  int below(int n) { return static_cast<int>(philox4x32(seed_, next_++, 0)[0] % static_cast<uint32_t>(n)); }
  template <class T>
  T of(std::initializer_list<T> values) {
    return values.begin()[below(static_cast<int>(values.size()))];
  }

 private:
  uint64_t seed_, next_ = 0;
};

// Blocks with eight experts, over ranks of a mesh of their own.
void draw_experts(Draw& draw, LayoutRun& run) {
  ParallelPlan& plan = run.plan;
  run.model.init_std = 0.2;  // choices that rounding does not turn over
  run.lr = 1e-4;
  run.model.moe = {.num_experts = 8,
                   .expert_ffn_size = 12,
                   .shared_ffn_size = draw.of({0, 10}),
                   .every = draw.of({1, 2}),
                   .capacity = draw.of({CapacityMode::dropless, CapacityMode::drop, CapacityMode::pad}),
                   .aux_loss = 0.05,
                   .z_loss = 0.01};
  if (draw.below(2) == 0) plan.expert_tensor = draw.of({1, plan.tensor});
  plan.expert = draw.of({1, 2, 4, 8});
  const int shard = plan.shard_ranks() * plan.expert_row_shards();
  while (plan.expert_row_ranks() % plan.expert != 0 || (shard % plan.expert != 0 && plan.expert % shard != 0))
    plan.expert /= 2;
  if (plan.expert > 1) plan.expert_chunks = draw.of({1, 8 / plan.expert});
}

}  // namespace

LayoutRun draw_layout(uint64_t seed) {
  Draw draw(seed);
  LayoutRun run;
  run.model =
      tiny_model(draw.of({ModelFamily::gpt2, ModelFamily::llama, ModelFamily::qwen3, ModelFamily::gemma2}));
  run.model.num_layers = draw.of({3, 5, 6});
  run.model.vocab_size = draw.of({37, 41, 64});
  ParallelPlan& plan = run.plan;
  plan.data = 1;
  int* const degrees[] = {&plan.data, &plan.tensor, &plan.pipeline, &plan.context};
  for (int doublings = draw.of({1, 2, 3, 3}); doublings > 0; --doublings) {
    int& degree = *degrees[draw.below(4)];
    if (degree < 4) degree *= 2;
  }
  plan.sequence = plan.tensor > 1 && draw.below(2) == 0;
  if (plan.pipeline > 1) {
    plan.schedule = draw.of(
        {ScheduleKind::gpipe, ScheduleKind::one_f_one_b, ScheduleKind::zb_h1, ScheduleKind::interleaved});
    if (plan.schedule == ScheduleKind::interleaved && plan.pipeline * 2 <= run.model.num_layers + 2)
      plan.virtual_stages = 2;
    if (plan.schedule == ScheduleKind::interleaved && plan.virtual_stages == 1)
      plan.schedule = ScheduleKind::one_f_one_b;
  }
  if (plan.gradient_ranks() > 1) plan.zero_stage = draw.below(4);
  if (plan.zero_stage > 0 && plan.gradient_ranks() == 4 && draw.below(2) == 0) plan.shard = 2;
  run.recomputation.mode = draw.of({RecomputeMode::none, RecomputeMode::selective, RecomputeMode::full});
  if (run.recomputation.mode == RecomputeMode::full) run.recomputation.every = draw.of({1, 2});
  run.micro_batch = draw.of({1, 2});
  run.global_batch = run.micro_batch * plan.data * draw.of({1, 2, 3, 5});
  run.seq_len = 16;
  run.unequal_targets = draw.below(2) == 0;
  plan.bucket_mib = in_mib(draw.of({2048, 20000, 1 << 20}));
  plan.overlap = draw.below(4) != 0;
  if (plan.tensor > 1) plan.tensor_chunks = draw.of({1, 2, 3});
  if (draw.below(3) == 0) draw_experts(draw, run);
  return run;
}

void draw_sharing(uint64_t seed, LayoutRun& run) {
  const int64_t layers = run.model.num_layers,
                every = run.model.moe.num_experts > 0 ? run.model.moe.every : 1;
  const auto groups = static_cast<int>((layers - 1) / every);  // blocks alike have the same parts
  run.model.share = every * (1 + Draw(seed + 7777).below(groups));
}

void draw_sharing_pattern(uint64_t seed, LayoutRun& run) {
  ModelConfig& model = run.model;
  model.num_layers = 6;
  Draw draw(seed + 8888);
  std::vector<int64_t> from;
  do {
    from.clear();
    for (int64_t i = 0; i < model.num_layers; ++i) {
      std::vector<int64_t> alike = {i};  // its own weights, or those of an owner before it
      for (int64_t of = 0; of < i; ++of) {
        if (from[static_cast<size_t>(of)] == of && have_same_parts(model, i, of)) alike.push_back(of);
      }
      from.push_back(alike[static_cast<size_t>(draw.below(static_cast<int>(alike.size())))]);
    }
    set_sharing(model, from);
  } while (model.weights_from.empty());  // until it is neither none nor in turn
}

void draw_block_kinds(uint64_t seed, LayoutRun& run) {
  Draw draw(seed + 3333);
  ModelConfig& model = run.model;
  model.parallel_residual = draw.below(2) == 0;
  model.norm_placement = model.parallel_residual
                             ? NormPlacement::before
                             : draw.of({NormPlacement::after, NormPlacement::after, NormPlacement::both});
  model.qk_norm =
      draw.of({QkNormKind::none, QkNormKind::head, QkNormKind::projection, QkNormKind::projection});
  model.activation = draw.of({ActivationKind::gelu_erf, ActivationKind::swiglu, ActivationKind::gelu});
  model.bias = draw.of({BiasKind::none, BiasKind::qkv, BiasKind::attention, BiasKind::all});
  model.norm = draw.of({NormKind::layer_norm, NormKind::rms_norm});
  if (draw.below(2) == 0) model.num_kv_heads = draw.of({1, 2, 4});
}

void draw_exits(uint64_t seed, LayoutRun& run) {
  Draw draw(seed + 5555);
  const auto layers = static_cast<int>(run.model.num_layers);
  for (int exit = 1; exit < layers; ++exit) {
    if (draw.below(2) == 0) run.model.exits.push_back(exit);
  }
  if (run.model.exits.empty()) run.model.exits.push_back(1 + draw.below(layers - 1));
  run.exits = {.scale = draw.of({0.0, 0.5, 2.0, 2.0}),
               .dropout = draw.of({0.0, 0.5, 0.9}),
               .curriculum = draw.of({ExitCurriculum::rotating, ExitCurriculum::all})};
}

void draw_edge_blocks(uint64_t seed, LayoutRun& run) {
  Draw draw(seed + 8888);
  ModelConfig& model = run.model;
  model.convolution = {
      .kernel = draw.of({2, 3}), .every = draw.of({1, 2, 2, 3}), .first_block = draw.below(2)};
  if (draw.below(3) == 0) run.end_of_text = 2;
  if (seed % 2 == 0) return;
  if (draw.below(2) == 0) model.convolution.kernel = 0;
  model.moe = {};
  run.plan.expert = run.plan.expert_chunks = 1;
  run.plan.expert_tensor = 0;
  model.norm_placement = NormPlacement::before;
  model.bottleneck = {.width = model.hidden_size, .num_feed_forwards = draw.of({1, 2, 3})};
  model.hidden_size += 12;
}

std::string text_of(const LayoutRun& run) {
  const ParallelPlan& p = run.plan;
  return fmt::format(
      "{} {} layers sharing the weights of {}, vocabulary {}, {} experts; dp {} tp {}{} /{} pp {} {} "
      "x{} cp {} ep {} x {} in {}, ZeRO {} shard {}; recompute {}/{}; micro-batch {} of {}{}{}; buckets "
      "{}{}; exits {} scale {} dropout {} {}",
      to_string(run.model.family), run.model.num_layers,
      run.model.shares_weights() ? sharing_text(run.model) : fmt::to_string(run.model.num_layers),
      run.model.vocab_size, run.model.moe.num_experts, p.data, p.tensor, p.sequence ? " sequence" : "",
      p.tensor_chunks, p.pipeline, p.schedule.text(), p.virtual_stages, p.context, p.expert,
      p.expert_tensor_ranks(), p.expert_chunks, p.zero_stage, p.shard,
      static_cast<int>(run.recomputation.mode), run.recomputation.every, run.micro_batch, run.global_batch,
      run.unequal_targets ? " unequal" : "", run.weighted ? " weighted" : "", p.bucket_bytes(),
      p.overlap ? "" : " no overlap", fmt::join(run.model.exits, ","), run.exits.scale, run.exits.dropout,
      run.exits.curriculum == ExitCurriculum::all ? "all" : "rotating");
}

}  // namespace trireme::test
