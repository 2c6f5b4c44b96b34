#include "tests/support/drawn_run.h"

#include <fmt/format.h>

#include "runtime/base/philox.h"
#include "tests/support/drawn_layout.h"

namespace trireme::test {

using namespace launch;

RunConfig draw_run(uint64_t seed) {
  const LayoutRun drawn = draw_layout(seed);
  uint64_t next = 0;
  const auto below = [&](uint32_t n) { return philox4x32(seed, next++, 0xd4a3)[0] % n; };
  RunConfig config;
  config.model = drawn.model;
  config.parallel = drawn.plan;
  TrainConfig& t = config.train;
  constexpr DType kPrecisions[] = {DType::f32, DType::f32, DType::bf16, DType::f16};
  t.precision = kPrecisions[below(4)];
  if (t.precision == DType::bf16) t.master = below(3) != 0;
  if (below(4) == 0) config.parallel.gradient_dtype = DType::bf16;
  t.recomputation = drawn.recomputation;
  t.seq_len = drawn.seq_len;
  t.micro_batch = drawn.micro_batch;
  t.global_batch = drawn.global_batch;
  t.steps = 2 + below(4);
  t.seed = seed;
  config.model.max_positions = t.seq_len;
  constexpr double kRates[] = {6e-4, 1e-3, 3e-3, 3e-2};
  config.optimizer.lr = kRates[below(4)];
  if (below(2) == 0) config.optimizer.eps = 1e-8;
  MoeConfig& moe = config.model.moe;
  if (moe.num_experts > 0) {
    config.model.init_std = below(2) == 0 ? 0.02 : 0.2;
    if (below(3) == 0) moe.bias_rate = 1e-3;
    if (below(3) == 0) moe.score = RouterScore::sigmoid;
    if (below(3) == 0) moe.aux_scope = BalanceScope::batch;
    if (below(4) == 0) moe.jitter = 0.1;
    if (below(4) == 0) {
      moe.num_groups = 4;
      moe.groups_per_token = 2;
    }
  }
  if (below(3) == 0) config.data.documents = DocumentsKind::separate;
  if (below(4) == 0) config.loss.z_loss = 0.01;
  if (below(4) == 0) config.loss.label_smoothing = 0.1;
  if (below(3) == 0) config.loss.chunk_tokens = 1 + below(16);
  if (below(3) == 0 && config.model.num_layers > 1) {
    config.model.exits = {1 + below(static_cast<uint32_t>(config.model.num_layers) - 1)};
    config.exit.scale = 2;
    if (below(2) == 0) config.exit.dropout = 0.5;
  }
  config.run.threads = 1;
  return config;
}

std::string text_of(const RunConfig& c) {
  LayoutRun run;
  run.model = c.model;
  run.plan = c.parallel;
  run.precision = c.train.precision;
  run.recomputation = c.train.recomputation;
  run.exits = c.exit;
  run.micro_batch = c.train.micro_batch;
  run.global_batch = c.train.global_batch;
  return fmt::format(
      "{}{}, lr {}, {} steps, documents {}, z-loss {}, smoothing {}, chunks of {}, gradients travel in {}: "
      "{}",
      to_string(c.train.precision), c.train.master ? "" : " alone", c.optimizer.lr, c.train.steps,
      to_string(c.data.documents), c.loss.z_loss, c.loss.label_smoothing, c.loss.chunk_tokens,
      to_string(c.parallel.gradient_dtype), text_of(run));
}

}  // namespace trireme::test
