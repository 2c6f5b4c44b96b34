#include <cmath>

#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"
#include "parallel/optimizer/loss_scaler.h"

namespace trireme::launch {

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
  value.range = fmt::format("powers of two, 2^{} to 2^{}", std::ilogb(least), std::ilogb(most));
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
      {section, "loss-scale", "", loss_scale(),
       "loss scale: a constant, or dynamic, which grows until gradients overflow", "dynamic in fp16, else 1"},
      {section, "loss-scale-start", "",
       power_of_two(
           [](auto& c) -> auto& { return kScale(c).start; }, 0x1p-24, LossScaler::kLargest),
       "initial dynamic loss scale", "65536", needs_dynamic},
      {section, "loss-scale-interval", "",
       whole(
           [](auto& c) -> auto& { return kScale(c).growth_interval; }, 1),
       "raise the loss scale after N steps without overflow", "", needs_dynamic},
      {section, "loss-scale-growth", "",
       power_of_two(
           [](auto& c) -> auto& { return kScale(c).growth; }, 2, 65536),
       "growth factor of the loss scale", "", needs_dynamic},
      {section, "loss-scale-backoff", "",
       power_of_two(
           [](auto& c) -> auto& { return kScale(c).backoff; }, 0x1p-16, 0.5),
       "factor applied to the loss scale after an overflow", "", needs_dynamic},
      {section, "loss-scale-floor", "",
       power_of_two(
           [](auto& c) -> auto& { return kScale(c).floor; }, 0x1p-24, LossScaler::kLargest),
       "minimum loss scale; an overflow there ends the run", "", needs_dynamic},
  };
}

}  // namespace

std::vector<Option> precision_options() {
  const std::string section = "train";
  std::vector<Option> options = {
      {section, "precision", "",
       choice<DType>([](auto& c) -> auto& { return c.train.precision; },
                     {{"fp32", DType::f32}, {"bf16", DType::bf16}, {"fp16", DType::f16}}),
       "dtype of compute and activations; bf16 and fp16 take half the activation memory and use "
       "tensor cores; reductions are fp32",
       ""},
      {section, "fp8", "", on_off([](auto& c) -> auto& { return c.train.float8; }),
       "experimental: FP8 matrix products in the linear layers of blocks; needs train.precision bf16", "",
       [](const RunConfig& c) -> std::string {
         return c.train.precision == DType::bf16 ? "" : "it goes with --train.precision bf16";
       }},
      {section, "master", "",
       choice<bool>([](auto& c) -> auto& { return c.train.master; }, {{"fp32", true}, {"none", false}}),
       "fp32 master weights of 16-bit weights; none: update bf16 weights in place with "
       "stochastic rounding, which saves 4 bytes per parameter",
       "",
       [](const RunConfig& c) -> std::string {
         return c.train.precision == DType::f32 ? "fp32 weights are their own master" : "";
       }},
  };
  for (Option& option : loss_scale_options(section)) options.push_back(std::move(option));
  options.push_back(
      {section, "nonfinite", "",
       choice<NonFinitePolicy>([](auto& c) -> auto& { return c.train.nonfinite; },
                               {{"skip", NonFinitePolicy::skip}, {"stop", NonFinitePolicy::stop}}),
       "on a NaN or Inf in the loss or gradients: skip the update, or stop the run",
       "skip with a dynamic loss scale, else stop"});
  options.push_back({section, "max-skips", "",
                     whole(
                         [](auto& c) -> auto& { return kScale(c).most_skips; }, 1),
                     "end the run after N skipped steps in a row", "", [](const RunConfig& c) -> std::string {
                       return c.train.nonfinite == NonFinitePolicy::skip ? "" : "--train.nonfinite is stop";
                     }});
  options.push_back(
      {section, "check", "",
       choice<NonFiniteCheck>(
           [](auto& c) -> auto& { return c.train.check; },
           {{"off", NonFiniteCheck::off}, {"step", NonFiniteCheck::step}, {"op", NonFiniteCheck::op}}),
       "locate the first NaN or Inf: step: run the step again that had one; op: check the tensors "
       "between layers in every step, which costs reading them; off: do not",
       ""});
  return options;
}

}  // namespace trireme::launch
