#include "launch/run/text_sample.h"

#include <algorithm>
#include <cmath>

#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/base/philox.h"
#include "runtime/ops/host_copy.h"

namespace trireme::launch {

namespace {

int32_t draw(std::vector<float> logits, double temperature, float uniform) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  std::vector<double> sums(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    total += std::exp((logits[i] - largest) / temperature);
    sums[i] = total;
  }
  const auto at = std::upper_bound(sums.begin(), sums.end(), uniform * total);
  return static_cast<int32_t>(
      std::min<ptrdiff_t>(at - sums.begin(), static_cast<ptrdiff_t>(sums.size()) - 1));
}

// The first rank's values on every rank that writes: along the pipeline, where weights are sharded to all who
// hold parts, then to the tensor-parallel ranks of each stage.
void share(Context& ctx, const ParallelContext& parallel, const Tensor& values) {
  parallel.pipeline().broadcast(ctx.host_stream(), values, 0);
  (parallel.plan().in_lockstep() ? parallel.gradients() : parallel.experts())
      .broadcast(ctx.host_stream(), values, 0);
  parallel.tensor().broadcast(ctx.host_stream(), values, 0);
}

std::vector<int32_t> share(Context& ctx, const ParallelContext& parallel, std::span<const int32_t> tokens) {
  auto count = static_cast<int32_t>(tokens.size());
  share(ctx, parallel, Tensor::borrow(&count, {1}, DType::i32));
  std::vector<int32_t> shared(tokens.begin(), tokens.end());
  shared.resize(static_cast<size_t>(count));
  if (count > 0) share(ctx, parallel, Tensor::borrow(shared.data(), {count}, DType::i32));
  return shared;
}

}  // namespace

std::string sample_text(Context& ctx, const ParallelContext& parallel, Transformer& model,
                        const Tokenizer* tokenizer, int64_t context, const TextSampleOptions& options) {
  std::vector<int32_t> tokens;
  if (tokenizer != nullptr) tokens = tokenizer->encode(options.prompt);
  if (tokenizer != nullptr && tokens.empty()) tokens.push_back(tokenizer->end_of_text().value_or(0));
  const uint64_t key = hash_name("text_sample") ^ options.seed;
  bool has_ended = tokenizer == nullptr;
  for (int64_t i = 0;; ++i) {
    has_ended = has_ended || i == options.num_tokens || (options.is_over && options.is_over());
    const size_t num_seen = has_ended ? 0 : std::min(tokens.size(), static_cast<size_t>(context));
    const auto seen = share(ctx, parallel, std::span(tokens).last(num_seen));
    if (seen.empty()) break;
    MicroBatch mb = make_micro_batch(ctx, 1, static_cast<int64_t>(seen.size()), seen, {});
    mb.training = false;
    const Tensor all_logits = model.logits(ctx, mb);
    std::vector<float> logits =
        ops::to_host_f32(ctx, all_logits.slice(all_logits.dim(0) - 1, all_logits.dim(0)));
    if (tokenizer == nullptr) continue;
    // A padded vocabulary has rows without a token.
    logits.resize(static_cast<size_t>(tokenizer->vocab_size()));
    const auto bits = philox4x32(key, static_cast<uint64_t>(i), 0);
    const int32_t next = draw(std::move(logits), options.temperature, uniform_from_bits(bits[0]));
    has_ended = tokenizer->end_of_text() == next;
    if (!has_ended) tokens.push_back(next);
  }
  return tokenizer == nullptr ? "" : tokenizer->decode(tokens);
}

}  // namespace trireme::launch
