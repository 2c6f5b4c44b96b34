#include <numeric>
#include <utility>

#include "models/spec/layer_traces.h"

namespace trireme::traces {

Mixture::Mixture(const Scene& scene, const MixtureSpec& spec)
    : s_(scene), spec_(spec), sizes_(spec, scene.conditions) {
  if (spec.shared) shared_.emplace(scene, *spec.shared);
}

// ExpertRows -----------------------------------------------------------------------------------------------

Held Mixture::take(const Held& x) const {
  return s_.sizes.shards_rows ? s_.make(sizes_.passed, s_.sizes.hidden) : x;
}

Held Mixture::give(Held y) const {
  if (s_.sizes.shards_rows) return s_.outer();
  if (s_.conditions.plan.expert_row_shards() == 1) return y;
  return s_.make(s_.sizes.rows, s_.sizes.hidden);
}

// Router ---------------------------------------------------------------------------------------------------

void Mixture::route(const Held& x) {
  const MoeConfig& moe = spec_.routing;
  const int64_t rows = s_.sizes.rows, experts = moe.num_experts, k = moe.experts_per_token;
  {
    const Held seen = moe.jitter > 0 ? s_.outer() : x;
    logits_ = s_.floats(s_.sizes.outer_rows, experts);
    if (s_.sizes.shards_rows) logits_ = s_.floats(rows, experts);
  }
  log_sum_ = s_.floats(rows);
  chosen_ = s_.recorder.make(rows, k, DType::i32);
  const Held probabilities = s_.floats(rows, experts);
  gates_ = s_.floats(rows, k);
  const Held bias = moe.bias_rate > 0 ? s_.buffer(1, experts) : nullptr;
  // Runs of tokens that are counted for themselves.
  const int64_t half = s_.sizes.context > 1 ? s_.sizes.length / 2 : s_.sizes.length;
  const int64_t run = std::max<int64_t>(1, std::gcd(half, sizes_.passed));
  const Held counts = s_.buffer(rows / run, experts, DType::i64);
  {
    const Held all =
        s_.sizes.context > 1 ? s_.buffer(rows / run * s_.sizes.context, experts, DType::i64) : nullptr;
  }
  slots_ = s_.recorder.make(sizes_.passed, k, DType::i32);
  {
    const Held base = s_.buffer(sizes_.passed / run, experts, DType::i64),
               ahead = s_.buffer(sizes_.passed / run, experts, DType::i64);
  }
  if (moe.aux_loss == 0 && moe.z_loss == 0) return;
  dprobabilities_ = s_.buffer(s_.sizes.batch, experts);
  dsquares_ = s_.buffer(s_.sizes.batch, 1);
}

void Mixture::route_backward() {
  const MoeConfig& moe = spec_.routing;
  const int64_t rows = s_.sizes.rows;
  const Held all_dgates = s_.floats(rows, moe.experts_per_token);
  const Held dlogits = s_.floats(rows, moe.num_experts);
  logits_ = log_sum_ = chosen_ = dprobabilities_ = dsquares_ = nullptr;
  const int64_t own = RankSizes::share(rows, s_.sizes.tensor);
  dlogits_ = s_.sizes.type == DType::f32 ? dlogits : s_.buffer(own, moe.num_experts, s_.sizes.type);
  const Held dseen = moe.jitter > 0 ? s_.make(own, s_.sizes.hidden) : nullptr;
}

// MoeFeedForward -------------------------------------------------------------------------------------------

Held Mixture::forward(const Held& x) {
  const int64_t hidden = s_.sizes.hidden, up = spec_.expert.num_up() * sizes_.width;
  x_ = take(x);
  route(x);
  const Held sent = of_width(sizes_.sent, hidden);
  if (sizes_.reorders) places_ = s_.buffer(sizes_.received, 1, DType::i32);
  rows_ = of_width(sizes_.received, hidden);
  const Held arriving = sizes_.reorders ? of_width(sizes_.received, hidden) : nullptr;
  const Held shared = shared_ ? shared_->forward(x) : nullptr;
  h_ = of_width(sizes_.received, up);
  a_ = of_width(sizes_.received, sizes_.width);
  returned_ = of_width(sizes_.sent, hidden);
  const Held made = of_width(sizes_.received, hidden);
  const Held up_codes = s_.codes(sizes_.held * up, hidden),
             down_codes = s_.codes(sizes_.held * hidden, sizes_.width);
  { const Held leaving = sizes_.reorders ? of_width(sizes_.received, hidden) : nullptr; }
  return give(of_width(sizes_.passed, hidden));
}

Held Mixture::backward_input(const Held& dy) {
  const int64_t hidden = s_.sizes.hidden;
  const Held dsum = take(dy);
  const Held dgates = s_.floats(sizes_.passed, spec_.routing.experts_per_token);
  dout_ = of_width(sizes_.received, hidden);
  const Held arriving = sizes_.reorders ? of_width(sizes_.received, hidden) : nullptr;
  const Held dx_shared = shared_ ? shared_->backward_input(dy) : nullptr;
  const Held da = of_width(sizes_.received, sizes_.width);
  dh_ = spec_.expert.num_up() > 1 ? h_ : da;
  const Held drows = of_width(sizes_.received, hidden), dsent = of_width(sizes_.sent, hidden);
  const Held up_values = s_.values(sizes_.held * spec_.expert.num_up() * sizes_.width, hidden),
             down_values = s_.values(sizes_.held * hidden, sizes_.width);
  { const Held leaving = sizes_.reorders ? of_width(sizes_.received, hidden) : nullptr; }
  h_ = returned_ = nullptr;
  const Held dx = of_width(sizes_.passed, hidden);
  route_backward();
  return give(dx);
}

void Mixture::backward_weight() {
  {
    const Held seen = spec_.routing.jitter > 0
                          ? s_.make(RankSizes::share(s_.sizes.rows, s_.sizes.tensor), s_.sizes.hidden)
                          : nullptr;
  }
  dlogits_ = nullptr;
  { const Held dvalues = s_.dvalues(sizes_.held * spec_.expert.num_up() * sizes_.width, s_.sizes.hidden); }
  if (shared_) shared_->backward_weight();
  x_ = slots_ = gates_ = places_ = rows_ = a_ = dh_ = dout_ = nullptr;
}

}  // namespace trireme::traces
