// What a banner says of a run's teacher; declared in found_teacher.h.
#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/ranges.h>

#include "launch/config/complete_config.h"
#include "launch/report/banner.h"
#include "launch/report/number_text.h"
#include "launch/run/found_teacher.h"

namespace trireme::launch {

namespace {

std::string divergence_text(const DistillConfig& loss) {
  switch (loss.divergence) {
    case DivergenceKind::forward_kl:
      return "forward KL";
    case DivergenceKind::reverse_kl:
      return "reverse KL";
    case DivergenceKind::skew_forward:
      return fmt::format("skewed forward KL ({})", loss.skew);
    case DivergenceKind::skew_reverse:
      return fmt::format("skewed reverse KL ({})", loss.skew);
    case DivergenceKind::jsd:
      return fmt::format("Jensen-Shannon divergence ({})", loss.beta);
  }
  return "";
}

std::string distill_loss_text(const DistillConfig& loss) {
  std::vector<std::string> parts;
  if (loss.weight < 1) parts.push_back(fmt::format("{:.4g} cross-entropy", 1 - loss.weight));
  if (loss.weight > 0) {
    parts.push_back(fmt::format("{:.4g} {}", loss.weight, divergence_text(loss)));
    if (loss.temperature != 1) parts.back() += fmt::format(" at temperature {}", loss.temperature);
    if (loss.tokens == TeacherTokens::top_k)
      parts.back() += fmt::format(" of the teacher's {} likeliest tokens", loss.num_tokens);
    if (loss.tokens == TeacherTokens::sampled)
      parts.back() += fmt::format(" of {} tokens drawn from the teacher", loss.num_tokens);
  }
  if (loss.hidden_weight > 0)
    parts.push_back(fmt::format("{:.4g} squared difference of hidden states", loss.hidden_weight));
  return fmt::format("{}", fmt::join(parts, " + "));
}

std::string teacher_ranks_text(const FoundTeacher& teacher, const DistillChoice& distill) {
  const ParallelPlan& plan = teacher.options.plan;
  std::string degrees;
  for (const auto& [name, degree] : {std::pair{"tensor", plan.tensor}, std::pair{"pipeline", plan.pipeline},
                                     std::pair{"expert", plan.expert}}) {
    if (degree > 1) degrees += fmt::format("{}{} {}", degrees.empty() ? "" : ", ", name, degree);
  }
  return fmt::format(
      "{}, {}{}{}",
      distill.ranks > 0 ? fmt::format("ranks of its own: {}", distill.ranks) : "the student's ranks", degrees,
      degrees.empty() ? "" : ", ", plan.data == 1 ? "1 replica" : fmt::format("{} replicas", plan.data));
}

}  // namespace

std::string teacher_text(const FoundTeacher& teacher, const RunConfig& config) {
  if (teacher.tokens) {
    const TeacherDescription& description = teacher.tokens->description();
    DistillConfig loss = config.distill.loss;
    loss.tokens = description.code.kind;
    loss.num_tokens = description.code.num_tokens;
    return fmt::format("{}: tokens of {}, {} samples, {}; {}", teacher.path, description.teacher,
                       grouped(description.samples.num_samples),
                       short_bytes(static_cast<double>(teacher.tokens->bytes())), distill_loss_text(loss));
  }
  const int64_t vocab = known_vocab_size(config), of_teacher = teacher.model.vocab_size;
  std::string text = fmt::format("{}: {}; {}", teacher.path, model_line(teacher.model),
                                 distill_loss_text(config.distill.loss));
  if (vocab > 0 && vocab != of_teacher) {
    text += fmt::format("; its table has {} rows, the student's {}: the first {} are compared",
                        grouped(of_teacher), grouped(vocab), grouped(std::min(vocab, of_teacher)));
  }
  if (!teacher.tokenizer_note.empty()) text += "; " + teacher.tokenizer_note;
  const TeacherMemory memory = memory_of(teacher, config);
  if (config.distill.ranks > 0)
    text += fmt::format("; predicted {} per rank of its own",
                        short_bytes(static_cast<double>(memory_of_own_rank(teacher, config))));
  return text + fmt::format("; on {}, in {}; {} of the student's ranks, {} of it weights",
                            teacher_ranks_text(teacher, config.distill),
                            precision_name(config.distill.precision),
                            short_bytes(static_cast<double>(memory.weights + memory.activations)),
                            short_bytes(static_cast<double>(memory.weights)));
}

}  // namespace trireme::launch
