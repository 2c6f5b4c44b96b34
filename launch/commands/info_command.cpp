#include <fmt/format.h>

#include "launch/cli/help_text.h"
#include "launch/cli/options/option_table.h"
#include "launch/cli/options_page.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "launch/commands/info_tables.h"
#include "launch/config/complete_config.h"
#include "launch/config/memory_inputs.h"
#include "launch/preflight/available_memory.h"
#include "launch/preflight/memory_advice.h"
#include "launch/report/banner.h"
#include "launch/report/number_text.h"
#include "models/cost/memory_estimate.h"
#include "models/cost/model_size.h"
#include "runtime/base/error.h"
#include "runtime/device/cuda/cuda_device.h"

namespace trireme::launch {

namespace {

std::vector<Option> info_options() {
  static constexpr std::string_view kKept[] = {"model",           "moe",           "data.tokenizer",
                                               "data.bpe-vocab",  "train.seq-len", "train.micro-batch",
                                               "train.precision", "train.master"};
  return select_options(all_options(), kKept);
}

std::string info_help() {
  const HelpLine lines[] = {
      {"--options", "print all options as docs/options.md has them"},
      {"--params", "list all parameters: name, shape, count (of a file: all tensors)"},
      {"-h, --help", "show this help"},
  };
  return fmt::format(
      "usage: trireme info                                     show this machine and the presets\n"
      "       trireme info --preset NAME [--params] [options]  show the size of a model\n"
      "       trireme info FILE.gguf [--params]                show what a GGUF file holds\n\n"
      "{}{}",
      help_lines(lines), help_options(info_options()));
}

void print_table(const ModelConfig& model) {
  fmt::print("\n  {:<40} {:>20} {:>18}\n", "parameter", "shape", "count");
  for (const ParameterInfo& row : parameter_table(model)) {
    fmt::print("  {:<40} {:>20} {:>18}\n", row.name, to_string(row.shape), grouped(row.count()));
  }
}

/// What of this model one rank could train here.
std::string fit_text(const RunConfig& config) {
  const Device device{cuda::num_devices() > 0 ? DeviceType::cuda : DeviceType::cpu, 0};
  const AvailableMemory available = available_memory(device);
  if (available.bytes == 0) return "unknown: the system does not report free memory";
  const auto bytes_of = [&](int64_t micro_batch) {
    RunConfig tried = config;
    tried.train.micro_batch = tried.train.global_batch = micro_batch;
    return estimate_memory(memory_inputs(tried, 1)).total();
  };
  const std::string has =
      fmt::format("{} has {} left", available.of, short_bytes(static_cast<double>(available.bytes)));
  constexpr int64_t kMostTried = 1 << 14;
  int64_t largest = 0;
  for (int64_t size = 1; size <= kMostTried && bytes_of(size) <= available.bytes; size *= 2) largest = size;
  if (largest == 0) {
    RunConfig least = config;
    least.train.micro_batch = least.train.global_batch = 1;
    const std::string advice = memory_advice(least, 1, available.bytes);
    return fmt::format("{}, too little for one rank even with micro-batch 1{}", has,
                       advice.empty() ? "" : "; " + advice);
  }
  return fmt::format("{}: one rank fits up to about --train.micro-batch {}{}", has, largest,
                     bytes_of(config.train.micro_batch) <= available.bytes ? "" : ", not the one above");
}

void print_model(const RunConfig& config, bool with_table) {
  const ModelConfig model = known_model(config);
  const ModelSize size = size_of(model);
  const int64_t seq_len = config.train.seq_len;
  const StateBytes state = state_bytes(size.parameters, config.train.precision, config.train.master);
  const auto bytes = [](int64_t count) { return short_bytes(static_cast<double>(count)); };
  const HelpLine lines[] = {
      {"model", model_line(model)},
      {"vocabulary", config.model.vocab_size > 0 ? fmt::to_string(model.vocab_size)
                     : model.vocab_size > 0
                         ? fmt::format("{}, of --data.tokenizer {}", model.vocab_size, config.data.tokenizer)
                         : "unknown until there is a tokenizer; counted as 0 (set it by --model.vocab "
                           "N)"},
      {"parameters", grouped(size.parameters)},
      {"without embeddings", grouped(size.non_embedding)},
      {"active per token", grouped(size.active)},
      {"FLOPs per token, forward",
       fmt::format("{:.4g} at sequence length {}", forward_flops_per_token(model, seq_len), seq_len)},
      {"FLOPs per token, training", fmt::format("{:.4g}", training_flops_per_token(model, seq_len))},
      {"state, " + precision_name(config.train.precision),
       fmt::format("{}: weights {}, gradients {}, optimizer {}", bytes(state.total()), bytes(state.weights),
                   bytes(state.gradients), bytes(state.optimizer))},
      {"predicted memory",
       fmt::format("{} (micro-batch {} x {} tokens)", memory_line(estimate_memory(memory_inputs(config, 1))),
                   config.train.micro_batch, seq_len)},
      {"here", fit_text(config)},
  };
  fmt::print("{}", help_lines(lines));
  if (with_table) print_table(model);
}

}  // namespace

void run_info(std::span<const std::string> args, const RankPlace& place) {
  if (place.rank != 0) return;
  if (asks_for_help(args)) {
    fmt::print("{}", info_help());
  } else if (args.empty()) {
    print_machine();
    print_presets();
  } else if (!args[0].starts_with('-')) {
    print_model_file(args);
  } else {
    const RunArguments arguments =
        parse_run_arguments({"info", info_options(), {"options", "params"}, false}, args, 1);
    if (arguments.switches.contains("options")) {
      fmt::print("{}", options_page());
    } else {
      print_model(arguments.config, arguments.switches.contains("params"));
    }
  }
}

}  // namespace trireme::launch
