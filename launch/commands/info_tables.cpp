#include "launch/commands/info_tables.h"

#include <vector>

#include <fmt/format.h>

#include "launch/cli/help_text.h"
#include "launch/commands/gguf_info.h"
#include "launch/process/build_info.h"
#include "launch/report/number_text.h"
#include "models/cost/model_size.h"
#include "models/families/presets.h"
#include "runtime/base/error.h"
#include "runtime/device/context.h"
#include "runtime/device/cpu/cpu_device.h"
#include "runtime/device/cuda/cuda_device.h"
#include "runtime/ops/gemm/gemm.h"

namespace trireme::launch {

namespace {

/// How products of a type are computed here.
std::string gemm_text(Context& ctx, DType dtype) {
  return ops::has_native_gemm(ctx, dtype) ? "native" : "emulated in fp32 on rounded values";
}

/// The sizes of a model whose vocabulary may be open.
std::string parameters_text(const ModelConfig& model) {
  return model.vocab_size > 0 ? short_count(static_cast<double>(size_of(model).parameters))
                              : short_count(static_cast<double>(size_of(model).parameters)) + " + vocab";
}

}  // namespace

void print_machine() {
  Context ctx;
  const BuildInfo build = build_info();
  std::vector<HelpLine> lines = {
      {"version", fmt::format("{} ({})", build.version, build.compiler)},
      {"processor", cpu::processor_name()},
      {"cores", fmt::format("{} for this process", cpu::num_available_cores())},
      {"matrix instructions", cpu::matrix_isa()},
      {"matrix products in bf16", gemm_text(ctx, DType::bf16)},
      {"matrix products in fp16", gemm_text(ctx, DType::f16)},
      {"CUDA devices", cuda::num_devices() > 0 ? fmt::to_string(cuda::num_devices())
                                               : fmt::format("none: {}", cuda::why_no_device())},
  };
  for (const auto& [name, version] : build.libraries) lines.emplace_back("built with " + name, version);
  fmt::print("{}", help_lines(lines));
}

void print_presets() {
  fmt::print("\n  {:<17} {:>12} {:>7} {:>7} {:>8} {:>8} {:>7}  {}\n", "preset", "parameters", "layers",
             "hidden", "heads", "ffn", "vocab", "");
  for (const Preset& preset : presets()) {
    const ModelConfig& c = preset.config;
    const std::string heads = c.num_kv_heads == c.num_heads
                                  ? fmt::to_string(c.num_heads)
                                  : fmt::format("{}/{}", c.num_heads, c.num_kv_heads);
    fmt::print("  {:<17} {:>12} {:>7} {:>7} {:>8} {:>8} {:>7}  {}\n", c.name, parameters_text(c),
               c.num_layers, c.hidden_size, heads, c.ffn_size,
               c.vocab_size > 0 ? fmt::to_string(c.vocab_size) : "-", preset.description);
  }
  fmt::print(
      "\nheads: query/key-value; vocab -: the tokenizer's. More: trireme info --preset NAME --params\n");
}

void print_model_file(std::span<const std::string> args) {
  const bool with_tensors = args.size() == 2 && args[1] == "--params";
  if (args.size() > 1 && !with_tensors) {
    throw_usage("trireme info {} takes --params alone, not '{}'", args[0],
                args[1] == "--params" ? args[2] : args[1]);
  }
  fmt::print("{}", gguf_info(args[0], with_tensors));
}

}  // namespace trireme::launch
