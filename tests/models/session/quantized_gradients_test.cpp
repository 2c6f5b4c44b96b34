// Gradients of a training through quantization against their definition: those of a plain model with the
// values of the codes (straight-through), and of learned scales what LSQ's equations make of these.
#include <cmath>
#include <map>

#include <gtest/gtest.h>

#include "models/formats/trained_codes.h"
#include "models/session/training_session.h"
#include "parallel/checkpoint/weights/own_weights.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/ops/packed/fake_quantize.h"
#include "tests/support/layout_run.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

using ops::PackedFormat;
using Values = std::map<std::string, std::vector<float>>;

MicroBatch some_batch(Context& ctx) {
  std::vector<int32_t> tokens, targets;
  for (int i = 0; i < 14; ++i) {
    tokens.push_back(i * 5 % 37);
    targets.push_back((i * i + 3) % 37);
  }
  return make_micro_batch(ctx, 2, 7, tokens, targets);
}

Values gradients_of(Context& ctx, TrainingSession& session) {
  MicroBatch batch = some_batch(ctx);
  session.step().skip(session.step().forward_backward({&batch, 1}));
  Values all;
  for (const ParameterView& view : session.storage().parameters())
    all[view.parameter->name] = to_vector(view.gradient);
  return all;
}

Values weights_of(TrainingSession& session) {
  Values all;
  for (const ParameterView& view : session.storage().parameters())
    all[view.parameter->name] = to_vector(view.master);
  return all;
}

/// Gradients and weights of a training, and gradients of the plain model with the values of its codes.
struct Trained {
  Values gradients, of_values, weights;
};
Trained train(const ModelConfig& model, float scale_shift = 0) {
  const TemporaryFolder folder;
  const std::string file = folder.path("model.safetensors");
  const auto self = make_self_communicator();
  Context ctx;
  Trained result;
  {
    TrainingSession session(ctx, *self, {}, model, {.max_seq_len = 8, .seed = 3});
    // Smaller scales clip weights.
    session.storage().set(ctx, [&](const Parameter& p, const Tensor& t) {
      if (!p.is_scale) return false;
      for (float& log : std::span(t.data<float>(), static_cast<size_t>(t.numel()))) log += scale_shift;
      return true;
    });
    session.save(file);
    result.gradients = gradients_of(ctx, session);
    result.weights = weights_of(session);
  }
  ModelConfig plain = model;
  plain.quantization = {};
  const auto codes = trained_codes(open_own_weights(file), model.quantization);
  TrainingSession session(ctx, *self, {}, plain, {.max_seq_len = 8});
  session.storage().set(ctx, [&](const Parameter& p, const Tensor& t) {
    std::vector<float> values(static_cast<size_t>(t.numel()));
    codes->read(p.name, p, values);
    write(t, values);
    return true;
  });
  result.of_values = gradients_of(ctx, session);
  return result;
}

ModelConfig small_model(const QuantizationConfig& quantization) {
  ModelConfig model = tiny_model(ModelFamily::llama);
  model.num_layers = 2;
  model.hidden_size = 64;
  model.ffn_size = 96;
  model.quantization = quantization;
  return model;
}

void expect_close(const std::vector<float>& a, const std::vector<float>& b, const std::string& name) {
  ASSERT_EQ(a.size(), b.size()) << name;
  double most = 1e-6;
  for (const float x : b) most = std::max(most, std::abs(static_cast<double>(x)));
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 2e-5 * most) << name << " " << i;
}

TEST(QuantizedGradients, AreThoseOfTheValuesOfTheCodes) {
  for (const bool symmetric : {true, false}) {
    const Trained trained =
        train(small_model({.weights = {PackedFormat::int4, 32, symmetric}, .embedding = true, .head = true}));
    ASSERT_EQ(trained.gradients.size(), trained.of_values.size());
    for (const auto& [name, gradient] : trained.gradients)
      expect_close(gradient, trained.of_values.at(name), name);
  }
}

// The equations, element by element.
TEST(QuantizedGradients, OfLearnedScalesAreLsqs) {
  for (const PackedFormat format : {PackedFormat::int4, PackedFormat::int8}) {
    const ModelConfig model = small_model({.weights = {format, 32}, .learned_scales = true});
    const Trained trained = train(model, -0.5f);
    const float most = format == PackedFormat::int4 ? 7 : 127;
    int64_t num_scales = 0, num_clipped = 0;
    for (const auto& [name, of_values] : trained.of_values) {
      const auto scales = trained.weights.find(name + "_scale");
      if (scales == trained.weights.end()) {
        expect_close(trained.gradients.at(name), of_values, name);
        continue;
      }
      const std::vector<float>& w = trained.weights.at(name);
      std::vector<float> dw(w.size()), dlog(scales->second.size());
      for (size_t i = 0; i < w.size(); ++i) {
        const size_t group = i / 32;
        const float scale = ops::scale_of_log(scales->second[group]), v = w[i] / scale;
        const bool inside = std::abs(v) < most;
        dw[i] = inside ? of_values[i] : 0;
        const float by_scale = inside ? std::nearbyint(v) - v : v > 0 ? most : -most;
        dlog[group] += of_values[i] * by_scale * scale * std::log(2.0f) / std::sqrt(32 * most);
        num_clipped += inside ? 0 : 1;
      }
      num_scales += static_cast<int64_t>(dlog.size());
      expect_close(trained.gradients.at(name), dw, name);
      expect_close(trained.gradients.at(scales->first), dlog, scales->first);
    }
    EXPECT_EQ(num_scales, 2 * (64 * 2 * 2 + 32 * 2 * 2 + 96 * 2 * 2 + 64 * 3));
    EXPECT_GT(num_clipped, 100);
  }
}

}  // namespace
}  // namespace trireme::test
