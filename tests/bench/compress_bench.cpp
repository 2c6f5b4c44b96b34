// Seconds that methods of quantization take for one matrix of drawn weights and a Hessian that is dense.
//   compress_bench OUTPUTS INPUTS [THREADS [METHOD ...]]
// Methods: factor, form, nearest, clips, gptq, static_groups, groups, gptq_clips, awq,
// magnitude, wanda, sparsegpt, sparsegpt_2:4; without any: gptq.
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "models/compress/input_scales.h"
#include "models/compress/prune_matrix.h"
#include "runtime/base/philox.h"
#include "runtime/ops/compress/hessian.h"

namespace trireme {
namespace {

/// Of all threads: what other programs on the machine disturb less.
double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Neighbouring inputs are correlated; diagonals spread over three decades.
InputStatistics statistics_of(int64_t inputs) {
  InputStatistics s;
  s.inputs = inputs;
  s.tokens = 1000;
  s.hessian.resize(static_cast<size_t>(inputs * inputs));
  std::vector<double> size;
  for (int64_t i = 0; i < inputs; ++i) {
    size.push_back(std::exp(static_cast<double>(philox_normal4(3, static_cast<uint64_t>(i), 0)[0])));
    s.magnitudes.push_back(800 * size.back());
    s.largest.push_back(static_cast<float>(4 * size.back()));
  }
  for (int64_t i = 0; i < inputs; ++i) {
    for (int64_t j = 0; j < inputs; ++j) {
      const double correlation = i == j ? 1.0 : 0.9 * std::exp(-0.01 * static_cast<double>(std::abs(i - j)));
      s.hessian[static_cast<size_t>(i * inputs + j)] =
          1000 * correlation * size[static_cast<size_t>(i)] * size[static_cast<size_t>(j)];
    }
  }
  return s;
}

RoundingOptions options_of(const std::string& method) {
  RoundingOptions options{.spec = {ops::PackedFormat::int4, 128}};
  options.clips = method == "clips" || method == "gptq_clips";
  if (method != "nearest" && method != "clips") options.method = RoundingMethod::gptq;
  if (method == "static_groups") options.order = ColumnOrder::static_groups;
  if (method == "groups") options.order = ColumnOrder::groups;
  return options;
}

double run_method(Context& ctx, const std::string& method, std::span<const float> w, int64_t outputs,
                  const InputStatistics& s) {
  std::vector<int32_t> places(static_cast<size_t>(s.inputs));
  for (size_t i = 0; i < places.size(); ++i) places[i] = static_cast<int32_t>(i);
  if (method == "factor") return ops::HessianFactor::of(ctx, {s.hessian, s.inputs, places}, {}, 10.0) ? 1 : 0;
  if (method == "form") return output_error(ctx, w, outputs, s);
  if (method == "awq") {
    const ScaledMatrix matrix{w, outputs, {.spec = {ops::PackedFormat::int4, 128}}};
    return input_scales(ctx, InputScaling::awq, {&matrix, 1}, s).error;
  }
  PruneOptions pruning;
  if (method.ends_with("_2:4")) pruning.zeros = 2, pruning.of = 4;
  for (const auto& [name, of_name] : {std::pair{"magnitude", PruneMethod::magnitude},
                                      {"wanda", PruneMethod::wanda},
                                      {"sparsegpt", PruneMethod::sparsegpt}}) {
    pruning.method = of_name;
    if (method.starts_with(name)) return prune_matrix(ctx, w, outputs, s.inputs, s, pruning).report.error;
  }
  return quantize_matrix(ctx, w, outputs, s.inputs, s, options_of(method)).report.error;
}

void run(int64_t outputs, int64_t inputs, int threads, const std::vector<std::string>& methods) {
  Context ctx({}, threads);
  const InputStatistics s = statistics_of(inputs);
  std::vector<float> w;
  for (int64_t i = 0; i < outputs * inputs; ++i) {
    w.push_back(0.02f * philox_normal4(1, static_cast<uint64_t>(i), 0)[0]);
  }
  for (const std::string& method : methods) {
    const auto start = std::chrono::steady_clock::now();
    const double before = processor_seconds();
    const double result = run_method(ctx, method, w, outputs, s);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    fmt::print("{} [{}, {}], {} threads: {:.3f} s, of processors {:.3f} s (result {:.4g})\n", method, outputs,
               inputs, threads, took.count(), processor_seconds() - before, result);
  }
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print("compress_bench OUTPUTS INPUTS [THREADS [METHOD ...]]\n");
    return 2;
  }
  std::vector<std::string> methods(argv + std::min(argc, 4), argv + argc);
  if (methods.empty()) methods = {"gptq"};
  trireme::run(std::atoll(argv[1]), std::atoll(argv[2]), argc > 3 ? std::atoi(argv[3]) : 1, methods);
  return 0;
}
