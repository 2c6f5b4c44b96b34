// Products of few rows with sparse weights beside the same with dense ones, on the shapes of Llama-3.2-1B, in
// microseconds and as a ratio. Weights are rotated so that none is found in a cache; dense and sparse
// products alternate, each is timed alone, in wall time, and the fastest tenth counts: what other programs
// take between them does not matter.
//
//   sparse_linear_bench [THREADS [MIB [FORMAT]]]    2; 512 of each; all formats
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "runtime/ops/cpu/packed/sparse/expand_lines.h"
#include "tests/runtime/ops/packed/packed_cases.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

using ops::Activations;
using ops::PackedFormat;
using ops::PackedSpec;
using ops::PackedWeight;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Share of zeros; 2:4: two of four neighbours of any output.
struct Pattern {
  const char* name;
  int percent;
  bool of_four;
};
constexpr Pattern kPatterns[] = {
    {"50 %", 50, false}, {"2:4", 50, true}, {"60 %", 60, false}, {"70 %", 70, false}};

std::vector<float> pruned_row(const Pattern& pattern, int64_t inputs, Draws& draws) {
  std::vector<float> row(static_cast<size_t>(inputs));
  for (size_t i = 0; i < row.size(); i += 4) {
    const auto first = draws.number(0, 3), second = (first + draws.number(1, 3)) % 4;
    for (size_t j = i; j < std::min(row.size(), i + 4); ++j) {
      const auto place = static_cast<int64_t>(j - i);
      const bool keeps =
          pattern.of_four ? place == first || place == second : draws.number(0, 99) >= pattern.percent;
      row[j] = keeps ? 0.05f * draws.normal() + 0.001f : 0.0f;
    }
  }
  return row;
}

/// As many copies as fill the memory asked for.
std::vector<PackedWeight> copies(Context& ctx, const PackedWeight& weight, size_t count) {
  std::vector<PackedWeight> all{weight};
  while (all.size() < count) {
    all.push_back(weight);
    all.back().data = Tensor::empty(ctx, weight.data.shape(), DType::u8, MemoryCategory::weights);
    std::memcpy(all.back().data.raw(), weight.data.raw(), static_cast<size_t>(weight.data.bytes()));
  }
  return all;
}

double tenth(std::vector<double>& times) {
  std::ranges::sort(times);
  return times[times.size() / 10];
}

struct Case {
  const char* name;
  PackedSpec spec;
  DType x;
  Activations activations;
};

void measure(Context& ctx, const Case& c, int64_t outputs, int64_t inputs, const Pattern& pattern,
             int64_t bytes) {
  Draws draws(1);
  // Rows repeat: drawing takes longer than measuring.
  constexpr int64_t kRows = 61;
  std::vector<std::vector<float>> rows;
  for (int64_t r = 0; r < kRows; ++r) rows.push_back(pruned_row(pattern, inputs, draws));
  PackedSpec spec = c.spec;
  const auto pack = [&] {
    return ops::pack_rows(ctx, spec, 1, outputs, inputs, [&](int64_t row, std::span<float> to) {
      std::ranges::copy(rows[static_cast<size_t>(row % kRows)], to.begin());
    });
  };
  const PackedWeight dense = pack();
  spec.sparse = true;
  const PackedWeight sparse = pack();
  const auto count = static_cast<size_t>(std::max<int64_t>(2, bytes / dense.data.bytes()));
  const auto all_dense = copies(ctx, dense, count), all_sparse = copies(ctx, sparse, count);
  fmt::print("| {} | {} x {} | {} | {:.2f} |", c.name, outputs, inputs, pattern.name,
             static_cast<double>(sparse.data.bytes()) / static_cast<double>(dense.data.bytes()));
  for (const int64_t n : {1, 4}) {
    const Tensor x = random_tensor(ctx, {n, inputs}, c.x, 1);
    const Tensor y = Tensor::empty(ctx, {n, outputs}, c.x), expected = Tensor::empty(ctx, {n, outputs}, c.x);
    std::vector<double> times[2];
    for (size_t i = 0; i < std::max<size_t>(2 * count, 100); ++i) {
      for (const bool is_sparse : {false, true}) {
        const PackedWeight& w = (is_sparse ? all_sparse : all_dense)[i % count];
        const double begin = seconds();
        ops::packed_linear(ctx, x, w, c.activations, {}, is_sparse ? y : expected);
        if (i > 0) times[is_sparse].push_back(seconds() - begin);
      }
    }
    const bool same = std::memcmp(y.raw(), expected.raw(), static_cast<size_t>(y.bytes())) == 0;
    const double of_dense = tenth(times[0]), of_sparse = tenth(times[1]);
    fmt::print(" {:.0f} | {:.0f} | {:.2f}{} |", 1e6 * of_dense, 1e6 * of_sparse, of_dense / of_sparse,
               same ? "" : " (other bits)");
  }
  fmt::print("\n");
  std::fflush(stdout);
}

void run(int threads, int64_t bytes, const std::string& format) {
  Context ctx({}, threads);
  fmt::print("{} threads, expands by {}\n\n", threads, ops::cpu::expand_kernels().instructions);
  fmt::print(
      "| weights, activations | shape | zeros | bytes | 1 row, dense, us | sparse | ratio "
      "| 4 rows, dense, us | sparse | ratio |\n|---|---|---|---|---|---|---|---|---|---|\n");
  const Case cases[] = {
      {"bf16, f32", {PackedFormat::bf16}, DType::f32, Activations::exact},
      {"bf16, bf16", {PackedFormat::bf16}, DType::bf16, Activations::exact},
      {"int8, int8", {PackedFormat::int8}, DType::f32, Activations::int8},
      {"int8, exact", {PackedFormat::int8}, DType::f32, Activations::exact},
      {"int8 in groups of 128, int8", {PackedFormat::int8, 128}, DType::f32, Activations::int8},
      {"f32, f32", {PackedFormat::f32}, DType::f32, Activations::exact}};
  for (const Case& c : cases) {
    if (std::string(c.name).find(format) == std::string::npos) continue;
    for (const auto& [outputs, inputs] : {std::pair{2048, 2048}, {8192, 2048}, {2048, 8192}, {512, 2048}}) {
      for (const Pattern& pattern : kPatterns) {
        if (pattern.percent == 50 || outputs == 8192) measure(ctx, c, outputs, inputs, pattern, bytes);
      }
    }
  }
}

}  // namespace
}  // namespace trireme::test

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 2;
  const int64_t mib = argc > 2 ? std::atoll(argv[2]) : 512;
  if (argc > 4 || threads < 1 || mib < 1) {
    fmt::print(stderr, "usage: sparse_linear_bench [THREADS [MIB [FORMAT]]]\n");
    return 2;
  }
  trireme::test::run(threads, mib << 20, argc > 3 ? argv[3] : "");
}
