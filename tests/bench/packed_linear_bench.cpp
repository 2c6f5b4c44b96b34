// Products with packed integer weights: of one row beside a plain read of the same memory, in GB/s of
// weights, of many in GFLOP/s, and how fast stored blocks are packed, in GB/s of those. Every product and
// every read is timed alone, in wall time, and the fastest tenth counts: what other programs take between
// them does not matter.
//
//   packed_linear_bench [rows|batch|packing [FORMAT [THREADS [MIB]]]]    rows and batch; all formats; 1; 1024
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "runtime/base/parallel_for.h"
#include "runtime/ops/cpu/packed/integers/integer_kernels.h"
#include "runtime/ops/cpu/vectorize.h"
#include "runtime/ops/host_copy.h"
#include "tests/runtime/ops/packed/packed_cases.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

using ops::Activations;
using ops::PackedSpec;
using ops::PackedWeight;

struct Options {
  std::string what, format;
  int threads = 1;
  int64_t bytes = int64_t{1} << 30;
};

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The time that a tenth of the calls need at most.
class Times {
 public:
  template <class Call>
  void take(const Call& call) {
    const double begin = seconds();
    call();
    times_.push_back(seconds() - begin);
  }
  double tenth() {
    std::ranges::sort(times_);
    return times_[times_.size() / 10];
  }

 private:
  std::vector<double> times_;
};

TRIREME_VECTORIZED int64_t sum_of(const int64_t* numbers, int64_t count) {
  int64_t sums[32] = {};
  for (int64_t i = 0; i + 32 <= count; i += 32) {
    for (int64_t j = 0; j < 32; ++j) sums[j] += numbers[i + j];
  }
  int64_t sum = 0;
  for (const int64_t s : sums) sum += s;
  return sum;
}

void read(const Context& ctx, const Tensor& t) {
  parallel_for(ctx.num_threads(), t.bytes() / 4096, 16, [&](int64_t begin, int64_t end) {
    const volatile int64_t sum =
        sum_of(static_cast<const int64_t*>(t.raw()) + begin * 512, (end - begin) * 512);
    static_cast<void>(sum);
  });
}

/// As many copies as fill the memory asked for, so that no product finds its weights in a cache.
std::vector<PackedWeight> copies(Context& ctx, const PackedSpec& spec, int64_t outputs, int64_t inputs,
                                 int64_t bytes) {
  Draws draws(1);
  std::vector<PackedWeight> all{drawn_weight(ctx, spec, 1, outputs, inputs, draws)};
  const Tensor first = all[0].data;
  while (static_cast<int64_t>(all.size()) * first.bytes() < bytes) {
    all.push_back(all[0]);
    all.back().data = Tensor::empty(ctx, first.shape(), DType::u8, MemoryCategory::weights);
    std::memcpy(all.back().data.raw(), first.raw(), static_cast<size_t>(first.bytes()));
  }
  return all;
}

/// ordered: x is brought into another order of inputs first.
void measure_rows(Context& ctx, const Options& options, const PackedSpec& spec, int64_t outputs,
                  int64_t inputs, bool ordered = false) {
  auto weights = copies(ctx, spec, outputs, inputs, options.bytes);
  if (ordered) {
    std::vector<int32_t> order;
    for (int64_t i = 0; i < inputs; ++i) order.push_back(static_cast<int32_t>((i * 1001) % inputs));
    for (PackedWeight& w : weights) w.order = ops::to_device(ctx, order, {1, inputs});
  }
  const Tensor x = random_tensor(ctx, {1, inputs}, DType::f32, 1),
               y = Tensor::empty(ctx, {1, outputs}, DType::f32);
  Times reads, exact, integers;
  for (int repeat = 0; repeat < 3; ++repeat) {
    for (const PackedWeight& w : weights) reads.take([&] { read(ctx, w.data); });
    for (const PackedWeight& w : weights)
      exact.take([&] { ops::packed_linear(ctx, x, w, Activations::exact, {}, y); });
    for (const PackedWeight& w : weights)
      integers.take([&] { ops::packed_linear(ctx, x, w, Activations::int8, {}, y); });
  }
  const double bytes = static_cast<double>(weights[0].data.bytes()) * 1e-9, best = bytes / reads.tenth();
  const double rate_8 = bytes / integers.tenth(), rate = bytes / exact.tenth();
  fmt::print("| {} | {} x {} | {:.2f} | {:.1f} | {:.1f} ({:.0f} %) | {:.1f} ({:.0f} %) |\n",
             to_string(spec) + (ordered ? ", ordered" : ""), outputs, inputs,
             8e9 * bytes / static_cast<double>(outputs * inputs), best, rate_8, 100 * rate_8 / best, rate,
             100 * rate / best);
  std::fflush(stdout);
}

