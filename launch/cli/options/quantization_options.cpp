#include <fmt/ranges.h>

#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"

namespace trireme::launch {

namespace {

using namespace option_values;
using ops::Activations;
using ops::PackedFormat;

constexpr auto kQuantization = [](auto& c) -> auto& { return c.model.quantization; };

std::string needs_weights(const RunConfig& c) {
  return c.model.quantization ? "" : "it belongs to --qat.weights int8, int4 or fp8";
}

std::string needs_integers(const RunConfig& c) {
  return c.model.quantization.weights.format == PackedFormat::fp8
             ? "fp8 has a power of two as the scale of each output"
             : needs_weights(c);
}

OptionValue asymmetric() {
  OptionValue value = on_off([](auto& c) -> auto& { return kQuantization(c).weights.symmetric; });
  const auto turned = [](std::string text) { return text == "on" ? "off" : "on"; };
  value.set = [set = value.set, get = value.get, turned](RunConfig& config, const std::string& text) {
    std::string allowed = set(config, text);
    if (allowed.empty()) set(config, turned(get(config)));
    return allowed;
  };
  value.get = [get = value.get, turned](const RunConfig& config) -> std::string {
    return turned(get(config));
  };
  return value;
}

}  // namespace

std::vector<Option> quantization_options() {
  const std::string section = "qat";
  return {
      {section, "weights", "",
       choice<PackedFormat>([](auto& c) -> auto& { return kQuantization(c).weights.format; },
                            {{"none", PackedFormat::f32},
                             {"int8", PackedFormat::int8},
                             {"int4", PackedFormat::int4},
                             {"fp8", PackedFormat::fp8}}),
       "quantization-aware training: the matrices of blocks compute, forward, as the quantized model will, "
       "bit for bit, and gradients pass straight through the rounding",
       ""},
      {section, "group", "",
       choice<int64_t>([](auto& c) -> auto& { return kQuantization(c).weights.group; },
                       {{"0", 0}, {"32", 32}, {"64", 64}, {"128", 128}}),
       "inputs of an output that share a scale; 0: all (per channel)", "", needs_integers},
      {section, "asymmetric", "", asymmetric(),
       "groups have a zero of their own, from their smallest and largest value", "", needs_integers},
      {section, "activations", "",
       choice<Activations>([](auto& c) -> auto& { return kQuantization(c).activations; },
                           {{"exact", Activations::exact},
                            {"int8", Activations::int8},
                            {"int8-rows", Activations::int8_rows}}),
       "what codes are multiplied with: activations as they are, or in int8 with a scale for 32 inputs or "
       "for "
       "a row (CPU alone: a GPU multiplies exactly)",
       "", needs_weights},
      {section, "scales", "",
       choice<bool>([](auto& c) -> auto& { return kQuantization(c).learned_scales; },
                    {{"measured", false}, {"learned", true}}),
       "scales of the blocks' matrices: measured from the weights in every pass, or parameters of their own "
       "that are trained (LSQ)",
       "", needs_integers},
      {section, "skip", "", patterns([](auto& c) -> auto& { return kQuantization(c).skip; }),
       "patterns (*) of names of matrices of blocks that are not quantized, as layers.0.*; query, key and "
       "value go together, as do gate and up, and all experts of a block",
       "none", needs_weights},
      {section, "embedding", "", on_off([](auto& c) -> auto& { return kQuantization(c).embedding; }),
       "the token table too, with measured scales; where it is the head (model.tied) both", "",
       needs_weights},
      {section, "head", "", on_off([](auto& c) -> auto& { return kQuantization(c).head; }),
       "the head too, with measured scales", "", needs_weights},
      {section, "start-step", "",
       whole(
           [](auto& c) -> auto& { return c.qat.start_step; }, 0),
       "train the first N steps without quantization; learned scales are measured then", "", needs_weights},
  };
}

}  // namespace trireme::launch
