#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"

namespace trireme::launch {

namespace {

using namespace option_values;

std::string needs_teacher(const RunConfig& c) {
  return c.distill ? "" : "there is no teacher (--distill.teacher DIR)";
}

std::string needs_own_divergence(const RunConfig& c) {
  if (!c.distill) return needs_teacher(c);
  return c.distill.loss.weight > 0 ? "" : "distill.weight is 0: no divergence is minimised";
}

std::string needs_skew(const RunConfig& c) {
  const DivergenceKind kind = c.distill.loss.divergence;
  if (std::string why = needs_own_divergence(c); !why.empty()) return why;
  return kind == DivergenceKind::skew_forward || kind == DivergenceKind::skew_reverse
             ? ""
             : "it belongs to --distill.divergence skew-forward or skew-reverse";
}

std::string needs_jsd(const RunConfig& c) {
  if (std::string why = needs_own_divergence(c); !why.empty()) return why;
  return c.distill.loss.divergence == DivergenceKind::jsd ? "" : "it belongs to --distill.divergence jsd";
}

/// Numbers of [least, most].
template <class Field>
OptionValue number(Field field, double least, double most) {
  OptionValue value = real(field, least);
  value.range = fmt::format("{} to {}", least, most);
  value.set = [set = value.set, get = value.get, field, most](RunConfig& config,
                                                              const std::string& text) -> std::string {
    RunConfig changed = config;
    const std::string allowed = set(changed, text);
    if (!allowed.empty() || field(changed) > most) return fmt::format("a number of at most {}", most);
    field(config) = field(changed);
    return "";
  };
  return value;
}

constexpr int64_t kMostTokens = 4096;

/// "all", "top-k:64", "sample:12".
OptionValue tokens() {
  OptionValue value;
  value.placeholder = "all|top-k:N|sample:N";
  value.set = [](RunConfig& config, const std::string& text) -> std::string {
    DistillConfig& loss = config.distill.loss;
    const size_t colon = text.find(':');
    const std::string name = text.substr(0, colon);
    if (text == "all") {
      loss.tokens = TeacherTokens::all;
      loss.num_tokens = 0;
      return "";
    }
    const auto count = colon == std::string::npos
                           ? std::nullopt
                           : parse_number<int64_t>(std::string_view(text).substr(colon + 1));
    if ((name != "top-k" && name != "sample") || !count || *count < 1 || *count > kMostTokens)
      return fmt::format("all, top-k:N or sample:N, with N from 1 to {}", kMostTokens);
    loss.tokens = name == "top-k" ? TeacherTokens::top_k : TeacherTokens::sampled;
    loss.num_tokens = *count;
    return "";
  };
  value.get = [](const RunConfig& config) -> std::string {
    const DistillConfig& loss = config.distill.loss;
    if (loss.tokens == TeacherTokens::all) return "all";
    return fmt::format("{}:{}", loss.tokens == TeacherTokens::top_k ? "top-k" : "sample", loss.num_tokens);
  };
  return value;
}

std::vector<Option> loss_rows(const std::string& section) {
  constexpr auto kLoss = [](auto& c) -> auto& { return c.distill.loss; };
  return {
      {section, "divergence", "",
       choice<DivergenceKind>([=](auto& c) -> auto& { return kLoss(c).divergence; },
                              {{"forward-kl", DivergenceKind::forward_kl},
                               {"reverse-kl", DivergenceKind::reverse_kl},
                               {"skew-forward", DivergenceKind::skew_forward},
                               {"skew-reverse", DivergenceKind::skew_reverse},
                               {"jsd", DivergenceKind::jsd}}),
       "how far the student is from the teacher: KL(teacher || student), KL(student || teacher), either "
       "against a mixture of both (DistiLLM), or the Jensen-Shannon divergence",
       "", needs_own_divergence},
      {section, "weight", "",
       number(
           [=](auto& c) -> auto& { return kLoss(c).weight; }, 0, 1),
       "part of the divergence in the loss; the rest is the cross-entropy with the data", "", needs_teacher},
      {section, "temperature", "",
       real(
           [=](auto& c) -> auto& { return kLoss(c).temperature; }, 1e-2),
       "temperature of both distributions in the divergence, which is multiplied by its square", "",
       needs_own_divergence},
      {section, "skew", "",
       real(
           [=](auto& c) -> auto& { return kLoss(c).skew; }, 0, 1),
       "part of the other distribution in the mixture", "", needs_skew},
      {section, "beta", "",
       real(
           [=](auto& c) -> auto& { return kLoss(c).beta; }, 1e-3, 1),
       "part of the teacher in the mixture of jsd", "", needs_jsd},
      {section, "tokens", "", tokens(),
       "of which tokens the teacher's probabilities count: all; the N likeliest, and all others as one; or N "
       "drawn ones, which are right on average",
       "", needs_own_divergence},
      {section, "hidden-weight", "",
       real(
           [=](auto& c) -> auto& { return kLoss(c).hidden_weight; }, 0),
       "coefficient of the squared distance of the last hidden states, each of length 1, of a student as "
       "wide "
       "as its teacher; 0: off",
       "", needs_teacher},
  };
}

}  // namespace

std::vector<Option> distill_options() {
  const std::string section = "distill";
  std::vector<Option> options = {
      {section, "teacher", "",
       text(
           [](auto& c) -> auto& { return c.distill.teacher; }, "DIR"),
       "learn from this model too: a run, a checkpoint, a directory of transformers or a GGUF file, with the "
       "same tokenizer; or from tokens that trireme teacher has written",
       "none"},
  };
  for (Option& option : loss_rows(section)) options.push_back(std::move(option));
  const auto layout = [&](const char* name, int DistillChoice::*field, const char* help) {
    return Option{section,
                  name,
                  "",
                  whole(
                      [=](auto& c) -> auto& { return c.distill.*field; }, 1, 1 << 20),
                  help,
                  "",
                  needs_teacher};
  };
  options.push_back({section, "ranks", "",
                     whole(
                         [](auto& c) -> auto& { return c.distill.ranks; }, 0, 1 << 20),
                     "ranks that have the teacher, the last of the job, beside those of the student; 0: both "
                     "are on all ranks",
                     "", needs_teacher});
  options.push_back(layout("tensor", &DistillChoice::tensor, "tensor-parallel degree of the teacher"));
  options.push_back(layout("pipeline", &DistillChoice::pipeline, "pipeline stages of the teacher"));
  options.push_back(layout("expert", &DistillChoice::expert, "expert-parallel degree of the teacher"));
  options.push_back({section, "precision", "",
                     choice<DType>([](auto& c) -> auto& { return c.distill.precision; },
                                   {{"fp32", DType::f32}, {"bf16", DType::bf16}}),
                     "dtype in which the teacher computes", "bf16 where the student has 16 bits, else fp32",
                     needs_teacher});
  options.push_back({section, "weights", "",
                     choice<std::string>([](auto& c) -> auto& { return c.distill.weights; },
                                         {{"as-stored", ""},
                                          {"f32", "f32"},
                                          {"bf16", "bf16"},
                                          {"int8", "int8"},
                                          {"int4", "int4"},
                                          {"fp8", "fp8"}}),
                     "how the teacher's matrices are held; as-stored: as the file has them, blocks of GGUF "
                     "files and codes of quantized ones too",
                     "", needs_teacher});
  return options;
}

}  // namespace trireme::launch
