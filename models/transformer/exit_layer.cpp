#include "models/transformer/exit_layer.h"

#include <algorithm>
#include <utility>

#include "models/spec/describe.h"
#include "runtime/base/philox.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

struct ExitLayer::State {
  Saved layer;
  MicroBatch micro_batch;     // of sizes and numbers alone
  std::vector<bool> dropped;  // by sample; empty: none
  bool is_skipped = false;
};

std::vector<bool> ExitLayer::dropped(const MicroBatch& mb) const {
  if (role_.dropout == 0) return {};
  const uint64_t key = stream_key(mb.seed, block_name(role_.block) + ".layer_dropout");
  std::vector<bool> drops;
  for (int64_t b = 0; b < mb.batch; ++b) {
    const auto words = philox4x32(key, static_cast<uint64_t>(mb.first_sample + b), 0);
    drops.push_back(uniform_from_bits(words[0]) < role_.dropout);
  }
  return std::ranges::count(drops, true) > 0 ? drops : std::vector<bool>();
}

Tensor ExitLayer::run(Context& ctx, const MicroBatch& mb, const Tensor& x, State& state) {
  state.dropped = dropped(mb);
  state.is_skipped =
      role_.may_skip && !state.dropped.empty() && std::ranges::count(state.dropped, false) == 0;
  if (state.is_skipped) return x;
  const Tensor y = layer_->forward(ctx, mb, x, state.layer);
  if (state.dropped.empty()) return y;
  ExitStreams::for_samples(tensor_, mb, [&](int64_t b, int64_t begin, int64_t end) {
    if (state.dropped[static_cast<size_t>(b)]) ops::copy(ctx, x.slice(begin, end), y.slice(begin, end));
  });
  return y;
}

Tensor ExitLayer::run_backward(Context& ctx, const Tensor& dy, State& state) {
  if (state.is_skipped) return dy;
  if (state.dropped.empty()) return layer_->backward_input(ctx, dy, state.layer);
  const Tensor seen = Tensor::empty(ctx, dy.shape(), dy.dtype());
  ops::copy(ctx, dy, seen);
  const auto for_dropped = [&](auto&& f) {
    ExitStreams::for_samples(tensor_, state.micro_batch, [&](int64_t b, int64_t begin, int64_t end) {
      if (state.dropped[static_cast<size_t>(b)]) f(begin, end);
    });
  };
  for_dropped([&](int64_t begin, int64_t end) { ops::fill(ctx, seen.slice(begin, end), 0); });
  const Tensor dx = layer_->backward_input(ctx, seen, state.layer);
  for_dropped(
      [&](int64_t begin, int64_t end) { ops::copy(ctx, dy.slice(begin, end), dx.slice(begin, end)); });
  return dx;
}

Tensor ExitLayer::forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) {
  if (!mb.training) return layer_->forward(ctx, mb, x, saved);
  auto& state = saved.emplace<State>();
  state.micro_batch.batch = mb.batch;
  state.micro_batch.seq_len = mb.seq_len;
  state.micro_batch.first_sample = mb.first_sample;
  state.micro_batch.context_parts = mb.context_parts;
  state.micro_batch.like_paged = mb.like_paged;
  const Tensor y = run(ctx, mb, role_.receives ? streams_->split(mb, x) : x, state);
  if (role_.is_exit) streams_->keep(ctx, mb, role_.block + 1, y);
  return role_.sends ? streams_->join(ctx, mb, y) : y;
}

Tensor ExitLayer::backward_input(Context& ctx, const Tensor& dy, Saved& saved) {
  auto& state = saved.get<State>();
  const MicroBatch& mb = state.micro_batch;
  Tensor of_y = role_.sends ? streams_->split_gradient(mb.first_sample, dy) : dy;
  if (role_.is_exit) of_y = streams_->add_gradient(ctx, mb, role_.block + 1, of_y);
  Tensor dx = run_backward(ctx, of_y, state);
  if (role_.receives) dx = streams_->join_gradient(ctx, mb, dx);
  if (role_.begins) streams_->forget(mb);
  return dx;
}

void ExitLayer::backward_weight(Context& ctx, Saved& saved) {
  auto& state = saved.get<State>();
  if (!state.is_skipped) layer_->backward_weight(ctx, state.layer);
  saved.clear();
}

}  // namespace trireme
