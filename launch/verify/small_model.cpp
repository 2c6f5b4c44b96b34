#include "launch/verify/small_model.h"

#include <algorithm>
#include <tuple>

namespace trireme::launch {

namespace {

/// At most about `most`, with the same remainder by 64.
int64_t shrink(int64_t n, int64_t most) {
  constexpr int64_t kUnit = 64;
  return n <= most ? n : most / kUnit * kUnit + n % kUnit;
}

/// What a pattern hides, hides something in short sequences too.
void shrink_sight(ModelConfig& model, int64_t seq_len) {
  const auto shrink_to = [](int64_t& number, int64_t most) {
    number = std::min(number, std::max<int64_t>(1, most));
  };
  for (AttentionPattern& pattern : model.patterns) {
    ops::KeyPattern& keys = pattern.keys;
    shrink_to(pattern.window, seq_len / 4);
    shrink_to(keys.sinks, seq_len / 4);
    shrink_to(keys.stride, seq_len / 4);
    shrink_to(keys.stride_keys, 2);
    shrink_to(keys.block, seq_len / 4);
    keys.summary = std::min(keys.summary, keys.block);
    shrink_to(keys.reach, 2);
    while (keys.num_globals > 0 && keys.globals[static_cast<size_t>(keys.num_globals - 1)] >= seq_len)
      keys.globals[static_cast<size_t>(--keys.num_globals)] = 0;
  }
}

/// Both kinds of blocks remain.
void shrink_patterns(ModelConfig& model) {
  const int64_t most = std::max<int64_t>(2, model.num_layers);
  model.window_pattern = std::min(model.window_pattern, most);
  // Of all kinds, within short sequences.
  if (std::ssize(model.patterns) > model.num_layers)
    model.patterns.resize(static_cast<size_t>(model.num_layers));
  model.no_rotary_every = std::min(model.no_rotary_every, most);
  if (model.window > 0) model.window_from = std::min(model.window_from, model.num_layers - 1);
}

/// Both kinds of blocks remain where there were both, and chunks of context-parallel ranks have room.
void shrink_convolution(RunConfig& small) {
  ConvolutionConfig& convolution = small.model.convolution;
  if (convolution.kernel == 0) return;
  convolution.first_block = std::min(convolution.first_block, small.model.num_layers - 1);
  convolution.every = std::min(convolution.every, small.model.num_layers);
  const int64_t chunk = small.train.seq_len / (2 * int64_t{small.parallel.context});
  convolution.kernel = std::clamp<int64_t>(chunk + 1, 2, convolution.kernel);
}

/// As many of its dimensions are turned as the smaller head has, in proportion, and sequences stay within the
/// original positions or beyond them.
void shrink_rotary(const RunConfig& config, RunConfig& small) {
  const ModelConfig& whole = config.model;
  ModelConfig& model = small.model;
  if (whole.rotary_dims > 0 && model.head_dim() < whole.head_dim())
    model.rotary_dims = std::max<int64_t>(2, whole.rotary_dims * model.head_dim() / whole.head_dim() / 2 * 2);
  const int64_t dims = model.rotary_dims > 0 ? model.rotary_dims : model.head_dim();
  for (auto* factors : {&model.rotary_short_factors, &model.rotary_long_factors})
    factors->resize(std::min(factors->size(), static_cast<size_t>(dims / 2)));
  if (config.train.seq_len > whole.rotary_original_positions) {
    model.rotary_original_positions =
        std::max<int64_t>(2, std::min(whole.rotary_original_positions, small.train.seq_len - 1));
  }
}

// Those behind layers that are there, and at least one.
void shrink_exits(ModelConfig& model) {
  if (model.exits.empty()) return;
  std::erase_if(model.exits, [&](int64_t exit) { return exit >= model.num_layers; });
  if (model.exits.empty() && model.num_layers > 1) model.exits = {model.num_layers - 1};
}

}  // namespace

RunConfig small_run(const RunConfig& config) {
  constexpr int64_t kHeadDim = 8, kVocab = 1024, kSeqLen = 16;
  RunConfig small = config;
  const ParallelPlan& plan = config.parallel;
  ModelConfig& model = small.model;
  const auto [head_dim, hidden, ffn] = std::tuple(model.given_head_dim, model.hidden_size, model.ffn_size);
  model.vocab_size = shrink(model.vocab_size, kVocab);
  int64_t for_sharing = 2;  // at least one uses the weights of another
  if (model.shares_weights()) {
    while (for_sharing < model.num_layers && model.weights_of(for_sharing - 1) == for_sharing - 1)
      ++for_sharing;
  }
  model.num_layers = std::min<int64_t>(model.num_layers,
                                       std::max<int64_t>(for_sharing, plan.pipeline * plan.virtual_stages));
  if (!model.weights_from.empty()) model.weights_from.resize(static_cast<size_t>(model.num_layers));
  const bool is_narrow_inside = model.bottleneck.width > 0;
  model.hidden_size = std::min(model.head_dim(), kHeadDim) * model.num_heads;
  if (model.given_head_dim > 0) {
    model.given_head_dim = std::min(model.given_head_dim, kHeadDim);
    model.hidden_size += kHeadDim;  // heads are not to be as wide together as the model
  }
  if (is_narrow_inside) {
    model.bottleneck.width = model.hidden_size;
    model.bottleneck.num_feed_forwards = std::min<int64_t>(model.bottleneck.num_feed_forwards, 2);
    model.hidden_size = 2 * model.hidden_size + kHeadDim;
  }
  model.ffn_size = shrink(model.ffn_size, std::max<int64_t>(128, 2 * model.hidden_size));
  if (model.quantization) {  // whose groups divide these
    model.given_head_dim = head_dim;
    model.hidden_size = hidden;
    model.bottleneck.width = config.model.bottleneck.width;
    model.ffn_size = ffn;
  }
  // Sequences divide as those of the run do: by zig-zag halves of the context-parallel ranks, by
  // tensor-parallel ranks.
  const int64_t unit = int64_t{2} * plan.context * (plan.sequence ? plan.tensor : 1);
  const int64_t seq_len = (kSeqLen + unit - 1) / unit * unit;
  small.train.seq_len = std::min(config.train.seq_len, seq_len);
  if (model.window > 0) model.window = std::min(model.window, std::max<int64_t>(1, small.train.seq_len / 2));
  shrink_patterns(model);
  shrink_sight(model, small.train.seq_len);
  shrink_exits(model);
  shrink_convolution(small);
  shrink_rotary(config, small);
  model.max_positions = std::min(model.max_positions, small.train.seq_len);
  small.train.micro_batch = std::min<int64_t>(config.train.micro_batch, 2);
  int64_t num_micro_batches = config.accumulation();
  if (plan.pipeline > 1 && !plan.schedule.is_file()) {
    const int64_t usual = int64_t{2} * plan.pipeline;
    num_micro_batches = num_micro_batches == 1 ? usual : std::min(num_micro_batches, usual);
  } else if (plan.pipeline == 1) {
    num_micro_batches = std::min<int64_t>(num_micro_batches, 2);
  }
  const auto bytes_a_row = static_cast<int64_t>(size_of(config.train.precision)) *
                           ((config.model.vocab_size + plan.tensor - 1) / plan.tensor);
  const auto rows_of = [&](const TrainConfig& t) { return t.micro_batch * t.seq_len / plan.context; };
  if (config.loss.rows_at_once(rows_of(config.train), bytes_a_row) < rows_of(config.train))
    small.loss.chunk_tokens = std::max<int64_t>(1, rows_of(small.train) / 3);
  small.train.global_batch = small.train.micro_batch * plan.data * num_micro_batches;
  return small;
}

}  // namespace trireme::launch
