// Divergences against PyTorch: tests/golden/make_distillation_golden.py made the file.
#include <cstring>

#include <gtest/gtest.h>

#include "runtime/io/safetensors/safetensors.h"
#include "runtime/ops/training/distillation.h"
#include "tests/support/folders.h"
#include "tests/support/tensors.h"
#include "tests/support/test_device.h"

namespace trireme {
namespace {

class DistillationGolden : public testing::Test {
 protected:
  template <class T = float>
  Tensor read(Context& ctx, const std::string& name) const {
    const auto& entry = file_.at(name);
    EXPECT_EQ(entry.dtype, DTypeOf<T>::value) << name;
    std::vector<T> values(entry.bytes.size() / sizeof(T));
    std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
    const Tensor t = Tensor::empty(ctx, entry.shape, entry.dtype);
    test::write(t, values);
    return t;
  }

  SafetensorsReader file_{test::source_folder() + "/tests/golden/distillation_tiny.safetensors"};
};

struct Setting {
  const char* name;
  float temperature, weight, z, smoothing, cap, teacher_cap;
};
constexpr Setting kSettings[] = {
    {"plain", 1, 1, 0, 0, 0, 0}, {"warm", 2.5f, 0.7f, 0, 0, 0, 0}, {"all", 0.8f, 0.4f, 1e-2f, 0.1f, 3, 4}};
struct Named {
  const char* name;
  ops::Divergence divergence;
};
constexpr Named kDivergences[] = {{"forward_kl", {0, 1}},
                                  {"reverse_kl", {1, 0}},
                                  {"skew_forward", {0.1, 1}},
                                  {"skew_reverse", {0.9, 0}},
                                  {"jsd", {0.3, 0.3}}};

TEST_F(DistillationGolden, EqualsPyTorch) {
  Context ctx(test::test_device());
  const Tensor student = read(ctx, "student"), teacher = read(ctx, "teacher"),
               targets = read<int32_t>(ctx, "targets"), ids = read<int32_t>(ctx, "ids");
  const int64_t rows = student.dim(0), v = student.dim(1);
  const auto floats = [&](const Shape& shape) { return Tensor::empty(ctx, shape, DType::f32); };
  const Tensor loss = floats({rows}), added = floats({rows}), gradient = floats({rows, v}),
               statistics = floats({1, rows, ops::kDistillationStatistics}),
               sums = floats({1, rows, ops::kDivergenceSums});
  for (const Named& named : kDivergences) {
    for (const Setting& s : kSettings) {
      for (const bool is_few : {false, true}) {
        const std::string prefix = fmt::format("{}/{}/{}/", named.name, s.name, is_few ? "few" : "every");
        SCOPED_TRACE(prefix);
        const ops::DistillationOptions options{
            .entropy = {.soft_cap = s.cap, .z_loss = s.z, .label_smoothing = s.smoothing},
            .divergence = named.divergence,
            .weight = s.weight,
            .temperature = s.temperature};
        ops::TeacherOfRows of_rows;
        if (is_few)
          of_rows = {.ids = ids, .probabilities = read(ctx, prefix + "probabilities"), .has_rest = true};
        else
          of_rows = {.logits = teacher, .soft_cap = s.teacher_cap};
        const ops::TablePart part{0, v};
        ops::distillation_statistics(ctx, student, targets, part, of_rows, options,
                                     statistics.view({rows, ops::kDistillationStatistics}));
        ops::distillation_divergence(ctx, student, targets, part, of_rows, options, statistics,
                                     sums.view({rows, ops::kDivergenceSums}));
        ops::distillation(ctx, student, targets, part, of_rows, options, statistics, sums, loss, gradient,
                          added);
        const auto plain = test::to_vector(read(ctx, prefix + "loss")),
                   objective = test::to_vector(read(ctx, prefix + "objective")),
                   slope = test::to_vector(read(ctx, prefix + "gradient"));
        const auto got = test::to_vector(loss), more = test::to_vector(added),
                   got_slope = test::to_vector(gradient);
        for (size_t r = 0; r < got.size(); ++r) {
          EXPECT_NEAR(got[r], plain[r], 1e-6f * std::max(1.0f, plain[r])) << r;
          EXPECT_NEAR(got[r] + more[r], objective[r], 1e-6f * std::max(1.0f, objective[r])) << r;
        }
        for (size_t i = 0; i < slope.size(); ++i) EXPECT_NEAR(got_slope[i], slope[i], 1e-6f) << i;
      }
    }
  }
}

}  // namespace
}  // namespace trireme
