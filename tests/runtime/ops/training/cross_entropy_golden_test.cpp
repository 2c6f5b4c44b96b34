// Cross-entropy, z-loss and label smoothing against PyTorch: tests/golden/make_loss_golden.py made the file.
#include <cstring>

#include <gtest/gtest.h>

#include "runtime/io/safetensors/safetensors.h"
#include "runtime/ops/training/cross_entropy.h"
#include "tests/support/folders.h"
#include "tests/support/tensors.h"
#include "tests/support/test_device.h"

namespace trireme {
namespace {

class CrossEntropyGolden : public testing::Test {
 protected:
  template <class T = float>
  std::vector<T> read(const std::string& name) const {
    const auto& entry = file_.at(name);
    EXPECT_EQ(entry.dtype, DTypeOf<T>::value) << name;
    std::vector<T> values(entry.bytes.size() / sizeof(T));
    std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
    return values;
  }

  SafetensorsReader file_{test::source_folder() + "/tests/golden/loss_tiny.safetensors"};
};

struct Case {
  const char* name;
  float z, smoothing, cap;
};

TEST_F(CrossEntropyGolden, EqualsPyTorch) {
  Context ctx(test::test_device());
  const auto expected_targets = read<int32_t>("targets");
  const auto rows = std::ssize(expected_targets), v = std::ssize(read("logits")) / rows;
  const Tensor logits = test::make_tensor(ctx, {rows, v}, DType::f32, read("logits"));
  const Tensor targets = Tensor::empty(ctx, {rows}, DType::i32);
  test::write(targets, expected_targets);
  const Tensor loss = Tensor::empty(ctx, {rows}, DType::f32), added = Tensor::empty(ctx, {rows}, DType::f32),
               gradient = Tensor::empty(ctx, {rows, v}, DType::f32);
  for (const Case& c : {Case{"plain", 0, 0, 0}, Case{"z", 1e-2f, 0, 0}, Case{"smoothed", 0, 0.1f, 0},
                        Case{"both", 1e-2f, 0.1f, 0}, Case{"both_capped", 1e-2f, 0.1f, 3}}) {
    SCOPED_TRACE(c.name);
    ops::cross_entropy(ctx, logits, targets,
                       {.soft_cap = c.cap, .z_loss = c.z, .label_smoothing = c.smoothing}, loss, gradient,
                       added);
    const std::string prefix = std::string(c.name) + "/";
    const auto plain = read(prefix + "loss"), objective = read(prefix + "objective"),
               slope = read(prefix + "gradient");
    const auto got = test::to_vector(loss), more = test::to_vector(added),
               got_slope = test::to_vector(gradient);
    for (size_t r = 0; r < got.size(); ++r) {
      EXPECT_NEAR(got[r], plain[r], 3e-6f) << r;
      EXPECT_NEAR(got[r] + more[r], objective[r], 3e-6f) << r;
    }
    for (size_t i = 0; i < slope.size(); ++i) EXPECT_NEAR(got_slope[i], slope[i], 1e-6f) << i;
  }
}

}  // namespace
}  // namespace trireme
