#include "launch/cli/options/option_table.h"

#include <algorithm>

namespace trireme::launch {

std::span<const OptionSection> option_sections() {
  static constexpr OptionSection kSections[] = {
      {"model", "Model: a preset, and options that override its values"},
      {"moe", "Mixture of experts"},
      {"data", "Data"},
      {"train", "Training"},
      {"qat", "Quantization-aware training"},
      {"prune", "Pruning while training"},
      {"distill", "Distillation"},
      {"loss", "Loss"},
      {"exit", "Early exit"},
      {"optimizer", "Optimizer and learning rate"},
      {"parallel", "Parallel layout"},
      {"checkpoint", "Checkpoints"},
      {"run", "Run"},
      {"verify", "Verification"},
  };
  return kSections;
}

std::vector<Option> all_options() {
  std::vector<Option> all;
  for (auto&& part : {model_options(), model_kind_options(), model_rotary_options(), moe_options(),
                      data_options(), train_options(), precision_options(), quantization_options(),
                      prune_options(), distill_options(), loss_options(), exit_options(), optimizer_options(),
                      parallel_options(), checkpoint_options(), run_options()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

std::vector<Option> select_options(std::vector<Option> table,
                                   std::span<const std::string_view> keys_or_sections) {
  std::erase_if(table, [&](const Option& option) {
    return std::ranges::none_of(keys_or_sections, [&](std::string_view name) {
      return name == option.section || name == option.key();
    });
  });
  return table;
}

}  // namespace trireme::launch
