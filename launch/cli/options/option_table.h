// Every option of a run, in the order in which they are applied: the preset, the family, then the numbers.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "launch/cli/options/option.h"

namespace trireme::launch {

struct OptionSection {
  std::string_view name;
  std::string_view title;
};

/// model, moe, data, train, qat, distill, loss, optimizer, parallel, checkpoint, run.
std::span<const OptionSection> option_sections();

/// Why an option of experts has no effect on a model that has none (Option::no_effect); empty where it has.
std::string needs_experts(const RunConfig& config);

std::vector<Option> model_options();
std::vector<Option> model_kind_options();    ///< of section model: kinds of parts, window
std::vector<Option> model_rotary_options();  ///< of section model
std::vector<Option> moe_options();
std::vector<Option> data_options();
std::vector<Option> train_options();
std::vector<Option> precision_options();  ///< of section train
std::vector<Option> loss_options();
std::vector<Option> exit_options();
std::vector<Option> quantization_options();
std::vector<Option> prune_options();
std::vector<Option> distill_options();
std::vector<Option> optimizer_options();
std::vector<Option> muon_options();  ///< of section optimizer
std::vector<Option> parallel_options();
std::vector<Option> checkpoint_options();
std::vector<Option> run_options();
/// All of the above: those of trireme train.
std::vector<Option> all_options();

/// Of trireme verify alone.
std::vector<Option> verify_options();

/// The options of `table` whose keys are listed ("train.seq-len"), or whose sections are ("model").
std::vector<Option> select_options(std::vector<Option> table,
                                   std::span<const std::string_view> keys_or_sections);

}  // namespace trireme::launch
