#include "tests/support/gradient_check.h"

#include <cmath>

#include <gtest/gtest.h>

#include "parallel/module/parameter_storage.h"
#include "runtime/base/philox.h"
#include "runtime/ops/elementwise.h"
#include "tests/support/tensors.h"

namespace trireme::test {

namespace {

double dot(const Tensor& a, const std::vector<float>& b) {
  double sum = 0;
  const float* values = a.data<float>();
  for (size_t i = 0; i < b.size(); ++i) sum += static_cast<double>(values[i]) * b[i];
  return sum;
}

double norm(const Tensor& a) { return std::sqrt(dot(a, to_vector(a))); }

// The layer as a scalar function of its parameters and input.
class Scalar {
 public:
  Scalar(Context& ctx, Layer& layer, MicroBatch mb, const Tensor& x)
      : ctx_(ctx), layer_(layer), mb_(mb), x_(x) {
    mb_.loss_sum = Tensor::borrow(&loss_, {1}, DType::f64);
    mb_.added_sum = Tensor::borrow(&added_, {1}, DType::f64);
  }

  double value() {
    Saved saved;
    const double value = forward(saved);
    if (out_ || value != 0) return value;
    MicroBatch not_trained = mb_;  // in training some layers know their loss in the backward pass alone
    not_trained.training = false;
    layer_.forward(ctx_, not_trained, x_, saved);
    return loss_ + added_;
  }

  // Runs backward for d(value); gives dx.
  Tensor backward() {
    Saved saved;
    forward(saved);
    const Tensor dy = out_ ? make_tensor(ctx_, out_.shape(), DType::f32, weights_) : Tensor();
    const Tensor dx = layer_.backward_input(ctx_, dy, saved);
    layer_.backward_weight(ctx_, saved);
    return dx;
  }

 private:
  double forward(Saved& saved) {
    loss_ = added_ = 0;
    out_ = layer_.forward(ctx_, mb_, x_, saved);
    if (!out_) return loss_ + added_;
    if (weights_.empty()) weights_ = to_vector(random_tensor(ctx_, out_.shape(), DType::f32, 77));
    return dot(out_, weights_);
  }

  Context& ctx_;
  Layer& layer_;
  MicroBatch mb_;
  Tensor x_, out_;
  double loss_ = 0, added_ = 0;
  std::vector<float> weights_;
};

void check_tensor(Context& ctx, Scalar& scalar, const Tensor& t, const Tensor& gradient,
                  const std::string& name) {
  constexpr double kStep = 2e-3;
  const std::vector<float> original = to_vector(t);
  const double size = norm(gradient);
  EXPECT_GT(size, 0) << name;
  for (uint64_t trial = 0; trial < 4; ++trial) {
    const std::vector<float> direction = to_vector(random_tensor(ctx, t.shape(), DType::f32, 1000 + trial));
    const auto value_at = [&](double h) {
      for (size_t i = 0; i < original.size(); ++i)
        t.data<float>()[i] = static_cast<float>(original[i] + h * direction[i]);
      return scalar.value();
    };
    const double numeric = (value_at(kStep) - value_at(-kStep)) / (2 * kStep);
    EXPECT_NEAR(numeric, dot(gradient, direction), 5e-3 * size + 1e-4) << name << ", direction " << trial;
  }
  std::copy(original.begin(), original.end(), t.data<float>());
}

}  // namespace

void check_gradients(Context& ctx, Layer& layer, const MicroBatch& mb, const Tensor& x) {
  std::vector<ParameterBlock*> blocks;
  layer.collect(blocks);
  for (const ParameterBlock* block : blocks) ops::fill(ctx, block->gradient, 0);
  Scalar scalar(ctx, layer, mb, x);
  const Tensor dx = scalar.backward();
  for (const ParameterBlock* block : blocks) {
    check_tensor(ctx, scalar, block->weight, block->gradient, block->members.front().name);
  }
  if (x) check_tensor(ctx, scalar, x, dx, "x");
}

struct RandomParameters::Impl {
  std::vector<ParameterBlock*> blocks;
  std::unique_ptr<ParameterStorage> storage;
};

RandomParameters::RandomParameters(Context& ctx, Layer& layer, float std) : impl_(std::make_unique<Impl>()) {
  layer.collect(impl_->blocks);
  impl_->storage = std::make_unique<ParameterStorage>(ctx, impl_->blocks, DType::f32);
  for (const ParameterView& view : impl_->storage->parameters()) {
    const std::string& name = view.parameter->name;
    const std::vector<float> noise =
        to_vector(random_tensor(ctx, view.master.shape(), DType::f32, hash_name(name), std));
    const float mean = name.ends_with(".gain") ? 1.0f : 0.0f;
    for (size_t i = 0; i < noise.size(); ++i) view.master.data<float>()[i] = mean + noise[i];
  }
}

RandomParameters::~RandomParameters() = default;

}  // namespace trireme::test
