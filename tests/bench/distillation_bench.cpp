// Processor time of the losses of distillation beside that of cross-entropy, of the same rows in one run.
#include <algorithm>
#include <ctime>
#include <functional>
#include <vector>

#include <fmt/format.h>

#include "runtime/ops/elementwise.h"
#include "runtime/ops/training/distillation.h"
#include "tests/support/tensors.h"

namespace trireme {
namespace {

constexpr int64_t kRows = 64, kColumns = 50257;

struct Case {
  const char* name;
  ops::Divergence divergence;
  bool is_few = false;
};

double least_ms(const std::function<void()>& call) {
  std::vector<double> times;
  for (int i = 0; i < 9; ++i) {
    const std::clock_t begin = std::clock();
    call();
    times.push_back(1e3 * static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
  }
  return std::ranges::min(times);
}

void measure(Context& ctx, DType dtype) {
  const Tensor student = test::random_tensor(ctx, {kRows, kColumns}, dtype, 1, 3),
               teacher = test::random_tensor(ctx, {kRows, kColumns}, dtype, 2, 3),
               gradient = Tensor::empty(ctx, {kRows, kColumns}, dtype),
               targets = Tensor::empty(ctx, {kRows}, DType::i32),
               loss = Tensor::empty(ctx, {kRows}, DType::f32),
               added = Tensor::empty(ctx, {kRows}, DType::f32),
               statistics = Tensor::empty(ctx, {1, kRows, 8}, DType::f32),
               sums = Tensor::empty(ctx, {1, kRows, 2}, DType::f32),
               ids = Tensor::empty(ctx, {kRows, 64}, DType::i32),
               probabilities =
                   test::make_tensor(ctx, {kRows, 64}, DType::f32, std::vector<float>(kRows * 64, 0.01f));
  test::write(targets, std::vector<int32_t>(kRows, 5));
  std::vector<int32_t> few;
  for (int64_t i = 0; i < kRows * 64; ++i) few.push_back(static_cast<int32_t>(i % 64 * 700 + i / 64));
  test::write(ids, few);
  const double plain =
      least_ms([&] { ops::cross_entropy(ctx, student, targets, {}, loss, gradient, added); });
  fmt::print("{} {}x{}: cross-entropy {:.1f} ms\n", to_string(dtype), kRows, kColumns, plain);
  for (const Case& c : {Case{"forward KL", {0, 1}}, Case{"reverse KL", {1, 0}}, Case{"skewed KL", {0.1, 1}},
                        Case{"Jensen-Shannon", {0.5, 0.5}}, Case{"top-64 forward KL", {0, 1}, true}}) {
    ops::TeacherOfRows of_rows;
    if (c.is_few) {
      of_rows.ids = ids, of_rows.probabilities = probabilities, of_rows.has_rest = true;
    } else {
      of_rows.logits = teacher;
    }
    const ops::DistillationOptions options{.divergence = c.divergence, .temperature = 2};
    const ops::TablePart part{0, kColumns};
    const double ms = least_ms([&] {
      ops::distillation_statistics(ctx, student, targets, part, of_rows, options,
                                   statistics.view({kRows, 8}));
      ops::distillation_divergence(ctx, student, targets, part, of_rows, options, statistics,
                                   sums.view({kRows, 2}));
      ops::distillation(ctx, student, targets, part, of_rows, options, statistics, sums, loss, gradient,
                        added);
    });
    fmt::print("  {:18} {:6.1f} ms, {:.2f} times cross-entropy\n", c.name, ms, ms / plain);
  }
}

}  // namespace
}  // namespace trireme

int main() {
  trireme::Context ctx;
  for (const auto dtype : {trireme::DType::f32, trireme::DType::bf16}) trireme::measure(ctx, dtype);
}