void measure_batch(Context& ctx, const PackedSpec& spec) {
  constexpr int64_t kOutputs = 2048, kInputs = 2048;
  Draws draws(1);
  const PackedWeight w = drawn_weight(ctx, spec, 1, kOutputs, kInputs, draws);
  fmt::print("| {} |", to_string(spec));
  for (const Activations activations : {Activations::int8, Activations::exact}) {
    for (const int64_t rows : {4, 16, 64, 512}) {
      const Tensor x = random_tensor(ctx, {rows, kInputs}, DType::f32, 1),
                   y = Tensor::empty(ctx, {rows, kOutputs}, DType::f32);
      Times times;
      for (int64_t i = 0; i < std::max<int64_t>(20, 2048 / rows); ++i)
        times.take([&] { ops::packed_linear(ctx, x, w, activations, {}, y); });
      fmt::print(" {:.0f} |", 2e-9 * static_cast<double>(rows * kOutputs * kInputs) / times.tenth());
    }
  }
  fmt::print("\n");
  std::fflush(stdout);
}

void measure_packing(Context& ctx, const PackedSpec& spec) {
  constexpr int64_t kOutputs = 256, kInputs = 2048;
  Draws draws(1);
  const auto row = is_stored_in_blocks(spec.format) ? drawn_blocks(spec.format, 1, kInputs, draws)
                                                    : std::vector<std::byte>();
  std::vector<std::byte> blocks;
  for (int64_t r = 0; r < kOutputs; ++r) blocks.insert(blocks.end(), row.begin(), row.end());
  Times times;
  double bytes = static_cast<double>(blocks.size());
  for (int i = 0; i < 200; ++i) {
    times.take([&] {
      if (!row.empty()) {
        ops::pack_stored(ctx, spec.format, 1, kOutputs, kInputs,
                         [&](int64_t r) { return blocks.data() + static_cast<size_t>(r) * row.size(); });
        return;
      }
      ops::pack_rows(ctx, spec, 1, kOutputs, kInputs, [](int64_t r, std::span<float> to) {
        for (size_t j = 0; j < to.size(); ++j)
          to[j] = static_cast<float>((j * 37 + static_cast<size_t>(r)) % 101) - 50;
      });
      bytes = 4.0 * kOutputs * kInputs;
    });
  }
  fmt::print("| {} | {:.2f} |\n", to_string(spec), 1e-9 * bytes / times.tenth());
  std::fflush(stdout);
}

void run(const Options& options) {
  Context ctx({}, options.threads);
  fmt::print("{} thread(s), {}\n", options.threads, ops::cpu::integer_kernels().instructions);
  std::vector<PackedSpec> specs;
  for (const PackedSpec& spec : integer_specs()) {
    const bool wanted = to_string(spec).find(options.format) != std::string::npos;
    if (wanted && (!options.format.empty() || spec.group == 0 || spec.group == 32)) specs.push_back(spec);
  }
  if (options.what != "batch" && options.what != "packing") {
    fmt::print("\n| weights | shape | bits | read, GB/s | int8 | exact |\n|---|---|---|---|---|---|\n");
    for (const PackedSpec& spec : specs) {
      measure_rows(ctx, options, spec, 2048, 2048);
      measure_rows(ctx, options, spec, 2048, 8192);
      if (spec.format == ops::PackedFormat::int4) measure_rows(ctx, options, spec, 2048, 2048, true);
    }
  }
  if (options.what != "rows" && options.what != "packing") {
    fmt::print("\nGFLOP/s\n| weights | int8, 4 rows | 16 | 64 | 512 | exact, 4 rows | 16 | 64 | 512 |\n");
    fmt::print("|---|---|---|---|---|---|---|---|---|\n");
    for (const PackedSpec& spec : specs) measure_batch(ctx, spec);
  }
  if (options.what == "packing") {
    fmt::print("\n| weights | stored blocks or floats, GB/s |\n|---|---|\n");
    for (const PackedSpec& spec : specs) measure_packing(ctx, spec);
  }
}

}  // namespace
}  // namespace trireme::test

int main(int argc, char** argv) {
  trireme::test::Options options;
  if (argc > 1) options.what = argv[1];
  if (argc > 2) options.format = argv[2];
  if (argc > 3) options.threads = std::atoi(argv[3]);
  if (argc > 4) options.bytes = std::atoll(argv[4]) << 20;
  if (argc > 5 || options.threads < 1 || options.bytes < 1) {
    fmt::print(stderr, "usage: packed_linear_bench [rows|batch|packing [FORMAT [THREADS [MIB]]]]\n");
    return 2;
  }
  trireme::test::run(options);
}
