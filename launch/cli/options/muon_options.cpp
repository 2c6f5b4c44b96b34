#include <optional>

#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"
#include "launch/cli/options/parameter_rules_text.h"
#include "launch/config/optimizer_choice.h"

namespace trireme::launch {

namespace {

using namespace option_values;

std::string needs_muon(const RunConfig& c) {
  return uses_muon(c.optimizer) ? "" : "it belongs to --optimizer.kind muon";
}

OptionValue rules() {
  OptionValue value;
  value.placeholder = "RULES";
  value.set = [](RunConfig& config, const std::string& text) {
    const std::string error = parse_parameter_rules(text, config.optimizer.rules);
    return error.empty() ? "" : "PATTERN: KEY=VALUE ...; ... (docs/optimizers.md): " + error;
  };
  value.get = [](const RunConfig& config) { return text_of(config.optimizer.rules); };
  return value;
}

}  // namespace

std::vector<Option> muon_options() {
  const std::string section = "optimizer";
  return {
      {section, "muon-lr", "",
       real(
           [](auto& c) -> auto& { return c.optimizer.muon_lr; }, 0),
       "peak learning rate of Muon, on the same schedule; 0: optimizer.lr", "optimizer.lr", needs_muon},
      {section, "muon-momentum", "",
       real(
           [](auto& c) -> auto& { return c.optimizer.muon_momentum; }, 0, 1),
       "momentum of Muon", "", needs_muon},
      {section, "muon-nesterov", "", on_off([](auto& c) -> auto& { return c.optimizer.muon_nesterov; }),
       "use Nesterov momentum in Muon", "", needs_muon},
      {section, "muon-ns-steps", "",
       whole(
           [](auto& c) -> auto& { return c.optimizer.muon_ns_steps; }, 1, 100),
       "Newton-Schulz iterations of Muon per update", "", needs_muon},
      {section, "muon-precision", "",
       choice<std::optional<DType>>([](auto& c) -> auto& { return c.optimizer.muon_precision; },
                                    {{"auto", std::nullopt}, {"fp32", DType::f32}, {"bf16", DType::bf16}}),
       "dtype of the Newton-Schulz products; auto: fp32 with train.precision fp32, else bf16", "",
       needs_muon},
      {section, "rules", "", rules(),
       "set optimizer, learning rate, weight decay and freezing per parameter (docs/optimizers.md)", "none"},
  };
}

}  // namespace trireme::launch
