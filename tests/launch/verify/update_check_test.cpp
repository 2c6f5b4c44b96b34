// Updates that are AdamW's pass, whatever the gradients; others are found.
#include "launch/verify/update_check.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/transformer/transformer.h"
#include "runtime/base/philox.h"

namespace trireme::launch {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

RunConfig tiny_run() {
  RunConfig config;
  config.model.vocab_size = 11;
  config.model.num_layers = 1;
  config.model.hidden_size = 8;
  config.model.num_heads = config.model.num_kv_heads = 2;
  config.model.ffn_size = 8;
  config.model.max_positions = 4;
  config.optimizer.clip = 0;
  return config;
}

/// Weights and gradients of every size, from nothing to large.
NamedTensors drawn(const RunConfig& config, uint64_t seed, bool is_gradient) {
  NamedTensors all;
  for (const auto& layer : parameters_by_layer(config.model)) {
    for (const Parameter& p : layer) {
      for (int64_t i = 0; i < p.global_shape.numel(); ++i) {
        const auto bits = philox4x32(seed, static_cast<uint64_t>(i), stream_key(seed, p.name));
        const float size = is_gradient ? std::pow(10.0f, -static_cast<float>(bits[1] % 20)) : 0.02f;
        all[p.name].push_back(size * (uniform_from_bits(bits[0]) - 0.5f));
      }
    }
  }
  return all;
}

/// The updates of a run, in f32, as the equations say.
class Updates {
 public:
  explicit Updates(const RunConfig& config) : o_(config.optimizer) {}
  NamedTensors next(const NamedTensors& weights, const NamedTensors& gradients, float factor) {
    const auto b1 = static_cast<float>(o_.beta1), b2 = static_cast<float>(o_.beta2);
    ++step_;
    NamedTensors after = weights;
    for (auto& [name, w] : after) {
      const bool decays = name.ends_with("weight");
      auto &m = m_[name], &v = v_[name];
      m.resize(w.size());
      v.resize(w.size());
      for (size_t i = 0; i < w.size(); ++i) {
        const float g = gradients.at(name)[i] * factor;
        m[i] = b1 * m[i] + (1 - b1) * g;
        v[i] = b2 * v[i] + (1 - b2) * g * g;
        const float mean = m[i] / (1 - std::pow(b1, static_cast<float>(step_))),
                    square = v[i] / (1 - std::pow(b2, static_cast<float>(step_)));
        const float decay = decays ? static_cast<float>(o_.weight_decay) * w[i] : 0;
        w[i] -= static_cast<float>(o_.lr) * (mean / (std::sqrt(square) + static_cast<float>(o_.eps)) + decay);
      }
    }
    return after;
  }

 private:
  OptimizerConfig o_;
  NamedTensors m_, v_;
  int step_ = 0;
};

class UpdateCheckTest : public testing::Test {
 protected:
  /// The fault of `num` updates, the last of which `change` changes.
  template <class Change>
  std::string fault_of(int num, const Change& change) {
    UpdateCheck check(config_);
    Updates updates(config_);
    NamedTensors weights = drawn(config_, 1, false);
    std::string fault;
    for (int i = 0; i < num; ++i) {
      const NamedTensors gradients = drawn(config_, 10 + static_cast<uint64_t>(i), true);
      NamedTensors after = updates.next(weights, gradients, 0.25f);
      if (i + 1 == num) change(after);
      fault = check.check(weights, gradients, 0.25, norm_of(gradients, 0.25), after);
      if (i + 1 < num) {
        EXPECT_THAT(fault, IsEmpty());
      }
      weights = after;
    }
    return fault;
  }

  RunConfig config_ = tiny_run();
};

TEST_F(UpdateCheckTest, AdamWPassesWithAnyEpsilonAndRate) {
  for (const double eps : {1e-3, 1e-8, 1e-16}) {
    for (const double lr : {1e-6, 6e-4, 0.5}) {
      config_.optimizer.eps = eps;
      config_.optimizer.lr = lr;
      EXPECT_THAT(fault_of(6, [](NamedTensors&) {}), IsEmpty()) << eps << " " << lr;
    }
  }
}

TEST_F(UpdateCheckTest, AnUpdateThatIsLeftOutIsFound) {
  const NamedTensors before = drawn(config_, 1, false);
  EXPECT_THAT(
      fault_of(
          1, [&](NamedTensors& w) { w.at("layers.0.ffn.up.weight") = before.at("layers.0.ffn.up.weight"); }),
      HasSubstr("the update of layers.0.ffn.up.weight"));
}

TEST_F(UpdateCheckTest, OneElementAndNumbersThatAreNoneAreFound) {
  EXPECT_THAT(fault_of(3, [](NamedTensors& w) { w.at("final_norm.gain")[3] += 1e-5f; }),
              HasSubstr("the update of final_norm.gain, element 3"));
  EXPECT_THAT(fault_of(2, [](NamedTensors& w) { w.at("final_norm.gain")[0] = NAN; }),
              HasSubstr("final_norm.gain"));
}

TEST_F(UpdateCheckTest, GradientsAreClippedByTheNorm) {
  config_.optimizer.clip = 1e-3;
  EXPECT_THAT(fault_of(1, [](NamedTensors&) {}), HasSubstr("the update of"));  // was not clipped
}

TEST_F(UpdateCheckTest, WeightsKeptInBf16AreRoundedUpOrDown) {
  config_.train.precision = DType::bf16;
  config_.train.master = false;
  const auto off_by = [&](float units) {
    return fault_of(1, [&](NamedTensors& w) {
      float& value = w.at("layers.0.ffn.up.weight")[5];
      value *= 1 + units * 0x1p-7f;
    });
  };
  EXPECT_THAT(off_by(0.9f), IsEmpty());
  EXPECT_THAT(off_by(1.5f), HasSubstr("element 5"));
}

}  // namespace
}  // namespace trireme::launch
