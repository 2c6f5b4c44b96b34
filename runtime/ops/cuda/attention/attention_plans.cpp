#include "runtime/ops/attention/attention_by_cudnn.h"
#include "runtime/ops/cuda/attention/attention_library.h"

namespace trireme::ops::cuda {

AttentionPlans::AttentionPlans(const OpSettings& settings, std::unique_ptr<AttentionLibrary> library)
    : settings_(settings), library_(std::move(library)) {}

const AttentionPlan* AttentionPlans::find(const AttentionProblem& problem, bool is_aligned) {
  if (settings_.attention == AttentionChoice::own) return nullptr;
  if (!library_) return refuse(problem, "the program was built without it");
  if (const std::string why = why_not_by_cudnn(problem.shape, problem.dtype); !why.empty()) {
    return refuse(problem, why);
  }
  if (!is_aligned) return refuse(problem, "rows do not begin at multiples of 16 bytes");
  auto known = answers_.find(problem);
  if (known == answers_.end()) known = answers_.emplace(problem, ask(problem)).first;
  const AttentionAnswer& answer = known->second;
  return answer.plan ? answer.plan.get() : refuse(problem, answer.why_not);
}

AttentionAnswer AttentionPlans::ask(const AttentionProblem& problem) {
  AttentionAnswer answer = library_->plan(problem);
  if (!answer.plan) return answer;
  const int64_t bytes = answer.plan->workspace_bytes(), most = settings_.attention_workspace;
  if (bytes <= most) return answer;
  constexpr double kMib = 1 << 20;
  return {nullptr,
          fmt::format(
              "it needs a workspace of {:.1f} MiB, but run.attention-workspace-mib allows {:.1f}{}",
              static_cast<double>(bytes) / kMib, static_cast<double>(most) / kMib,
              problem.is_backward && problem.is_deterministic ? "; --run.deterministic off needs less" : "")};
}

const AttentionPlan* AttentionPlans::refuse(const AttentionProblem& problem, const std::string& why) const {
  const AttentionShape& s = problem.shape;
  const bool is_single = s.q_len == 1 && s.kv_len == 1;
  if (settings_.attention != AttentionChoice::cudnn || is_single) return nullptr;
  throw_usage(
      "run.attention cudnn: cuDNN does not support the {} of {}: {}; use --run.attention auto, which "
      "falls back to own kernels",
      problem.is_backward ? "backward pass" : "forward pass", describe(s, problem.dtype), why);
}

}  // namespace trireme::ops::cuda
