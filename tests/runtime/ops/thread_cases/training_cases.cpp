// Of losses and updates.
#include "tests/runtime/ops/thread_cases/thread_cases.h"

#include <cmath>
#include <cstdint>

#include "runtime/ops/elementwise.h"
#include "runtime/ops/training/adamw.h"
#include "runtime/ops/training/cross_entropy.h"
#include "runtime/ops/training/distillation.h"
#include "runtime/ops/training/few_tokens.h"
#include "runtime/ops/training/muon.h"
#include "runtime/ops/training/state_distance.h"
#include "runtime/ops/training/stochastic_rounding.h"

namespace trireme::test {
namespace {

std::vector<Tensor> cross_entropy(Context& ctx, Draw draw) {
  const int64_t vocab = draw.pick<int64_t>({1, 65, 1031, 4099, draw.size(3000)});
  const int64_t rows = draw.size(kElements / vocab), cut = draw.between(0, vocab - 1);
  const DType dtype = draw.compute_type();
  const ops::Columns logits = draw.columns(ctx, rows, vocab, dtype),
                     dlogits = draw.columns(ctx, rows, vocab, dtype);
  const Tensor targets = draw.indices(ctx, {rows}, vocab, ops::kIgnoredTarget),
               loss = Tensor::empty(ctx, {rows}, DType::f32),
               part_loss = Tensor::empty(ctx, {rows}, DType::f32),
               statistics = Tensor::empty(ctx, {1, rows, 4}, DType::f32);
  const ops::CrossEntropyOptions options{.gradient_scale = 0.7f,
                                         .soft_cap = draw.coin() ? 3.0f : 0.0f,
                                         .z_loss = draw.coin() ? 0.01f : 0.0f,
                                         .label_smoothing = draw.coin() ? 0.1f : 0.0f};
  const Tensor added = Tensor::empty(ctx, {rows}, DType::f32),
               part_added = Tensor::empty(ctx, {rows}, DType::f32);
  ops::cross_entropy(ctx, logits, targets, options, loss, draw.coin() ? dlogits : ops::Columns(), added);
  const Tensor weights = draw.tensor(ctx, {rows});
  const ops::TablePart part{cut, vocab};
  const ops::Columns here = {logits.matrix, logits.begin + cut, vocab - cut};
  const ops::Columns dhere = draw.columns(ctx, rows, vocab - cut, dtype);
  ops::cross_entropy_statistics(ctx, here, targets, part, options, statistics.view({rows, 4}));
  ops::cross_entropy_of_part(ctx, here, targets, part, options, statistics, part_loss, dhere, part_added,
                             weights);
  return {loss, added, dlogits.matrix, statistics, part_loss, part_added, dhere.matrix};
}

std::vector<Tensor> few_tokens(Context& ctx, Draw draw) {
  const int64_t vocab = draw.pick<int64_t>({1, 65, 4099, draw.size(3000)});
  const int64_t rows = draw.size(kElements / vocab), k = draw.between(1, 70), n = draw.between(1, 70);
  const ops::Columns logits = draw.columns(ctx, rows, vocab, draw.compute_type());
  const ops::LogitSoftmax softmax{draw.coin() ? 3.0f : 0.0f, draw.coin() ? 0.05f : 1.0f};
  const auto few = [&](int64_t count, DType dtype) { return Tensor::empty(ctx, {rows, count}, dtype); };
  const Tensor statistics = few(2, DType::f64), part_ids = few(k, DType::i32), values = few(k, DType::f32),
               ids = few(k, DType::i32), probabilities = few(k, DType::f32), draws = few(n, DType::i32),
               drawn = few(n, DType::i32), shares = few(n, DType::f32);
  const Tensor of_parts = statistics.view({1, rows, 2});
  ops::softmax_statistics(ctx, logits, softmax, statistics);
  ops::likeliest_columns(ctx, logits, softmax, 0, part_ids, values);
  ops::merge_likeliest(ctx, softmax, of_parts, part_ids.view({1, rows, k}), values.view({1, rows, k}), ids,
                       probabilities);
  ops::draw_columns(ctx, logits, softmax, 0, 0, {.key = 3, .rows_a_sample = 5},
                    draw.indices(ctx, {rows}, 100), of_parts, draws);
  ops::merge_draws(ctx, draws, drawn, shares);
  return {statistics, part_ids, values, ids, probabilities, draws, drawn, shares};
}

std::vector<Tensor> distillation(Context& ctx, Draw draw) {
  const int64_t vocab = draw.pick<int64_t>({1, 65, 1031, 4099, draw.size(3000)});
  const int64_t rows = draw.size(kElements / vocab);
  const DType dtype = draw.compute_type();
  const ops::Columns logits = draw.columns(ctx, rows, vocab, dtype),
                     dlogits = draw.columns(ctx, rows, vocab, dtype);
  const Tensor targets = draw.indices(ctx, {rows}, vocab, ops::kIgnoredTarget),
               weights = draw.tensor(ctx, {rows}), loss = Tensor::empty(ctx, {rows}, DType::f32),
               added = Tensor::empty(ctx, {rows}, DType::f32),
               statistics = Tensor::empty(ctx, {1, rows, 8}, DType::f32),
               sums = Tensor::empty(ctx, {1, rows, 2}, DType::f32);
  const double mix = draw.pick<double>({0, 1, 0.1, 0.9, 0.3});
  const ops::DistillationOptions options{
      .entropy = {.soft_cap = draw.coin() ? 3.0f : 0.0f, .z_loss = 0.01f, .label_smoothing = 0.1f},
      .divergence = {mix, mix == 0.1   ? 1.0
                          : mix == 0.9 ? 0.0
                          : mix == 0.3 ? 0.3
                                       : 1 - mix},
      .weight = 0.7f,
      .temperature = draw.coin() ? 2.0f : 1.0f};
  ops::TeacherOfRows teacher;
  if (draw.coin()) {
    teacher = {.logits = draw.columns(ctx, rows, vocab, draw.compute_type()),
               .soft_cap = draw.coin() ? 4.0f : 0.0f};
  } else {
    teacher = {.ids = draw.indices(ctx, {rows, 1}, vocab, -1),
               .probabilities = Tensor::empty(ctx, {rows, 1}, DType::f32),
               .has_rest = true};
    ops::fill(ctx, teacher.probabilities, 0.4);
  }
  const ops::TablePart part{0, vocab};
  ops::distillation_statistics(ctx, logits, targets, part, teacher, options, statistics.view({rows, 8}));
  ops::distillation_divergence(ctx, logits, targets, part, teacher, options, statistics,
                               sums.view({rows, 2}));
  ops::distillation(ctx, logits, targets, part, teacher, options, statistics, sums, loss, dlogits, added,
                    weights);
  const DType type = draw.compute_type();
  const Tensor states = draw.tensor(ctx, {rows, vocab}, type),
               dstates = draw.tensor(ctx, {rows, vocab}, type),
               distances = Tensor::empty(ctx, {rows}, DType::f32);
  ops::state_distance(ctx, states, draw.tensor(ctx, {rows, vocab}, draw.compute_type()), targets, weights, {},
                      distances, dstates);
  return {statistics, sums, loss, added, dlogits.matrix, distances, dstates};
}

std::vector<Tensor> optimizer(Context& ctx, Draw draw) {
  const int64_t n = draw.size(kElements);
  ops::AdamWOptions options{.weight_decay = 0.1f};
  options.update = f64(ctx, {ops::kAdamWUpdateSize});
  write(options.update, ops::adamw_update(options, 1e-3, draw.between(1, 50)));
  if (draw.coin()) options.gradient_scale = draw.tensor(ctx, {1});
  const auto positive = [&] {
    const Tensor v = draw.tensor(ctx, {n});
    auto values = to_vector(v);
    for (float& value : values) value = std::abs(value);
    write(v, values);
    return v;
  };
  const Tensor gradient = draw.tensor(ctx, {n}), w = draw.tensor(ctx, {n}), m = draw.tensor(ctx, {n}),
               v = positive(), copy = Tensor::empty(ctx, {n}, DType::bf16);
  ops::adamw(ctx, options, gradient, w, m, v, draw.coin() ? copy : Tensor());
  const Tensor half = draw.tensor(ctx, {n}, DType::bf16), m2 = draw.tensor(ctx, {n}), v2 = positive();
  const int64_t begin = draw.between(0, n / 3), count = draw.between(0, n - begin);
  const std::vector<ops::ElementRange> ranges{
      {begin, begin + count, 5, {n + 10}, {draw.between(0, 10)}, {count}, 0}};
  ops::adamw_stochastic(ctx, options, gradient, half, m2, v2, ranges);
  return {w, m, v, half, m2, v2};
}

std::vector<Tensor> muon(Context& ctx, Draw draw) {
  const int64_t n = draw.size(kElements);
  ops::MuonOptions options{.nesterov = draw.coin(), .weight_decay = 0.1f, .scale = 2};
  options.update = f64(ctx, {ops::kMuonUpdateSize}, 1e-2);
  options.gradient_scale = draw.tensor(ctx, {1});
  const Tensor m = draw.tensor(ctx, {n}), w = draw.tensor(ctx, {n}),
               direction = Tensor::empty(ctx, {n}, DType::f32),
               normal = Tensor::empty(ctx, {n}, draw.compute_type()),
               copy = Tensor::empty(ctx, {n}, draw.compute_type()),
               half = Tensor::empty(ctx, {n}, DType::bf16);
  ops::muon_momentum(ctx, options, draw.tensor(ctx, {n}), m, direction);
  ops::muon_normalize(ctx, direction, f64(ctx, {1}, 9), normal);
  ops::muon_apply(ctx, options, normal, w, copy);
  const int64_t begin = draw.between(0, n / 3), count = draw.between(0, n - begin);
  const std::vector<ops::ElementRange> ranges{
      {begin, begin + count, 5, {n + 10}, {draw.between(0, 10)}, {count}, 0}};
  ops::round_stochastically(ctx, w, f64(ctx, {1}, static_cast<double>(draw.between(1, 50))), ranges, half);
  return {m, direction, normal, w, copy, half};
}

}  // namespace

const OpCases& training_cases() {
  static const OpCases all{{"CrossEntropy", cross_entropy},
                           {"FewTokens", few_tokens},
                           {"Distillation", distillation},
                           {"Optimizer", optimizer},
                           {"Muon", muon}};
  return all;
}

}  // namespace trireme::test
