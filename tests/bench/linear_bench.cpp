// Forward products, of few rows and of many: processor time of ops::linear on one thread; and products with
// packed weights beside a plain read of as many bytes of memory, on one thread and two, in wall time.
//
//   linear_bench [rows|packed]    both
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "runtime/base/parallel_for.h"
#include "runtime/ops/cpu/packed/floats.h"
#include "runtime/ops/cpu/vectorize.h"
#include "runtime/ops/gemm/gemm.h"
#include "tests/support/tensors.h"

namespace trireme {
namespace {

double processor_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }
double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The least time of a call, in seconds: other programs on the machine only lengthen it.
template <class Call>
double least(double (*clock)(), double budget, const Call& call) {
  call();
  double best = 1e9;
  const double begin = wall_seconds();
  for (int n = 0; n < 5 || wall_seconds() - begin < budget; ++n) {
    // std::clock counts in microseconds.
    int calls = 0;
    const double start = clock();
    double taken = 0;
    do {
      call();
      ++calls;
      taken = clock() - start;
    } while (taken < 2e-4);
    best = std::min(best, taken / calls);
  }
  return best;
}

void rows() {
  Context ctx;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    fmt::print("\nops::linear of {}, GFLOP/s\n| N x K |", to_string(dtype));
    const std::vector<int64_t> counts = {1, 2, 4, 8, 16, 47, 64, 512};
    for (const int64_t m : counts) fmt::print(" M = {} |", m);
    fmt::print("\n|---|---|---|---|---|---|---|---|---|\n");
    for (const auto& [n, k] : std::vector<std::pair<int64_t, int64_t>>{
             {768, 768}, {3072, 768}, {768, 3072}, {3072, 3072}, {8, 768}, {96, 32}}) {
      const Tensor w = test::random_tensor(ctx, {n, k}, dtype, 1);
      fmt::print("| {} x {} |", n, k);
      for (const int64_t m : counts) {
        const Tensor x = test::random_tensor(ctx, {m, k}, dtype, 2), y = Tensor::empty(ctx, {m, n}, dtype);
        const double s = least(processor_seconds, 0.15, [&] { ops::linear(ctx, x, w, {}, y); });
        fmt::print(" {:.1f} |", 2e-9 * static_cast<double>(m * n * k) / s);
        std::fflush(stdout);
      }
      fmt::print("\n");
    }
  }
}

/// Of cache lines; what the processor reads, not what it adds, takes the time.
TRIREME_VECTORIZED uint64_t sum_lines(const uint64_t* words, int64_t lines) {
  uint64_t sums[32] = {};
  for (int64_t i = 0; i + 4 <= lines; i += 4) {
    __builtin_prefetch(words + 8 * i + 512);
    for (int64_t x = 0; x < 32; ++x) sums[x] += words[8 * i + x];
  }
  uint64_t sum = 0;
  for (const uint64_t x : sums) sum += x;
  return sum;
}

/// Wall time where threads share the work.
auto* clock_of(int threads) { return threads == 1 ? processor_seconds : wall_seconds; }

/// GB/s of reading memory that no cache holds, in as many parts as weights have matrices.
double read_rate(int threads, const Tensor& memory, int64_t parts) {
  const int64_t n = memory.bytes() / 64 / parts;
  std::vector<uint64_t> sums(16);
  int64_t part = 0;
  const double s = least(clock_of(threads), 1, [&] {
    const auto* words = static_cast<const uint64_t*>(memory.raw()) + 8 * n * (part++ % parts);
    parallel_for(threads, n, 1, [&](int64_t begin, int64_t end) {
      sums[static_cast<size_t>(begin * threads / n)] += sum_lines(words + 8 * begin, end - begin);
    });
  });
  return sums[0] == 1 ? 0 : 1e-9 * static_cast<double>(memory.bytes() / parts) / s;
}

// Enough matrices that no cache holds them, one after the other.
ops::PackedWeight packed_weight(Context& ctx, ops::PackedFormat format, int64_t n, int64_t k) {
  ops::PackedWeight w{{format}, format == ops::PackedFormat::f32 ? 4 : 8, n, k, {}};
  w.data = Tensor::empty(ctx, {w.matrices * ops::cpu::floats_bytes(format, n, k)}, DType::u8);
  ops::cpu::pack_floats(ctx, w, [](int64_t row, std::span<float> values) {
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>((static_cast<size_t>(row) + 7 * i) % 13) - 6;
    }
  });
  return w;
}

void packed() {
  const int64_t n = 4096, k = 4096;
  for (const int threads : {1, 2}) {
    Context ctx({}, threads);
    fmt::print("\nPacked weights {} x {}, {} thread(s), GB/s of weights\n", n, k, threads);
    fmt::print("| weights | x | M = 1 | 2 | 4 | 8 | 64 (GFLOP/s) | 512 (GFLOP/s) | plain read | M = 1 |\n");
    fmt::print("|---|---|---|---|---|---|---|---|---|---|\n");
    using ops::PackedFormat;
    constexpr const char* kNames[] = {"f32", "bf16", "f16"};
    for (const auto& [format, dtype] :
         std::vector<std::pair<PackedFormat, DType>>{{PackedFormat::f32, DType::f32},
                                                     {PackedFormat::bf16, DType::bf16},
                                                     {PackedFormat::bf16, DType::f32},
                                                     {PackedFormat::f16, DType::f32},
                                                     {PackedFormat::f16, DType::f16}}) {
      const ops::PackedWeight w = packed_weight(ctx, format, n, k);
      fmt::print("| {} | {} |", kNames[static_cast<size_t>(format)], to_string(dtype));
      const auto product = [&](int64_t m) {
        const Tensor x = test::random_tensor(ctx, {m, k}, dtype, 2), y = Tensor::empty(ctx, {m, n}, dtype);
        int64_t matrix = 0;
        const double s = least(clock_of(threads), 1,
                               [&] { ops::cpu::floats_linear(ctx, x, w, matrix++ % w.matrices, {}, y); });
        const int64_t work = m > 8 ? 2 * m * n * k : w.data.bytes() / w.matrices;
        fmt::print(" {:.1f} |", 1e-9 / s * static_cast<double>(work));
        std::fflush(stdout);
      };
      for (const int64_t m : {1, 2, 4, 8, 64, 512}) product(m);
      fmt::print(" {:.1f} |", read_rate(threads, w.data, w.matrices));
      product(1);
      fmt::print("\n");
    }
  }
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  if (argc > 2 || (!what.empty() && what != "rows" && what != "packed")) {
    fmt::print(stderr, "usage: linear_bench [rows|packed]\n");
    return 2;
  }
  if (what != "packed") trireme::rows();
  if (what != "rows") trireme::packed();
}
