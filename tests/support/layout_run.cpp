#include "tests/support/layout_run.h"

#include <cmath>

#include <gtest/gtest.h>

#include "models/transformer/transformer.h"
#include "runtime/base/philox.h"
#include "runtime/comm/self/self_communicator.h"
#include "tests/support/tensors.h"

namespace trireme::test {

namespace {

// Sample `index` of the run: tokens that depend on nothing else.
void read_sample(const LayoutRun& run, int64_t index, int32_t* inputs, int32_t* targets) {
  const auto token = [&](int64_t t) {
    const auto bits = philox4x32(99, static_cast<uint64_t>(index), static_cast<uint64_t>(t));
    return static_cast<int32_t>(bits[0] % static_cast<uint32_t>(run.model.vocab_size));
  };
  for (int64_t t = 0; t < run.seq_len; ++t) {
    inputs[t] = token(t);
    const bool counts = !run.unequal_targets || t < index % (run.seq_len + 1);
    targets[t] = counts ? token(t + 1) : -1;
  }
}

std::vector<MicroBatch> read_step(Context& ctx, const LayoutRun& run, int64_t step, int rank, int size) {
  const int64_t num = run.global_batch / (run.micro_batch * size);
  std::vector<MicroBatch> out;
  std::vector<int32_t> inputs(static_cast<size_t>(run.micro_batch * run.seq_len)), targets(inputs.size());
  for (int64_t m = 0; m < num; ++m) {
    for (int64_t b = 0; b < run.micro_batch; ++b) {
      const int64_t index = step * run.global_batch + (m * size + rank) * run.micro_batch + b;
      read_sample(run, index, &inputs[static_cast<size_t>(b * run.seq_len)],
                  &targets[static_cast<size_t>(b * run.seq_len)]);
    }
    out.push_back(make_micro_batch(ctx, run.micro_batch, run.seq_len, inputs, targets));
  }
  return out;
}

}  // namespace

LayoutResult run_layout(Communicator& world, const LayoutRun& run) {
  const ParallelContext parallel(world, {.data = world.size(), .zero_stage = run.options.zero_stage});
  Context ctx({}, run.num_threads);
  Transformer model(ctx, run.model, run.seq_len, run.precision, run.options.division(parallel));
  model.storage().initialize(ctx, 7);
  TrainingStep step(ctx, parallel, model.stage(), model.storage(), run.options);
  LayoutResult result;
  for (int64_t s = 0; s < run.steps; ++s) {
    auto batches = read_step(ctx, run, s, parallel.data().rank(), parallel.data().size());
    const BatchTotals totals = step.accumulate(batches);
    if (s == 0 && run.options.zero_stage == 0) {
      for (const ParameterView& view : model.storage().parameters()) {
        auto& gradient = result.gradients[view.parameter->name] = to_vector(view.gradient);
        for (float& g : gradient) g /= static_cast<float>(totals.num_targets);
      }
    }
    result.losses.push_back(totals.mean_loss());
    result.norms.push_back(step.gradient_norm(totals));
    step.update(totals, result.norms.back(), run.lr);
  }
  step.for_each_weight(
      [&](const Parameter& p, const Tensor& weight) { result.weights[p.name] = to_vector(weight); });
  for (int i = 0; i < kNumMemoryCategories; ++i) {
    result.peak_bytes[static_cast<size_t>(i)] =
        ctx.allocator().stats().by_category[static_cast<size_t>(i)].peak;
  }
  return result;
}

ModelConfig tiny_model(ModelFamily family) {
  ModelConfig c;
  c.family = family;
  c.vocab_size = 37;
  c.num_layers = 3;
  c.hidden_size = 24;
  c.num_heads = 4;
  c.num_kv_heads = family == ModelFamily::llama ? 2 : 4;
  c.ffn_size = 40;
  c.max_positions = 16;
  if (family == ModelFamily::llama) {
    c.norm = NormKind::rms_norm;
    c.activation = ActivationKind::swiglu;
    c.positions = PositionKind::rotary;
    c.bias = c.tied_embeddings = false;
  }
  return c;
}

double largest_difference(const std::map<std::string, std::vector<float>>& a,
                          const std::map<std::string, std::vector<float>>& b, std::string& worst) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (const auto& [name, expected] : b) {
    const auto it = a.find(name);
    if (it == a.end() || it->second.size() != expected.size()) {
      ADD_FAILURE() << name << " is missing or has another size";
      continue;
    }
    double difference = 0, size = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      difference = std::max(difference, std::abs(static_cast<double>(it->second[i]) - expected[i]));
      size = std::max(size, std::abs(static_cast<double>(expected[i])));
    }
    // What is zero but for rounding (the bias of keys, which softmax ignores) has no relative difference.
    if (size > 1e-7 && difference / size > largest) {
      largest = difference / size;
      worst = name;
    }
  }
  return largest;
}

LayoutResult run_on_one_rank(const LayoutRun& run) {
  const auto self = make_self_communicator();
  return run_layout(*self, run);
}

void expect_follows(const LayoutResult& result, const LayoutResult& one) {
  std::string worst;
  EXPECT_LT(largest_difference(result.gradients, one.gradients, worst), 1e-5) << worst;
  for (size_t i = 0; i < one.losses.size(); ++i) {
    EXPECT_NEAR(result.losses[i], one.losses[i], 1e-5 * one.losses[i]) << "step " << i;
    EXPECT_NEAR(result.norms[i], one.norms[i], (i == 0 ? 1e-5 : 1e-4) * one.norms[i]) << "step " << i;
  }
  for (const auto& [name, weights] : one.weights) {
    if (name.ends_with("key.bias")) continue;  // AdamW makes full steps of its rounding noise
    std::string which;
    EXPECT_LT(largest_difference({{name, result.weights.at(name)}}, {{name, weights}}, which), 1e-4) << name;
  }
}

}  // namespace trireme::test
