// Quantization-aware training against the model that is deployed: the same logits, bit for bit.
#include <ostream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/families/family.h"
#include "models/formats/trained_codes.h"
#include "parallel/checkpoint/weights/own_weights.h"
#include "tests/models/inference/loading.h"
#include "tests/support/expect_error.h"

namespace trireme::test {
namespace {

using ops::Activations;
using ops::PackedFormat;

struct Case {
  const char* name;
  ModelFamily family;
  QuantizationConfig quantization;
  int64_t experts = 0;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

ModelConfig model_of(const Case& c) {
  ModelConfig model = tiny_model(c.family);
  model.num_layers = 2;
  model.hidden_size = 64;
  model.ffn_size = 128;
  model.moe.num_experts = c.experts;
  model.quantization = c.quantization;
  return model;
}

/// Two steps on 14 tokens; false: a step that was not finite.
void train(Context& ctx, TrainingSession& session, int steps, double lr = 1e-2) {
  std::vector<int32_t> tokens, targets;
  for (int i = 0; i < 14; ++i) {
    tokens.push_back(i * 5 % 37);
    targets.push_back((i + 1) * 5 % 37);
  }
  for (int step = 0; step < steps; ++step) {
    MicroBatch batch = make_micro_batch(ctx, 2, 7, tokens, targets);
    session.step().apply(session.step().forward_backward({&batch, 1}), lr);
  }
}

class TrainedCodes : public testing::TestWithParam<Case> {
 protected:
  /// The logits of a training after some steps, which is saved.
  std::vector<float> trained(const ModelConfig& model, DType precision = DType::f32) {
    const auto self = make_self_communicator();
    Context ctx;
    TrainingSession session(ctx, *self, {}, model, {.max_seq_len = 8, .precision = precision, .seed = 3});
    train(ctx, session, 3);
    session.save(file());
    return logits_of(ctx, session.model());
  }
  std::vector<float> deployed(const WeightSource& source, ModelConfig model,
                              const InferenceOptions& options) {
    model.quantization = {};
    const auto self = make_self_communicator();
    Context ctx;
    InferenceModel read(ctx, *self, source, model, options);
    return logits_of(ctx, read.model());
  }
  std::string file() const { return folder_.path("model.safetensors"); }

 private:
  TemporaryFolder folder_;
};

// What --weights does with the same file.
TEST_P(TrainedCodes, OfAllMatricesAreThoseOfRoundingAtLoading) {
  ModelConfig model = model_of(GetParam());
  if (model.quantization.learned_scales || !model.quantization.skip.empty())
    GTEST_SKIP() << "loading measures the scales of all";
  model.quantization.embedding = model.quantization.head = true;
  const std::vector<float> logits = trained(model);
  InferenceOptions options{.weights = model.quantization.spec(),
                           .activations = model.quantization.activations};
  EXPECT_EQ(deployed(*open_own_weights(file()), model, options), logits);
  options.weights.reset();
  EXPECT_NE(deployed(*open_own_weights(file()), model, options), logits) << "nothing was quantized";
}

TEST_P(TrainedCodes, AreWhatTheTrainingComputesWith) {
  for (const DType precision : {DType::f32, DType::bf16}) {
    ModelConfig model = model_of(GetParam());
    const std::vector<float> logits = trained(model, precision);
    model.quantization.compute_type = precision;
    const auto source = trained_codes(open_own_weights(file()), model.quantization);
    EXPECT_EQ(
        deployed(*source, model, {.compute_type = precision, .activations = model.quantization.activations}),
        logits)
        << to_string(precision);
  }
}

constexpr ops::PackedSpec int4(int64_t group, bool symmetric = true) {
  return {PackedFormat::int4, group, symmetric};
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, TrainedCodes,
    testing::Values(
        Case{"int4_32", ModelFamily::llama, {.weights = int4(32)}},
        Case{"int4_channel_asymmetric", ModelFamily::gpt2, {.weights = int4(0, false)}},
        Case{"int8_64",
             ModelFamily::gpt2,
             {.weights = {PackedFormat::int8, 64}, .activations = Activations::int8}},
        Case{"int4_skip",
             ModelFamily::llama,
             {.weights = int4(64),
              .activations = Activations::int8,
              .skip = {"*.query.weight", "layers.0.ffn.*"}}},
        Case{"fp8", ModelFamily::gpt2, {.weights = {PackedFormat::fp8}}},
        Case{"experts", ModelFamily::llama, {.weights = int4(32)}, 3},
        Case{"learned", ModelFamily::llama, {.weights = int4(32), .learned_scales = true}},
        Case{"learned_int8",
             ModelFamily::gpt2,
             {.weights = {PackedFormat::int8, 0}, .activations = Activations::int8, .learned_scales = true}},
        Case{"learned_experts", ModelFamily::llama, {.weights = int4(64), .learned_scales = true}, 2}),
    [](const auto& p) { return p.param.name; });

}  // namespace
}  // namespace trireme::test
