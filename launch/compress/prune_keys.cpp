// Keys of steps that prune, cut and share, and which keys of a step were given.
#include "launch/cli/plain_choices.h"
#include "launch/compress/recipe_keys.h"
#include "launch/compress/recipe_setters.h"

namespace trireme::launch {

namespace {

using option_values::parse_number;

SetKey pattern_into(PruneOptions& options) {
  return [&options](const std::string& text) -> std::string {
    const std::vector<std::string> parts = split_at(text, ':');
    const auto zeros = parse_number<int64_t>(parts.front()), of = parse_number<int64_t>(parts.back());
    if (parts.size() != 2 || !zeros || !of || *zeros < 1 || *of <= *zeros || *of > 128)
      return "N:M, N zeros of every M neighbouring inputs, such as 2:4; M at most 128";
    options.zeros = *zeros;
    options.of = *of;
    return "";
  };
}

SetKey amount_into(CutAmount& field) {
  return [&field](const std::string& text) -> std::string {
    const auto amount = parse_amount(text);
    if (!amount) return "the part that goes, such as 30%, or the number that stays, such as 4";
    field = *amount;
    return "";
  };
}

SetKey size_into(std::optional<double>& field) {
  return [&field](const std::string& text) -> std::string {
    const auto part = parse_part(text);
    if (!part || !(*part > 0) || !(*part < 1)) return "a part above 0 and below 1, such as 1/2 or 60%";
    field = *part;
    return "";
  };
}

SetKey sparsity_into(std::optional<double>& field) {
  return [&field](const std::string& text) -> std::string {
    const auto part = parse_part(text);
    if (!part || !(*part > 0) || !(*part < 1)) return "a part above 0 and below 1, such as 50%";
    field = *part;
    return "";
  };
}

}  // namespace

std::vector<std::string> StepDraft::given_keys() const {
  const QuantizeStep& q = step.quantize;
  const CutStep& cut = step.cut;
  const std::pair<const char*, bool> kKeys[] = {{"weights", weights.has_value()},
                                                {"group", group.has_value()},
                                                {"asymmetric", is_asymmetric.has_value()},
                                                {"embedding", q.embedding.has_value()},
                                                {"head", q.head.has_value()},
                                                {"skip", !q.skip.empty()},
                                                {"activations", activations.has_value()},
                                                {"mixed.widths", !q.widths.empty()},
                                                {"mixed.budget-bits", q.budget_bits.has_value()},
                                                {"mixed.budget-damage", q.budget_damage.has_value()},
                                                {"order", order.has_value()},
                                                {"damping", damping.has_value()},
                                                {"clips", clips.has_value()},
                                                {"strength", strength.has_value()},
                                                {"sequential", is_sequential.has_value()},
                                                {"sparsity", sparsity.has_value()},
                                                {"pattern", step.prune.options.of > 0},
                                                {"scope", scope.has_value()},
                                                {"global", is_global.has_value()},
                                                {"neurons", bool(cut.neurons)},
                                                {"heads", bool(cut.heads)},
                                                {"kv-groups", bool(cut.kv_groups)},
                                                {"experts", bool(cut.experts)},
                                                {"layers", bool(cut.layers)},
                                                {"size", step.share.size.has_value()},
                                                {"grouping", grouping.has_value()},
                                                {"values", values.has_value()},
                                                {"steps", training_steps.has_value()},
                                                {"format", !format.empty()},
                                                {"type", !type.empty()}};
  std::vector<std::string> given;
  for (const auto& [name, is_given] : kKeys) {
    if (is_given) given.emplace_back(name);
  }
  return given;
}

std::vector<PlainOption> prune_keys(StepDraft& draft) {
  CutStep& cut = draft.step.cut;
  return {
      {"sparsity", "P%", "magnitude, wanda, sparsegpt: part of the weights of layers that become zero", "50%",
       sparsity_into(draft.sparsity)},
      {"pattern", "N:M", "in its place: N zeros of every M neighbouring inputs", "none",
       pattern_into(draft.step.prune.options)},
      {"scope", "output|matrix", "among which weights those are chosen that matter least",
       "wanda output, magnitude matrix",
       one_of<std::optional<PruneScope>>(draft.scope,
                                         {{"output", PruneScope::output}, {"matrix", PruneScope::matrix}})},
      {"global", "on|off", "the sparsity is that of all matrices together: each has its own", "off",
       on_off_into(draft.is_global)},
      {"neurons", "P%|N", "cut: part of the neurons of feed-forward networks that goes, or number that stays",
       "none", amount_into(cut.neurons)},
      {"heads", "P%|N", "cut: the same of query heads", "none", amount_into(cut.heads)},
      {"kv-groups", "P%|N", "cut: of key-value heads with their query heads", "none",
       amount_into(cut.kv_groups)},
      {"experts", "P%|N", "cut: of experts", "none", amount_into(cut.experts)},
      {"layers", "P%|N", "cut: of layers; share: of layers with weights of their own", "none",
       amount_into(cut.layers)},
      {"size", "1/N", "share: in place of layers, most parameters, as a part of those there are", "none",
       size_into(draft.step.share.size)},
      {"grouping", "adjacent|likeness", "share: neighbours alone, or any layers", "adjacent",
       one_of<std::optional<FoldGrouping>>(
           draft.grouping, {{"adjacent", FoldGrouping::adjacent}, {"likeness", FoldGrouping::likeness}})},
      {"values", "measured|best|mean",
       "share: whose weights layers get: whichever of theirs or their mean measures best, those of the layer "
       "most "
       "like the others, or the mean",
       "measured",
       one_of<std::optional<FoldValues>>(
           draft.values,
           {{"measured", FoldValues::measured}, {"best", FoldValues::best}, {"mean", FoldValues::mean}})},
  };
}

}  // namespace trireme::launch
