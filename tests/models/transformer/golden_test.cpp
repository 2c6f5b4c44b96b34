// A small model of each family against Hugging Face's in PyTorch: tests/golden/make_model_golden.py and
// make_family_golden.py made the files.
#include <cmath>
#include <cstring>
#include <limits>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "models/families/family.h"
#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "parallel/tensor_parallel/gather_parameter.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/io/safetensors/safetensors.h"
#include "tests/support/folders.h"
#include "tests/support/parameter_blocks.h"
#include "tests/support/tensors.h"
#include "tests/support/test_device.h"

namespace trireme {
namespace {

class Golden {
 public:
  explicit Golden(const std::string& name)
      : file_(test::source_folder() + "/tests/golden/" + name + ".safetensors") {}

  template <class T = float>
  std::vector<T> read(const std::string& name) const {
    const auto& entry = file_.at(name);
    EXPECT_EQ(entry.dtype, DTypeOf<T>::value) << name;
    std::vector<T> values(entry.bytes.size() / sizeof(T));
    std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
    return values;
  }

 private:
  SafetensorsReader file_;
};

double largest(std::span<const float> values) {
  double most = 0;
  for (const float v : values) most = std::max(most, std::abs(static_cast<double>(v)));
  return most;
}

// |a - b| relative to the largest element of b.
double relative_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    if (!std::isfinite(a[i])) return std::numeric_limits<double>::infinity();
    difference = std::max(difference, std::abs(static_cast<double>(a[i]) - b[i]));
  }
  return difference / largest(b);
}

ModelConfig golden_config(ModelFamily family) {
  ModelConfig c;
  c.vocab_size = 61;
  c.num_layers = 2;
  c.hidden_size = 32;
  c.num_heads = c.num_kv_heads = 4;
  c.ffn_size = 128;
  c.max_positions = 16;
  apply_family(c, family);
  if (family == ModelFamily::gpt2) return c;
  c.num_kv_heads = 2;
  c.ffn_size = 48;
  if (family == ModelFamily::llama) return c;
  c.given_head_dim = 12;
  if (family == ModelFamily::qwen3) return c;
  c.window = 5;
  if (family == ModelFamily::mistral) {
    c.norm_eps = 1e-6;
    return c;
  }
  c.query_scalar = 10;
  c.attention_soft_cap = 2;
  c.logit_soft_cap = 3;
  return c;
}

class GoldenModel : public testing::TestWithParam<ModelFamily> {
 protected:
  GoldenModel()
      : golden_(fmt::format("{}_tiny", to_string(GetParam()))),
        self_(make_self_communicator()),
        one_(ctx_, *self_, {}, golden_config(GetParam()), options()),
        batch_(read_batch(ctx_)) {
    read_weights(one_);
  }

  static SessionOptions options() {
    SessionOptions options{.max_seq_len = 16};
    options.step.adamw = {0.9, 0.95, 1e-8, 0.1};
    options.step.clip = 1.0;
    return options;
  }

  // Each rank its part.
  void read_weights(TrainingSession& session) const {
    for (const ParameterView& view : session.storage().parameters()) {
      const auto values = golden_.read("weight/" + view.parameter->name);
      EXPECT_EQ(static_cast<int64_t>(values.size()), view.parameter->global_shape.numel());
      auto held = test::read<float>(view.master);
      test::for_each_element(*view.parameter, [&](size_t i, size_t global) { held[i] = values[global]; });
      test::write(view.master, held);
    }
  }

  MicroBatch read_batch(Context& ctx) const {
    const auto tokens = golden_.read<int32_t>("tokens"), targets = golden_.read<int32_t>("targets");
    return make_micro_batch(ctx, 2, 13, tokens, targets);
  }

  void expect_gradient(const std::string& name, std::vector<float> gradient, double weight) const {
    for (float& g : gradient) g /= static_cast<float>(weight);
    if (name.ends_with("key.bias")) {  // exactly zero but for rounding
      for (const float g : gradient) EXPECT_NEAR(g, 0, 1e-7) << name;
    } else {
      EXPECT_LT(relative_difference(gradient, golden_.read("grad/" + name)), 1e-5) << name;
    }
  }

