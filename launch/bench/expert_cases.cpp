// Routing, the way of rows to their experts and back, and the experts' products.
#include "launch/bench/expert_cases.h"

#include <fmt/format.h>

#include "launch/bench/op_tensors.h"
#include "runtime/ops/gemm/grouped_gemm.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/permute.h"
#include "runtime/ops/routing.h"

namespace trireme::launch {

namespace {

using namespace op_tensors;

constexpr int64_t kExperts = 8, kChoices = 2, kHidden = 768, kFfn = 3072;

/// Rows of the experts, an even load.
std::vector<int64_t> rows_of_experts(int64_t tokens) {
  std::vector<int64_t> rows(kExperts, tokens * kChoices / kExperts);
  rows.back() += tokens * kChoices % kExperts;
  return rows;
}

OpCase grouped_forward(Context& ctx, DType dtype, int64_t tokens) {
  const int64_t rows = tokens * kChoices;
  const Tensor x = random(ctx, {rows, kHidden}, dtype, 1),
               w = random(ctx, {kExperts * kFfn, kHidden}, dtype, 2), y = zeros(ctx, {rows, kFfn}, dtype);
  return [=, &ctx, counts = rows_of_experts(tokens)] { ops::grouped_linear(ctx, x, counts, w, y); };
}

OpCase grouped_backward_weight(Context& ctx, DType dtype, int64_t tokens) {
  const int64_t rows = tokens * kChoices;
  const Tensor x = random(ctx, {rows, kHidden}, dtype, 1), dy = random(ctx, {rows, kFfn}, dtype, 2),
               dw = zeros(ctx, {kExperts * kFfn, kHidden}, DType::f32);
  return [=, &ctx, counts = rows_of_experts(tokens)] {
    ops::grouped_linear_backward_weight(ctx, dy, x, counts, dw);
  };
}

OpCase route(Context& ctx, DType, int64_t tokens) {
  const auto floats = [&](int64_t columns) { return zeros(ctx, {tokens, columns}, DType::f32); };
  const Tensor logits = random(ctx, {tokens, kExperts}, DType::f32, 1), probabilities = floats(kExperts),
               gates = floats(kChoices), log_sum = zeros(ctx, {tokens}, DType::f32),
               chosen = zeros(ctx, {tokens, kChoices}, DType::i32);
  return [=, &ctx] { ops::route(ctx, {}, logits, {}, probabilities, log_sum, chosen, gates); };
}

/// What goes to the experts in order of the tokens, choice by choice.
struct Rows {
  Rows(Context& ctx, DType dtype, int64_t tokens)
      : x(random(ctx, {tokens, kHidden}, dtype, 1)), sorted(zeros(ctx, {tokens * kChoices, kHidden}, dtype)) {
    std::vector<int32_t> numbers;
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t c = 0; c < kChoices; ++c) numbers.push_back(static_cast<int32_t>(c * tokens + t));
    }
    slots = ops::to_device(ctx, numbers, {tokens, kChoices});
  }
  Tensor x, sorted, slots;
};

OpCase permute(Context& ctx, DType dtype, int64_t tokens) {
  const Rows rows(ctx, dtype, tokens);
  return [=, &ctx] { ops::permute_rows(ctx, rows.x, rows.slots, rows.sorted); };
}

OpCase combine(Context& ctx, DType dtype, int64_t tokens) {
  const Rows rows(ctx, dtype, tokens);
  const Tensor gates = random(ctx, {tokens, kChoices}, DType::f32, 2);
  return [=, &ctx] { ops::combine_rows(ctx, rows.sorted, rows.slots, gates, rows.x); };
}

}  // namespace

std::vector<OpCaseMaker> expert_cases() {
  const std::string choices = fmt::format("{} of {} experts", kChoices, kExperts);
  const std::string product = fmt::format("{}: {} -> {}", choices, kHidden, kFfn);
  const std::string rows = fmt::format("{}, width {}", choices, kHidden);
  return {{"grouped forward", product, grouped_forward},
          {"grouped weight gradient", product, grouped_backward_weight},
          {"route", choices, route},
          {"permute rows", rows, permute},
          {"combine rows", rows, combine}};
}

}  // namespace trireme::launch
