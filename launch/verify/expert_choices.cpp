#include "launch/verify/expert_choices.h"

#include <algorithm>
#include <cmath>

#include "launch/verify/layout_trace.h"
#include "models/layers/router.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/routing.h"

namespace trireme::launch {

namespace {

std::vector<int32_t> without(const std::vector<int32_t>& these, const std::vector<int32_t>& those) {
  std::vector<int32_t> left;
  std::ranges::set_difference(these, those, std::back_inserter(left));
  return left;
}

// What experts are chosen by: their logits, or where biases balance them, scores and biases.
std::vector<double> selection(const MoeConfig& moe, const RouterBalance& router, const float* logits) {
  const size_t n = router.last_load.size();
  std::vector<double> out(logits, logits + n);
  if (router.bias.empty()) return out;
  const double largest = *std::ranges::max_element(out);
  double sum = 0;
  for (const double x : out) sum += std::exp(x - largest);
  for (size_t e = 0; e < n; ++e) {
    const double score =
        moe.score == RouterScore::sigmoid ? 1 / (1 + std::exp(-out[e])) : std::exp(out[e] - largest) / sum;
    out[e] = score + static_cast<double>(router.bias[e]);
  }
  return out;
}

std::vector<int32_t> in_order(const int32_t* experts, size_t k, int32_t first) {
  std::vector<int32_t> sorted;
  for (size_t j = 0; j < k; ++j) sorted.push_back(experts[j] - first);
  std::ranges::sort(sorted);
  return sorted;
}

}  // namespace

ExpertChoices::ExpertChoices(const ParallelContext& parallel, Transformer& model, const RunConfig& config)
    : parallel_(parallel),
      model_(model),
      moe_(config.model.moe),
      seq_len_(config.train.seq_len),
      num_samples_(config.train.global_batch) {
  for (RouterBalance* router : model_.part().routers()) router->observer = this;
  begin(0);
}

ExpertChoices::~ExpertChoices() {
  for (RouterBalance* router : model_.part().routers()) router->observer = nullptr;
}

void ExpertChoices::begin(int64_t first_sample) {
  first_sample_ = first_sample;
  differences_ = {};
  if (moe_.num_experts == 0) return;
  const int64_t num_tokens = num_samples_ * seq_len_;
  own_.assign(static_cast<size_t>(model_.config().num_layers * num_tokens * moe_.experts_per_token), 0);
}

// A pass that is run again writes the same again.
void ExpertChoices::after_choice(Context& ctx, const MicroBatch& mb, const RouterBalance& router,
                                 const Tensor& logits, const Tensor& chosen, const Tensor& gates) {
  if (!mb.training) return;
  const auto k = static_cast<size_t>(moe_.experts_per_token);
  std::vector<size_t> places;
  for (const int64_t row : rows_of(mb, ContextParallel(parallel_).share())) {
    const int64_t token = (mb.first_sample - first_sample_) * seq_len_ + row;
    places.push_back(static_cast<size_t>(router.layer * num_samples_ * seq_len_ + token) * k);
  }
  if (followed_ != nullptr) replace(ctx, router, places, logits, chosen, gates);
  if (parallel_.tensor().rank() != 0) return;  // tensor-parallel ranks choose alike
  const std::vector<int32_t> experts = ops::to_host<int32_t>(ctx, chosen);
  for (size_t r = 0; r < places.size(); ++r) {
    for (size_t j = 0; j < k; ++j) own_[places[r] + j] = experts[r * k + j] + 1;
  }
}

// A row that is to go elsewhere is routed again with biases that leave it no choice.
void ExpertChoices::replace(Context& ctx, const RouterBalance& router, const std::vector<size_t>& places,
                            const Tensor& logits, const Tensor& chosen, const Tensor& gates) {
  constexpr float kNoChoice = 1e6f;
  const auto k = static_cast<size_t>(moe_.experts_per_token), num_experts = router.last_load.size();
  const std::vector<int32_t> experts = ops::to_host<int32_t>(ctx, chosen);
  const std::vector<float> values = ops::to_host<float>(ctx, logits);
  // Where groups are chosen first, experts may change places that are far apart.
  const bool is_limited = moe_.groups_per_token < moe_.num_groups;
  std::vector<std::vector<double>> chosen_by;
  double largest = 0;
  for (size_t r = 0; r < places.size(); ++r) {
    chosen_by.push_back(selection(moe_, router, &values[r * num_experts]));
    for (const double x : chosen_by.back()) largest = std::max(largest, std::abs(x));
  }
  for (size_t r = 0; r < places.size(); ++r) {
    const std::vector<int32_t> own = in_order(&experts[r * k], k, 0),
                               wanted = in_order(&(*followed_)[places[r]], k, 1);
    differences_.num_choices += static_cast<int64_t>(k);
    if (own == wanted) continue;
    const auto mine = without(own, wanted), theirs = without(wanted, own);
    differences_.num_other += std::ssize(mine);
    for (const int32_t a : mine) {
      for (const int32_t b : theirs) {
        const auto value = [&](int32_t e) { return chosen_by[r][static_cast<size_t>(e)]; };
        const double width = largest > 0 ? std::abs(value(a) - value(b)) / largest : 0;
        if (is_limited || width <= differences_.widest) continue;
        differences_.widest = width;
        differences_.layer = router.layer;
        differences_.sample = static_cast<int64_t>(places[r] / k) / seq_len_ % num_samples_;
      }
    }
    std::vector<float> bias(num_experts, 0.0f);
    for (const int32_t e : wanted) bias[static_cast<size_t>(e)] = kNoChoice;
    const auto row = [&](const Tensor& t) {
      return t.slice(static_cast<int64_t>(r), static_cast<int64_t>(r) + 1);
    };
    const auto experts_of_row = static_cast<int64_t>(num_experts);
    const Tensor probabilities = Tensor::empty(ctx, {1, experts_of_row}, DType::f32, MemoryCategory::buffers),
                 log_sum = Tensor::empty(ctx, {1}, DType::f32, MemoryCategory::buffers);
    ops::route(ctx, route_options(moe_), row(logits), ops::to_device(ctx, bias, {experts_of_row}),
               probabilities, log_sum, row(chosen), row(gates));
  }
}

ChoiceTable ExpertChoices::take(Context& ctx) {
  ChoiceTable all = own_;
  if (!all.empty()) {
    parallel_.world().all_reduce(ctx.host_stream(), Tensor::borrow(all.data(), {std::ssize(all)}, DType::i32),
                                 ReduceOp::max);
  }
  return all;
}

}  // namespace trireme::launch
