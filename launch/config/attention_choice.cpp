#include "launch/config/attention_choice.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/ops/attention/attention_by_cudnn.h"

namespace trireme::launch {

std::string why_no_cudnn(const RunOptions& run) {
  if (run.attention == AttentionChoice::own) return "run.attention is own";
  if (run.device == DeviceKind::cpu) return "run.device is cpu";
  return ops::cuda::cudnn_version().empty() ? "this program is built without cuDNN" : "";
}

namespace {

// Whether some block attends to all tokens, whatever model.window is.
bool has_global_blocks(const ModelConfig& model) {
  return model.window == 0 || model.window_from > 0 ||
         (model.window_pattern > 0 && model.num_layers >= model.window_pattern);
}

}  // namespace

std::string why_no_cudnn(const RunConfig& config) {
  const std::string why = why_no_cudnn(config.run);
  if (!why.empty() || config.model.num_heads < 1) return why;
  if (config.data.documents == DocumentsKind::separate) return "data.documents is separate";
  ops::AttentionShape shape;
  shape.q_len = shape.kv_len = config.train.seq_len;
  shape.head_dim = config.model.head_dim();
  if (!has_global_blocks(config.model)) shape.window = config.model.window;
  const std::vector<AttentionPattern>& patterns = config.model.patterns;
  const bool all_sparse = std::ranges::none_of(patterns, &AttentionPattern::is_full);
  if (!patterns.empty() && all_sparse) shape.window = 1;  // no block attends to all tokens
  shape.soft_cap = static_cast<float>(config.model.attention_soft_cap);
  return ops::why_not_by_cudnn(shape, config.train.precision);
}

std::string why_not_all_by_cudnn(const RunConfig& config) {
  const std::string why = why_no_cudnn(config);
  if (!why.empty()) return why;
  if (config.model.window > 0) return "cuDNN attention is not used with sliding windows (model.window)";
  if (!std::ranges::all_of(config.model.patterns, &AttentionPattern::is_full))
    return "cuDNN attention is not used with sparse attention patterns (model.patterns)";
  if (config.parallel.context <= 1) return why;
  return "ring attention (parallel.context) has blocks with more keys than queries";
}

OpSettings choose_op_settings(const RunOptions& run, Device device) {
  OpSettings settings;
  const std::string why = device.type == DeviceType::cpu ? "this run has no GPU" : why_no_cudnn(run);
  const int64_t workspace = run.attention_workspace_mib << 20;
  const auto refuse = [&](bool is_asked_for, const std::string& what) {
    if (is_asked_for) throw_usage("{} applies to cuDNN attention, but {}: leave it out", what, why);
  };
  if (device.type == DeviceType::cpu && run.attention == AttentionChoice::own)
    throw_usage("run.attention own chooses GPU kernels, but this run has no GPU: leave it out");
  if (!why.empty()) {
    refuse(run.attention == AttentionChoice::cudnn, "run.attention cudnn");
    refuse(!run.deterministic, "run.deterministic off");
    refuse(workspace != settings.attention_workspace,
           fmt::format("run.attention-workspace-mib {}", run.attention_workspace_mib));
  }
  settings.attention = run.attention;
  settings.attention_workspace = workspace;
  settings.deterministic = run.deterministic;
  return settings;
}

std::string attention_text(const RunOptions& run, const std::string& why_no_cudnn) {
  if (run.attention == AttentionChoice::own) return "own kernels, deterministic";
  if (!why_no_cudnn.empty()) return fmt::format("own kernels ({}), deterministic", why_no_cudnn);
  const bool is_alone = run.attention == AttentionChoice::cudnn;
  return fmt::format("cuDNN {}{}, with at most {} MiB of workspace{}; {}", ops::cuda::cudnn_version(),
                     is_alone ? "" : " where it can", run.attention_workspace_mib,
                     is_alone ? "" : ", else own kernels",
                     run.deterministic ? "deterministic" : "not deterministic");
}

}  // namespace trireme::launch
