#include "launch/verify/reference.h"

#include "launch/verify/update_check.h"
#include "runtime/base/half.h"
#include "runtime/base/philox.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/ops/host_copy.h"

namespace trireme::launch {

namespace {

RunConfig on_one_rank(RunConfig config) {
  config.parallel = {.data = 1};
  config.prune = {};  // masks are the layout's
  config.train.recomputation = {};
  return config;
}

RunConfig rounded_otherwise(RunConfig config) {
  config.train.precision = DType::f32;
  config.train.master = true;
  return config;
}

// Matrices are what a run of 16 bits rounds.
NamedTensors rounded(NamedTensors weights, const ModelConfig& model, DType dtype) {
  for (const auto& layer : parameters_by_layer(model)) {
    for (const Parameter& p : layer) {
      if (p.global_shape.rank() != 2) continue;
      for (float& w : weights.at(p.name)) {
        w = dtype == DType::bf16 ? static_cast<float>(bf16(w)) : static_cast<float>(fp16(w));
      }
    }
  }
  return weights;
}

// A weight that is zero in the layout and has no gradient there is pruned.
void mask_gradients(const NamedTensors& weights, const RecordedStep& of_layout, RecordedStep& step) {
  for (auto& [name, values] : step.gradients) {
    const auto &w = weights.at(name), &g = of_layout.gradients.at(name);
    for (size_t i = 0; i < values.size(); ++i) {
      if (w[i] == 0 && g[i] == 0) values[i] = 0;
    }
  }
  step.grad_norm = norm_of(step.gradients, step.mean);
}

}  // namespace

class Reference::OtherRounding final : public RunHooks, public StageObserver {
 public:
  explicit OtherRounding(bool is_active) : is_active_(is_active) {}
  void made(Context&, Transformer& model) override {
    if (!is_active_) return;
    for (Stage& stage : model.part().chunks) stage.observe(*this);
  }
  void after_forward(Context& ctx, const ObservedLayer&, const Tensor& y) override { round(ctx, y); }
  void after_backward_input(Context& ctx, const ObservedLayer&, const Tensor& dx) override { round(ctx, dx); }

 private:
  void round(Context& ctx, const Tensor& t) {
    constexpr uint64_t kKey = 0x0dd;
    constexpr float kTwoUnits = 0x1p-22f;
    if (!t) return;
    std::vector<float> values = ops::to_host<float>(ctx, t);
    ++num_rounded_;
    for (size_t i = 0; i < values.size(); ++i) {
      const auto bits = philox4x32(kKey, num_rounded_, i / 128)[i / 32 % 4];
      values[i] *= (bits >> i % 32 & 1) != 0 ? 1 + kTwoUnits : 1 - kTwoUnits;
    }
    ops::write(ctx, values, t);
  }

  bool is_active_;
  uint64_t num_rounded_ = 0;
};

Reference::Reference(const RunConfig& config, Device device)
    : prunes_(config.prune),
      config_(on_one_rank(config)),
      self_(make_self_communicator()),
      rounding_(std::make_unique<OtherRounding>(config.train.precision == DType::f32)),
      one_(*self_, config_, device),
      other_(*self_, rounded_otherwise(config_), device, rounding_.get()) {}

Reference::~Reference() = default;

ReferenceStep Reference::run(const NamedTensors& weights, const NamedTensors& biases,
                             const RecordedStep& of_layout) {
  const DType precision = config_.train.precision;
  ReferenceStep step;
  const auto passes = [&](RecordedRun& run, const NamedTensors& own_weights) {
    run.set_weights(own_weights);
    run.set_biases(biases);
    run.follow(of_layout.choices);
    RecordedStep recorded = run.run_passes(of_layout.loss_scale);
    if (prunes_) mask_gradients(weights, of_layout, recorded);
    run.update();  // routers follow their load
    return recorded;
  };
  step.one = passes(one_, weights);
  step.biases = one_.biases();
  step.other = passes(other_, precision == DType::f32 ? weights : rounded(weights, config_.model, precision));
  return step;
}

}  // namespace trireme::launch