  // But where the gradient is more than zero and less than `noise` of its tensor's largest.
  void expect_weights(const std::string& prefix, double bound, double noise = 0) {
    for (const ParameterView& view : one_.storage().parameters()) {
      const std::string& name = view.parameter->name;
      // AdamW divides a gradient by its own size, also where the exact gradient is zero: softmax ignores a
      // key's bias.
      if (name.ends_with("key.bias")) continue;
      std::vector<float> weights = test::to_vector(view.master);
      const std::vector<float> expected = golden_.read(prefix + name),
                               gradient = golden_.read("grad/" + name);
      const double least = noise * largest(gradient);
      size_t num_ignored = 0;
      for (size_t i = 0; i < weights.size(); ++i) {
        if (gradient[i] != 0 && std::abs(gradient[i]) < least) weights[i] = expected[i], ++num_ignored;
      }
      EXPECT_LE(num_ignored, weights.size() / 500) << name;
      EXPECT_LT(relative_difference(weights, expected), bound) << name;
    }
  }

  Context ctx_{test::test_device(), 1, test::test_settings()};
  Golden golden_;
  std::unique_ptr<Communicator> self_;
  TrainingSession one_;
  MicroBatch batch_;
};

TEST_P(GoldenModel, LogitsLossAndEveryGradientAgree) {
  EXPECT_LT(relative_difference(test::to_vector(one_.model().logits(ctx_, batch_)), golden_.read("logits")),
            1e-5);
  const PendingStep pending = one_.step().forward_backward({&batch_, 1});
  const BatchTotals totals = pending.totals();
  EXPECT_EQ(totals.weight, 25);
  EXPECT_NEAR(totals.mean_loss(), golden_.read("loss")[0], 1e-5 * golden_.read("loss")[0]);
  for (const ParameterView& view : one_.storage().parameters()) {
    expect_gradient(view.parameter->name, test::to_vector(view.gradient), totals.weight);
  }
}

TEST_P(GoldenModel, TensorParallelRanksAgreeToo) {
  // Four are more than the key-value heads. Rows of 2 x 13 tokens divide by two alone.
  for (const auto& [ranks, sequence] : {std::pair{2, false}, {2, true}, {4, false}}) {
    run_thread_ranks(ranks, [&, sequence = sequence](Communicator& world) {
      Context ctx(test::test_device(), 1, test::test_settings());
      TrainingSession session(ctx, world, {.tensor = world.size(), .sequence = sequence},
                              golden_config(GetParam()), options());
      read_weights(session);
      MicroBatch batch = read_batch(ctx);
      EXPECT_LT(
          relative_difference(test::to_vector(session.model().logits(ctx, batch)), golden_.read("logits")),
          1e-5);
      const PendingStep pending = session.step().forward_backward({&batch, 1});
      const BatchTotals totals = pending.totals();
      EXPECT_NEAR(totals.mean_loss(), golden_.read("loss")[0], 1e-5 * golden_.read("loss")[0]);
      for (const ParameterView& view : session.storage().parameters()) {
        const Tensor whole = gather_parameter(ctx, world, *view.parameter, view.gradient);
        if (whole) expect_gradient(view.parameter->name, test::to_vector(whole), totals.weight);
      }
      const double norm = golden_.read("grad_norms")[0];
      EXPECT_NEAR(pending.gradient_norm(), norm, 1e-5 * norm);
    });
  }
}

TEST_P(GoldenModel, TenStepsOfAdamWAgree) {
  constexpr double kNoise = 1e-5;
  const auto losses = golden_.read("losses"), norms = golden_.read("grad_norms");
  for (size_t i = 0; i < 10; ++i) {
    PendingStep pending = one_.step().forward_backward({&batch_, 1});
    EXPECT_NEAR(pending.totals().mean_loss(), losses[i], 1e-5 * losses[i]) << "step " << i;
    const double norm = pending.gradient_norm();
    EXPECT_NEAR(norm, norms[i], 1e-5 * norms[i]) << "step " << i;
    one_.step().apply(std::move(pending), 1e-3);
    // A first step moves every weight by lr * g / |g|: where g is rounding noise, which is a device's and a
    // compiler's own, so is the step.
    if (i == 0) expect_weights("after1/", 3e-5, kNoise);
  }
  expect_weights("after10/", 1e-4, kNoise);
}

INSTANTIATE_TEST_SUITE_P(Families, GoldenModel,
                         testing::Values(ModelFamily::gpt2, ModelFamily::llama, ModelFamily::qwen3,
                                         ModelFamily::gemma2, ModelFamily::mistral),
                         [](const auto& p) { return std::string(to_string(p.param)); });

}  // namespace
}  // namespace trireme
