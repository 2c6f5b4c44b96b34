#include "tests/support/layout_run.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "models/families/family.h"
#include "models/session/stepwise_run.h"
#include "runtime/base/philox.h"
#include "runtime/comm/record/recorder.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/ops/host_copy.h"
#include "tests/support/parameter_blocks.h"
#include "tests/support/tensors.h"
#include "tests/support/tier.h"

namespace trireme::test {

namespace {

// How many of a sample's targets count where samples differ: all, none, all but one, one, and so on, so that
// the first step has targets however small its batch is.
int64_t num_targets(const LayoutRun& run, int64_t index) {
  if (!run.unequal_targets) return run.seq_len;
  const int64_t i = index % (run.seq_len + 1);
  return i % 2 == 0 ? run.seq_len - i / 2 : i / 2;
}

// Sample `index` of the run: tokens that depend on nothing else.
void read_sample(const LayoutRun& run, int64_t index, int32_t* inputs, int32_t* targets) {
  const auto token = [&](int64_t t) {
    const auto bits = philox4x32(99, static_cast<uint64_t>(index), static_cast<uint64_t>(t));
    const auto drawn = static_cast<int32_t>(bits[0] % static_cast<uint32_t>(run.model.vocab_size));
    if (!run.end_of_text) return drawn;
    if (run.tokens_a_document == 0) return drawn == *run.end_of_text ? drawn - 1 : drawn;
    return bits[1] % run.tokens_a_document == 0 ? *run.end_of_text : drawn;
  };
  for (int64_t t = 0; t < run.seq_len; ++t) {
    inputs[t] = token(t);
    targets[t] = t < num_targets(run, index) ? token(t + 1) : -1;
  }
}

// From 0 to 1.5, and none in every fifth sample.
void read_weights(const LayoutRun& run, int64_t index, float* weights) {
  for (int64_t t = 0; t < run.seq_len; ++t) {
    const uint32_t drawn = philox4x32(98, static_cast<uint64_t>(index), static_cast<uint64_t>(t))[0];
    weights[t] = index % 5 == 3 || drawn % 4 == 0 ? 0.0f : static_cast<float>(drawn % 1000) * 1.5e-3f;
  }
}

struct Block {
  const Parameter* parameter;
  Tensor values;
};

// The whole tensor on every rank: each adds the elements that it is the first to hold to zeros. `mine` is
// null where another stage holds the parameter.
std::vector<float> gather_whole(Context& ctx, const ParallelContext& parallel, const Parameter& p,
                                const Block* mine) {
  std::vector<float> whole(static_cast<size_t>(p.global_shape.numel()), 0.0f);
  Communicator& tensor = p.expert >= 0 ? parallel.expert_tensor() : parallel.tensor();
  const int rank = tensor.rank();
  const std::vector<float> values = mine != nullptr ? to_vector(mine->values) : std::vector<float>();
  if (mine != nullptr && rank % mine->parameter->num_copies == 0 && !mine->parameter->is_tied_copy) {
    for_each_element(*mine->parameter, [&](size_t i, size_t global) { whole[global] = values[i]; });
  }
  const Tensor sum = Tensor::borrow(whole.data(), {p.global_shape.numel()}, DType::f32);
  tensor.all_reduce(ctx.host_stream(), sum);
  if (p.expert >= 0) parallel.experts().all_reduce(ctx.host_stream(), sum);
  parallel.pipeline().all_reduce(ctx.host_stream(), sum);
  int64_t num_different = 0;
  if (mine != nullptr) {
    for_each_element(*mine->parameter,
                     [&](size_t i, size_t global) { num_different += values[i] != whole[global]; });
  }
  EXPECT_EQ(num_different, 0) << p.name << ": elements of rank " << parallel.world().rank()
                              << " unlike its copies'";
  return whole;
}

// Every parameter of the model, put together from what the ranks hold.
std::map<std::string, std::vector<float>> gather_whole(Context& ctx, const ParallelContext& parallel,
                                                       const ModelConfig& config,
                                                       const std::map<std::string, Block>& mine) {
  std::map<std::string, std::vector<float>> all;
  for (const auto& layer : parameters_by_layer(config)) {
    for (const Parameter& p : layer) {
      const auto it = mine.find(p.name);
      all[p.name] = gather_whole(ctx, parallel, p, it == mine.end() ? nullptr : &it->second);
    }
  }
  return all;
}

// What this rank holds.
std::map<std::string, Block> blocks_of(TrainingSession& session, ParameterState state) {
  std::map<std::string, Block> mine;
  for (size_t chunk = 0; chunk < session.part().chunks.size(); ++chunk) {
    session.step().for_each_parameter(chunk, state, [&](const Parameter& p, const Tensor& values) {
      mine[p.name] = {&p, values};
    });
  }
  return mine;
}

std::map<std::string, std::vector<float>> whole(TrainingSession& session, ParameterState state) {
  return gather_whole(session.context(), session.parallel(), session.model().config(),
                      blocks_of(session, state));
}

void nudge_weights(TrainingSession& session, uint64_t seed) {
  const auto weights = whole(session, ParameterState::master);
  session.storage().set(session.context(), [&](const Parameter& p, const Tensor& t) {
    std::vector<float> values = weights.at(p.name);
    for (size_t i = 0; i < values.size(); ++i) {
      const float to[] = {-INFINITY, values[i], INFINITY};
      values[i] = std::nextafter(values[i], to[philox4x32(seed, i, hash_name(p.name))[0] % 3]);
    }
    ops::write(session.context(), values, t);
    return true;
  });
}

SessionOptions session_options(const LayoutRun& run) {
  return {.max_seq_len = run.seq_len,
          .precision = run.precision,
          .master = run.master,
          .rules = run.rules,
          .recomputation = run.recomputation,
          .float8 = run.float8,
          .seed = 7,
          .loss = run.loss,
          .exits = run.exits,
          .step = run.options};
}

void expect_tied_copies_equal(TrainingSession& session, const LayoutResult& result) {
  for (const ParameterView& view : session.storage().parameters()) {
    if (!view.parameter->is_tied_copy || !view.master) continue;
    const auto copy = to_vector(view.master);
    const auto& original = result.weights.at(view.parameter->name);
    for_each_element(*view.parameter, [&](size_t i, size_t global) {
      ASSERT_EQ(copy[i], original[global]) << view.parameter->name << ": the last stage's copy differs";
    });
  }
}

}  // namespace

int64_t LayoutRun::num_steps() const {
  constexpr int64_t kUnderSanitizer = 2;
  return is_short_under_sanitizer() ? std::min(steps, kUnderSanitizer) : steps;
}

LayoutResult run_layout(Communicator& world, const LayoutRun& run) {
  Context ctx(run.device, run.num_threads, run.settings);
  TrainingSession session(ctx, world, run.plan, run.model, session_options(run));
  if (run.nudge > 0) nudge_weights(session, run.nudge);
  StepwiseRun steps(
      session, {run.seq_len, run.micro_batch, run.global_batch, run.end_of_text},
      [&](int64_t sample, int32_t* inputs, int32_t* targets) { read_sample(run, sample, inputs, targets); },
      run.weighted ? [&](int64_t sample, float* weights) { read_weights(run, sample, weights); }
                   : WeightReader());
  for (RouterBalance* router : session.model().part().routers()) router->observer = run.routing;
  ctx.allocator().reset_peaks();
  LayoutResult result;
  for (int64_t s = 0; s < run.num_steps(); ++s) {
    auto batches = steps.read();
    const StepNumbers numbers = steps.run_passes(batches, run.loss_scale);
    const BatchTotals totals = numbers.totals();
    if (s == 0 && run.gradients) {
      result.gradients = whole(session, ParameterState::gradient);
      for (auto& [name, gradient] : result.gradients) {
        for (float& g : gradient) g /= static_cast<float>(totals.divisor() * totals.loss_scale);
      }
    }
    // A step may have no target at all, and then no mean.
    const auto mean = [&](double sum) { return totals.weight > 0 ? totals.mean_of(sum) : 0; };
    result.losses.push_back(mean(totals.loss_sum));
    result.aux_losses.push_back(mean(totals.aux_loss_sum));
    result.z_losses.push_back(mean(totals.z_loss_sum));
    result.added.push_back(mean(totals.added_sum));
    if (s == 0) result.router_loads = session.step().router_loads();
    result.norms.push_back(numbers.gradient_norm());
    steps.apply(run.lr);
  }
  for (int i = 0; i < kNumMemoryCategories; ++i) {
    result.peak_bytes[static_cast<size_t>(i)] =
        ctx.allocator().stats().by_category[static_cast<size_t>(i)].peak;
  }
  result.weights = whole(session, ParameterState::master);
  expect_tied_copies_equal(session, result);
  return result;
}

ModelConfig tiny_model(ModelFamily family) {
  ModelConfig c;
  apply_family(c, family);
  c.vocab_size = 37;
  c.num_layers = 3;
  c.hidden_size = 24;
  c.num_heads = 4;
  c.num_kv_heads = family == ModelFamily::gpt2 ? 4 : 2;
  c.ffn_size = 40;
  c.max_positions = 16;
  if (c.given_head_dim > 0) c.given_head_dim = 10;
  // Small ones, that they count.
  if (c.query_scalar > 0) c.query_scalar = 7;
  if (c.window > 0) c.window = 5;
  if (c.attention_soft_cap > 0) c.attention_soft_cap = 0.5;
  if (c.logit_soft_cap > 0) c.logit_soft_cap = 2;
  return c;
}

LayoutResult run_on_threads(int size, const LayoutRun& run) {
  std::vector<LayoutResult> results(static_cast<size_t>(size));
  run_thread_ranks(size, [&](Communicator& world) {
    // Whatever the layout, ranks of a stage make equal calls from equal places.
    Recorder recorder;
    world.set_recorder(&recorder);
    world.set_call_check(CallCheck::step);
    results[static_cast<size_t>(world.rank())] = run_layout(world, run);
    world.set_recorder(nullptr);
  });
  for (const LayoutResult& other : results) {
    EXPECT_EQ(other.losses, results[0].losses);
    EXPECT_EQ(other.aux_losses, results[0].aux_losses);
    EXPECT_EQ(other.z_losses, results[0].z_losses);
    EXPECT_EQ(other.norms, results[0].norms);
    EXPECT_EQ(other.gradients, results[0].gradients);
    EXPECT_EQ(other.weights, results[0].weights);
  }
  return results[0];
}

LayoutResult run_on_one_rank(LayoutRun run) {
  run.plan = {.bucket_mib = run.plan.bucket_mib,
              .overlap = run.plan.overlap,
              .gradient_dtype = run.plan.gradient_dtype};
  run.device = {};
  const auto self = make_self_communicator();
  return run_layout(*self, run);
}

}  // namespace trireme::test
