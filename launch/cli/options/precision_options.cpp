#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"
#include "parallel/optimizer/loss_scaler.h"

namespace trireme {

namespace {

using namespace option_values;

constexpr auto kScale = [](auto& c) -> auto& { return c.train.loss_scale; };

bool is_power_of_two(double x) {
  int exponent = 0;
  return std::frexp(x, &exponent) == 0.5;
}

/// Powers of two of [least, most].
template <class Field>
OptionValue power_of_two(Field field, double least, double most) {
  OptionValue value = real(field, least, most * 2);
  value.set = [=, set = value.set](RunConfig& config, const std::string& text) -> std::string {
    RunConfig tried = config;
    if (!set(tried, text).empty() || !is_power_of_two(field(tried))) {
      return fmt::format("a power of two from {} to {}", least, most);
    }
    field(config) = field(tried);
    return "";
  };
  return value;
}

OptionValue loss_scale() {
  const auto start = [](auto& c) -> auto& { return kScale(c).start; };
  OptionValue value = power_of_two(start, 0x1p-24, LossScaler::kLargest);
  value.placeholder = "dynamic|X";
  value.set = [set = value.set](RunConfig& config, const std::string& text) -> std::string {
    LossScaleConfig& scale = config.train.loss_scale;
    if (text == "dynamic") {
      scale.dynamic = true;
      scale.start = LossScaleConfig::kDynamicStart;
      return "";
    }
    const std::string allowed = set(config, text);
    if (!allowed.empty()) return "dynamic, or " + allowed;
    scale.dynamic = false;
    return "";
  };
  value.get = [](const RunConfig& config) {
    const LossScaleConfig& scale = config.train.loss_scale;
    return scale.dynamic ? std::string("dynamic") : fmt::to_string(scale.start);
  };
  return value;
}

std::string needs_dynamic(const RunConfig& c) {
  return c.train.loss_scale.dynamic ? "" : "it belongs to --train.loss-scale dynamic";
}

std::vector<Option> loss_scale_options(const std::string& section) {
  return {
      {section, "loss-scale", "", loss_scale(), "factor on the loss; dynamic: grows until gradients overflow",
       "dynamic in fp16, else 1"},
      {section, "loss-scale-start", "",
       power_of_two(
           [](auto& c) -> auto& { return kScale(c).start; }, 0x1p-24, LossScaler::kLargest),
       "first scale", "65536", needs_dynamic},
      {section, "loss-scale-interval", "",
       whole(
           [](auto& c) -> auto& { return kScale(c).growth_interval; }, 1),
       "steps without overflow after which the scale grows", "", needs_dynamic},
      {section, "loss-scale-growth", "",
       power_of_two(
           [](auto& c) -> auto& { return kScale(c).growth; }, 2, 65536),
       "factor of growth", "", needs_dynamic},
      {section, "loss-scale-backoff", "",
       power_of_two(
           [](auto& c) -> auto& { return kScale(c).backoff; }, 0x1p-16, 0.5),
       "factor after an overflow", "", needs_dynamic},
      {section, "loss-scale-floor", "",
       power_of_two(
           [](auto& c) -> auto& { return kScale(c).floor; }, 0x1p-24, LossScaler::kLargest),
       "least scale; an overflow there ends the run", "", needs_dynamic},
  };
}

}  // namespace

std::vector<Option> precision_options() {
  const std::string section = "train";
  std::vector<Option> options = {
      {section, "precision", "",
       choice<DType>([](auto& c) -> auto& { return c.train.precision; },
                     {{"fp32", DType::f32}, {"bf16", DType::bf16}, {"fp16", DType::f16}}),
       "of compute and activations; reductions are fp32", ""},
      {section, "fp8", "", on_off([](auto& c) -> auto& { return c.train.float8; }),
       "experimental: the blocks' linear layers multiply in 8 bits", "",
       [](const RunConfig& c) -> std::string {
         return c.train.precision == DType::bf16 ? "" : "it goes with --train.precision bf16";
       }},
      {section, "master", "",
       choice<bool>([](auto& c) -> auto& { return c.train.master; }, {{"fp32", true}, {"none", false}}),
       "copy of 16-bit weights that is updated; none: bf16 weights are, rounded stochastically", "",
       [](const RunConfig& c) -> std::string {
         return c.train.precision == DType::f32 ? "fp32 weights are their own master" : "";
       }},
  };
  for (Option& option : loss_scale_options(section)) options.push_back(std::move(option));
  options.push_back(
      {section, "nonfinite", "",
       choice<NonFinitePolicy>([](auto& c) -> auto& { return c.train.nonfinite; },
                               {{"skip", NonFinitePolicy::skip}, {"stop", NonFinitePolicy::stop}}),
       "what becomes of a step with a non-finite loss or gradient",
       "skip with a dynamic loss scale, else stop"});
  options.push_back({section, "max-skips", "",
                     whole(
                         [](auto& c) -> auto& { return kScale(c).most_skips; }, 1),
                     "skipped steps in a row that end the run", "", [](const RunConfig& c) -> std::string {
                       return c.train.nonfinite == NonFinitePolicy::skip ? "" : "--train.nonfinite is stop";
                     }});
  options.push_back(
      {section, "check", "",
       choice<NonFiniteCheck>(
           [](auto& c) -> auto& { return c.train.check; },
           {{"off", NonFiniteCheck::off}, {"step", NonFiniteCheck::step}, {"op", NonFiniteCheck::op}}),
       "name the first non-finite value; step: by running such a step again; op: by a look at every "
       "tensor",
       ""});
  return options;
}

}  // namespace trireme
