#include "models/config/validate.h"

#include <algorithm>

#include <fmt/format.h>

#include "models/config/context_parallel_errors.h"
#include "models/config/tensor_parallel_errors.h"
#include "parallel/pipeline/plan_schedule.h"

namespace trireme {

namespace {

using ErrorList = std::vector<std::string>;

void append(ErrorList& errors, const ErrorList& more) {
  errors.insert(errors.end(), more.begin(), more.end());
}

/// Products of options that no whole number holds: what is computed of them would wrap.
void check_magnitudes(const ModelConfig& m, const BatchSpec& batch, ErrorList& errors) {
  constexpr double kMost = 0x1p62;
  const auto number = [](auto value) { return static_cast<double>(value); };
  const double hidden = number(m.hidden_size), layers = number(m.num_layers), heads = number(m.num_heads);
  const double experts = std::max<double>(1, number(m.moe.num_experts));
  const double networks = m.bottleneck.width > 0 ? number(m.bottleneck.num_feed_forwards) : 1;
  const double width =
      networks * number(std::max(m.ffn_size, m.moe.expert_ffn_size)) + number(m.moe.shared_ffn_size);
  const double vocab = number(std::max<int64_t>(m.vocab_size, 1));
  const double parameters = layers * (4 * hidden * hidden + 3 * hidden * width * experts) +
                            (2 * vocab + number(m.max_positions)) * hidden;
  if (16 * parameters > kMost) {
    errors.push_back(fmt::format(
        "the model would have {:.3g} parameters, more than can be counted: model.layers {}, model.hidden "
        "{}, model.ffn {}, moe.experts {}",
        parameters, m.num_layers, m.hidden_size, m.ffn_size, m.moe.num_experts));
  }
  const double micro = number(batch.micro_batch), seq = number(batch.seq_len);
  const double token = layers * (64 * hidden + 8 * width * (1 + number(m.moe.experts_per_token))) + 2 * vocab;
  if (16 * micro * seq * (token + layers * heads * seq) > kMost) {
    errors.push_back(
        fmt::format("a micro-batch would have more activations than can be counted: train.micro-batch {}, "
                    "train.seq-len {}, model.layers {}, model.hidden {}",
                    batch.micro_batch, batch.seq_len, m.num_layers, m.hidden_size));
  }
}

ErrorList errors_without_length(const ModelConfig& model, const BatchSpec& batch) {
  ErrorList errors = errors_of(model);
  check_magnitudes(model, batch, errors);
  return errors;
}

void check_division_of_model(const ModelConfig& model, const ParallelPlan& plan, const BatchSpec& batch,
                             ErrorList& errors) {
  append(errors, tensor_parallel_errors(model, plan.tensor, plan.expert_tensor));
  append(errors, expert_parallel_errors(model.moe, plan.expert, plan.expert_chunks));
  if (errors.empty()) append(errors, quantization_errors(model, plan.tensor, plan.expert_tensor));
  if (batch.seq_len == 0) return;
  const ErrorList of_context =
      context_parallel_errors(batch.seq_len, model.max_positions, plan.context, model.convolution.kernel);
  append(errors, of_context);
  if (!plan.sequence || !of_context.empty() || batch.micro_batch == 0) return;
  append(errors, sequence_parallel_errors(batch.micro_batch, batch.seq_len, plan.tensor, plan.context));
}

void check_division_of_batch(const ParallelPlan& plan, const BatchSpec& batch, ErrorList& errors) {
  const int64_t micro = batch.micro_batch, ranks = plan.data, global = batch.global_batch;
  if (ranks < 1 || micro == 0 || global == 0) return;
  const int64_t unit = micro * ranks;
  constexpr int64_t kMostAccumulated = 1 << 20;  // a schedule has an entry for each
  if (global / unit > kMostAccumulated) {
    errors.push_back(fmt::format(
        "train.global-batch {} is {} micro-batches per rank, more than {}: use --train.micro-batch {} "
        "or more",
        global, global / unit, kMostAccumulated, (global / ranks + kMostAccumulated - 1) / kMostAccumulated));
    return;
  }
  if (global % unit == 0 && global > 0) return;
  const int64_t below = global / unit;
  const std::string smaller =
      below > 0 ? fmt::format("{} (gradient accumulation {}) or ", below * unit, below) : "";
  std::string other;
  if (global % ranks == 0 && global > 0) {
    int64_t divisor = std::min(micro, global / ranks);
    while (global / ranks % divisor != 0) --divisor;
    other = fmt::format(", or --train.micro-batch {}", divisor);
  }
  errors.push_back(fmt::format(
      "train.global-batch {} is not a multiple of train.micro-batch {} x {} data-parallel rank{} = "
      "{}: nearest are {}{} (gradient accumulation {}){}",
      global, micro, ranks, ranks == 1 ? "" : "s", unit, smaller, (below + 1) * unit, below + 1, other));
}

}  // namespace

bool is_sound(const ModelConfig& model, const BatchSpec& batch) {
  return errors_without_length(model, batch).empty();
}

ErrorList model_errors(const ModelConfig& model, const BatchSpec& batch) {
  ErrorList errors = errors_without_length(model, batch);
  if (batch.seq_len > model.max_positions) {
    errors.push_back(fmt::format("train.seq-len {} is more than model.max-positions {}", batch.seq_len,
                                 model.max_positions));
  }
  return errors;
}

ErrorList layout_errors(const ModelConfig& model, const ParallelPlan& plan, const BatchSpec& batch,
                        bool model_is_sound) {
  if (std::string error = size_error(plan); !error.empty()) return {std::move(error)};
  ErrorList errors = errors_of(plan);
  if (model_is_sound) check_division_of_model(model, plan, batch, errors);
  check_division_of_batch(plan, batch, errors);
  if (!model_is_sound || plan.pipeline < 1 || plan.virtual_stages < 1) return errors;
  const bool counts = errors.empty() && plan.data > 0 && batch.micro_batch > 0 && batch.global_batch > 0;
  const int num_micro_batches = counts ? static_cast<int>(batch.accumulation(plan)) : 0;
  append(errors, pipeline_errors(plan, static_cast<int>(model.num_layers) + 2, num_micro_batches));
  return errors;
}

ErrorList validate(const ModelConfig& model, const ParallelPlan& plan, const BatchSpec& batch) {
  ErrorList errors = model_errors(model, batch);
  append(errors, layout_errors(model, plan, batch, is_sound(model, batch)));
  return errors;
}

}  // namespace trireme
