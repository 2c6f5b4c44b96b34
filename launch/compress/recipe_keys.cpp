#include "launch/compress/recipe_keys.h"

#include <algorithm>

#include "launch/cli/plain_choices.h"
#include "launch/compress/recipe_setters.h"
#include "launch/compress/step_methods.h"

namespace trireme::launch {

namespace {

using ops::PackedFormat;
using option_values::parse_number;

template <class T>
SetKey key_number_into(std::optional<T>& field, double least, double most) {
  return [&field, least, most](const std::string& text) -> std::string {
    const auto number = parse_number<double>(text);
    if (!number || !(*number >= least) || !(*number <= most))
      return fmt::format("a number from {} to {}", least, most);
    field = static_cast<T>(*number);
    return "";
  };
}

SetKey part_into(std::optional<double>& field, const char* allowed) {
  return [&field, allowed](const std::string& text) -> std::string {
    const auto part = parse_part(text);
    if (!part || !(*part >= 0)) return allowed;
    field = *part;
    return "";
  };
}

SetKey spec_into(std::optional<ops::PackedSpec>& field) {
  return [&field](const std::string& text) -> std::string {
    field.reset();
    if (text == "none") return "";
    field = parse_spec(text);
    return field ? "" : "int8, int4, either with :GROUP and :asymmetric behind it, fp8, or none";
  };
}

SetKey key_list_into(std::vector<std::string>& field) {
  return [&field](const std::string& text) -> std::string {
    field.clear();
    for (std::string& part : split_at(text, ',')) {
      if (part.empty()) return "patterns with commas between them, such as *.down.weight,layers.0.*";
      field.push_back(std::move(part));
    }
    return "";
  };
}

SetKey widths_into(std::vector<ops::PackedSpec>& field) {
  return [&field](const std::string& text) -> std::string {
    field.clear();
    for (const std::string& part : split_at(text, ',')) {
      const auto spec = parse_spec(part);
      if (!spec) return "formats as of --embedding with commas between them, such as int4:64,int8:64";
      field.push_back(*spec);
    }
    return "";
  };
}

SetKey method_into(std::string& field) {
  return [&field](const std::string& text) -> std::string {
    std::string names, of_recipes;
    bool is_one = false;
    const auto add = [&](std::string& into, const char* name) {
      into += fmt::format("{}{}", into.empty() ? "" : ", ", name);
      is_one |= text == name;
    };
    for (const MethodName& method : kMethods) add(names, method.name);
    for (const auto& [name, method] : kPruneMethods) add(names, name);
    for (const OtherMethod& method : kOtherMethods)
      add(method.is_of_recipes ? of_recipes : names, method.name);
    if (!is_one) return fmt::format("{}; in recipes {} too", names, of_recipes);
    field = text;
    return "";
  };
}

std::vector<PlainOption> mixed_keys(StepDraft& draft) {
  QuantizeStep& q = draft.step.quantize;
  return {
      {"mixed.widths", "SPEC,SPEC,...",
       "a format for each matrix, chosen among these by what it costs: the least loss within a budget",
       "one format for all", widths_into(q.widths)},
      {"mixed.budget-bits", "X", "mean bits of a weight at most, scales included", "none",
       key_number_into(q.budget_bits, 1, 32)},
      {"mixed.budget-damage", "X", "predicted rise of the KL divergence at most, in nats a token", "none",
       key_number_into(q.budget_damage, 0, 1e6)},
  };
}

std::vector<PlainOption> weight_keys(StepDraft& draft) {
  QuantizeStep& q = draft.step.quantize;
  using Formats = std::optional<PackedFormat>;
  return {
      {"weights", "int8|int4|fp8", "format of the matrices of layers", "int4",
       one_of<Formats>(
           draft.weights,
           {{"int8", PackedFormat::int8}, {"int4", PackedFormat::int4}, {"fp8", PackedFormat::fp8}})},
      {"group", "32|64|128|0", "so many weights of a row share a scale; 0: the whole row", "64",
       one_of<int64_t>(draft.group, {{"32", 32}, {"64", 64}, {"128", 128}, {"0", 0}})},
      {"asymmetric", "on|off", "groups have a zero point too", "off", on_off_into(draft.is_asymmetric)},
      {"embedding", "SPEC",
       "format of the token table, which a tied head reads: int8, int4:64, int4:32:asymmetric, fp8, none",
       "none", spec_into(q.embedding)},
      {"head", "SPEC", "the same of a head with a matrix of its own", "none", spec_into(q.head)},
      {"skip", "PATTERN,...", "matrices that stay as they are: names, * stands for anything", "none",
       key_list_into(q.skip)},
      {"activations", "int8|int8-rows|exact",
       "with which the result is calibrated and measured: in 8 bits by blocks of 32 inputs, as trireme "
       "generate does, with one scale a token, or exactly as they are",
       "int8",
       one_of<std::optional<ops::Activations>>(draft.activations,
                                               {{"exact", ops::Activations::exact},
                                                {"int8", ops::Activations::int8},
                                                {"int8-rows", ops::Activations::int8_rows}})},
  };
}

}  // namespace

std::vector<PlainOption> method_keys(StepDraft& draft) {
  std::vector<PlainOption> keys = {{"method", "NAME",
                                    "nearest, gptq, awq, smoothquant, awq+gptq or smoothquant+gptq; "
                                    "magnitude, wanda or sparsegpt; cut or share "
                                    "(docs/compression-methods.md)",
                                    "gptq", method_into(draft.method)}};
  for (const auto& more : {weight_keys(draft), mixed_keys(draft)})
    keys.insert(keys.end(), more.begin(), more.end());
  keys.insert(
      keys.end(),
      {{"order", "as-is|static-groups|groups",
        "gptq: columns in their order, or by falling diagonal of the Hessian, with groups of neighbours or "
        "of "
        "the sorted columns",
        "static-groups",
        one_of<std::optional<ColumnOrder>>(draft.order, {{"as-is", ColumnOrder::as_is},
                                                         {"static-groups", ColumnOrder::static_groups},
                                                         {"groups", ColumnOrder::groups}})},
       {"damping", "X",
        "gptq, sparsegpt: of the mean of the Hessian's diagonal, added to it; grows where it must", "0.01",
        key_number_into(draft.damping, 0, 1)},
       {"clips", "on|off", "scales that clip where the layer's output has the least error then",
        "on with awq, else off", on_off_into(draft.clips)},
       {"strength", "X", "smoothquant: how much of the difficulty goes from activations to weights", "0.5",
        key_number_into(draft.strength, 0, 1)},
       {"sequential", "on|off", "layers are calibrated on what the quantized or pruned ones before them give",
        "on", on_off_into(draft.is_sequential)}});
  return keys;
}

std::vector<PlainOption> gate_keys(Gate& gate) {
  constexpr const char* kParts = "a part, such as 2% or 1/6";
  return {
      {"gate.perplexity", "+P%", "most that the perplexity may rise above the base's", "none",
       part_into(gate.perplexity, kParts)},
      {"gate.kl", "X", "most of the mean KL(base || result), nats a token", "none",
       key_number_into(gate.divergence, 0, 1e6)},
      {"gate.same-top", "P%", "least share of tokens with the base's likeliest token", "none",
       part_into(gate.same_top, kParts)},
      {"gate.size", "1/N", "most bytes, as a part of the weights' in fp32", "none",
       part_into(gate.size, kParts)},
  };
}

std::vector<PlainOption> calibration_keys(Calibration& c) {
  return {
      {"calibration.text", "FILE", "text, JSON lines with \"text\", or a token file",
       "the run's training text, else texts that the model writes itself", text_into(c.text)},
      {"calibration.samples", "N", "samples", "128", whole_into(c.samples, 1, 1 << 20)},
      {"calibration.seq-len", "N", "tokens of a sample", "512, at most the model's",
       whole_into(c.seq_len, 1, int64_t{1} << 30)},
      {"calibration.seed", "N", "of the samples' places", "1", whole_into(c.seed, 0, INT64_MAX)},
      {"calibration.all-experts", "", "every expert is calibrated on all tokens; outputs stay", "",
       switch_into(c.all_experts)},
  };
}

std::vector<PlainOption> recipe_only_keys(StepDraft& draft) {
  return {
      {"steps", "N", "distill, train, qat: steps of training", "none",
       [&draft](const std::string& text) {
         int64_t steps = 0;
         const std::string allowed = whole_into(steps, 1, int64_t{1} << 40)(text);
         if (allowed.empty()) draft.training_steps = steps;
         return allowed;
       }},
      {"format", "NAME", "export: compressed-tensors, gptq, awq or gguf", "none",
       [&draft](const std::string& text) -> std::string {
         for (const char* name : {"compressed-tensors", "gptq", "awq", "gguf"}) {
           if (text == name) return draft.format = text, "";
         }
         return "one of compressed-tensors, gptq, awq, gguf";
       }},
      {"type", "NAME", "export to gguf: q8_0, q4_0 or q4_k_m", "none",
       [&draft](const std::string& text) -> std::string {
         for (const char* name : {"q8_0", "q4_0", "q4_k_m"}) {
           if (text == name) return draft.type = text, "";
         }
         return "one of q8_0, q4_0, q4_k_m";
       }},
  };
}

}  // namespace trireme::launch
