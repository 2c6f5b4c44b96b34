#include "models/layers/exit_streams.h"

#include <algorithm>
#include <utility>

#include "runtime/ops/elementwise.h"

namespace trireme {

ExitStreams::ExitStreams(std::vector<int64_t> exits, int64_t num_blocks, const ExitConfig& config,
                         const TensorParallel& tensor)
    : exits_(std::move(exits)),
      num_blocks_(num_blocks),
      config_(config),
      tensor_(tensor),
      has_all_(config.curriculum == ExitCurriculum::all) {
  slots_ = exits_.empty() || config.scale == 0 ? 0 : has_all_ ? static_cast<int64_t>(exits_.size()) : 1;
}

int64_t ExitStreams::number_of(int64_t blocks) const {
  return std::ranges::find(exits_, blocks) - exits_.begin();
}

bool ExitStreams::has(int64_t sample, int64_t exit) const {
  return has_all_ || sample % static_cast<int64_t>(exits_.size()) == exit;
}

void ExitStreams::keep(Context& ctx, const TokenBatch& mb, int64_t blocks, const Tensor& x) {
  const int64_t exit = number_of(blocks), rows = x.dim(0);
  Tensor& kept = kept_[mb.first_sample];
  if (!kept) {
    kept = Tensor::empty(ctx, {slots_ * rows, x.dim(1)}, x.dtype());
    ops::fill(ctx, kept, 0);  // what is sent before its exit has to be finite
  }
  const int64_t slot = has_all_ ? exit * rows : 0;
  for_samples(tensor_, mb, [&](int64_t b, int64_t begin, int64_t end) {
    if (has(mb.first_sample + b, exit))
      ops::copy(ctx, x.slice(begin, end), kept.slice(slot + begin, slot + end));
  });
}

Tensor ExitStreams::add_gradient(Context& ctx, const TokenBatch& mb, int64_t blocks, const Tensor& dx) const {
  const int64_t exit = number_of(blocks), slot = has_all_ ? exit * dx.dim(0) : 0;
  const Tensor& gradient = gradients_.at(mb.first_sample);
  const Tensor sum = Tensor::empty(ctx, dx.shape(), dx.dtype());
  for_samples(tensor_, mb, [&](int64_t b, int64_t begin, int64_t end) {
    const Tensor rows = dx.slice(begin, end), out = sum.slice(begin, end);
    if (has(mb.first_sample + b, exit))
      ops::add(ctx, rows, gradient.slice(slot + begin, slot + end), out);
    else
      ops::copy(ctx, rows, out);
  });
  return sum;
}

Tensor ExitStreams::joined(Context& ctx, const Tensor& x, const Tensor& kept) const {
  const Tensor all = Tensor::empty(ctx, {(1 + slots_) * x.dim(0), x.dim(1)}, x.dtype());
  ops::copy(ctx, x, all.slice(0, x.dim(0)));
  ops::copy(ctx, kept, all.slice(x.dim(0), all.dim(0)));
  return all;
}

Tensor ExitStreams::join(Context& ctx, const TokenBatch& mb, const Tensor& x) {
  const auto kept = kept_.extract(mb.first_sample);
  TRIREME_CHECK(!kept.empty(), "no streams of sample {} were kept", mb.first_sample);
  return joined(ctx, x, kept.mapped());
}

Tensor ExitStreams::split(const TokenBatch& mb, const Tensor& joined) {
  const int64_t rows = joined.dim(0) / (1 + slots_);
  const bool is_new = kept_.emplace(mb.first_sample, joined.slice(rows, joined.dim(0))).second;
  TRIREME_CHECK(is_new, "two micro-batches begin with sample {}", mb.first_sample);
  return joined.slice(0, rows);
}

Tensor ExitStreams::join_gradient(Context& ctx, const TokenBatch& mb, const Tensor& dx) const {
  return joined(ctx, dx, gradients_.at(mb.first_sample));
}

Tensor ExitStreams::split_gradient(int64_t first_sample, const Tensor& joined) {
  const int64_t rows = joined.dim(0) / (1 + slots_);
  gradients_[first_sample] = joined.slice(rows, joined.dim(0));
  return joined.slice(0, rows);
}

Tensor ExitStreams::weights(Context& ctx, const MicroBatch& mb, int64_t slot) const {
  const Tensor weights = Tensor::empty(ctx, {mb.rows()}, DType::f32);
  if (mb.target_weights) ops::copy(ctx, mb.target_weights, weights);
  for (int64_t b = 0; b < mb.batch; ++b) {
    const int64_t exit = has_all_ ? slot : (mb.first_sample + b) % static_cast<int64_t>(exits_.size());
    const double weight = config_.weight(exits_[static_cast<size_t>(exit)], num_blocks_);
    const Tensor rows = weights.slice(b * mb.seq_len, (b + 1) * mb.seq_len);
    if (mb.target_weights)
      ops::scale(ctx, rows, static_cast<float>(weight));
    else
      ops::fill(ctx, rows, weight);
  }
  return weights;
}

}  // namespace trireme
