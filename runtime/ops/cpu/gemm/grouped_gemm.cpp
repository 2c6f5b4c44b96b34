#include "runtime/ops/gemm/grouped_gemm.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "runtime/ops/cpu/support.h"
#include "runtime/ops/gemm/gemm.h"

namespace trireme::ops::cpu {

namespace {

struct Run {
  int64_t expert, begin, end;
};

// The runs that are not empty, the longest first: so threads that take one after the other end together.
std::vector<Run> runs_of(std::span<const int64_t> counts) {
  std::vector<Run> runs;
  int64_t begin = 0;
  for (size_t e = 0; e < counts.size(); ++e) {
    if (counts[e] > 0) runs.push_back({static_cast<int64_t>(e), begin, begin + counts[e]});
    begin += counts[e];
  }
  std::ranges::stable_sort(runs, std::greater<>(), [](const Run& run) { return run.end - run.begin; });
  return runs;
}

/// Operations from which on a product is worth the threads that share it.
constexpr int64_t kSharedProduct = int64_t{1} << 27;

/// Calls product(run) for every run: large products one after the other on all threads, small ones beside
/// each other on one thread each (OpenMP gives a product within a team no further threads).
template <class Product>
void for_each_run(Context& ctx, std::span<const int64_t> counts, int64_t operations_a_row,
                  Product&& product) {
  const std::vector<Run> runs = runs_of(counts);
  const auto num_runs = static_cast<int64_t>(runs.size());
  const auto first_small = std::ranges::find_if(
      runs, [&](const Run& run) { return (run.end - run.begin) * operations_a_row < kSharedProduct; });
  const int64_t num_shared = num_runs >= ctx.num_threads() ? first_small - runs.begin() : num_runs;
  for (int64_t i = 0; i < num_shared; ++i) product(runs[static_cast<size_t>(i)]);
  run_in_team(ctx.num_threads(), num_runs - num_shared,
              [&](int64_t i, int64_t) { product(runs[static_cast<size_t>(num_shared + i)]); });
}

Tensor rows_of(const Tensor& t, const Run& run) { return t.slice(run.begin, run.end); }
Tensor matrix_of(const Tensor& w, const Run& run, int64_t num_experts) {
  const int64_t rows = w.dim(0) / num_experts;
  return w.slice(run.expert * rows, (run.expert + 1) * rows);
}

int64_t operations(const Tensor& w, std::span<const int64_t> counts) {
  return 2 * w.numel() / static_cast<int64_t>(counts.size());
}

}  // namespace

void grouped_linear(Context& ctx, const Tensor& x, std::span<const int64_t> counts, const Tensor& w,
                    const Tensor& y) {
  const auto num_experts = static_cast<int64_t>(counts.size());
  for_each_run(ctx, counts, operations(w, counts), [&](const Run& run) {
    cpu::gemm(ctx, {.transpose_b = true}, rows_of(x, run), matrix_of(w, run, num_experts), {},
              rows_of(y, run));
  });
}

void grouped_linear_backward_input(Context& ctx, const Tensor& dy, std::span<const int64_t> counts,
                                   const Tensor& w, const Tensor& dx) {
  const auto num_experts = static_cast<int64_t>(counts.size());
  for_each_run(ctx, counts, operations(w, counts), [&](const Run& run) {
    cpu::gemm(ctx, {}, rows_of(dy, run), matrix_of(w, run, num_experts), {}, rows_of(dx, run));
  });
}

void grouped_linear_backward_weight(Context& ctx, const Tensor& dy, const Tensor& x,
                                    std::span<const int64_t> counts, const Tensor& dw) {
  const auto num_experts = static_cast<int64_t>(counts.size());
  for_each_run(ctx, counts, operations(dw, counts), [&](const Run& run) {
    cpu::gemm(ctx, {.transpose_a = true, .accumulate = true}, rows_of(dy, run), rows_of(x, run), {},
              matrix_of(dw, run, num_experts));
  });
}

}  // namespace trireme::ops::cpu
