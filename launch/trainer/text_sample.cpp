#include "launch/trainer/text_sample.h"

#include <algorithm>
#include <cmath>

#include "runtime/base/philox.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

namespace {

// Logits of the last row, on the host.
std::vector<float> last_logits(Context& ctx, const Tensor& logits) {
  const int64_t vocab = logits.dim(1);
  std::vector<float> values(static_cast<size_t>(vocab));
  ops::copy(ctx, logits.slice(logits.dim(0) - 1, logits.dim(0)),
            Tensor::borrow(values.data(), {1, vocab}, DType::f32));
  ctx.stream().synchronize();
  return values;
}

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

}  // namespace

std::string sample_text(Context& ctx, Transformer& model, const Tokenizer& tokenizer, int64_t context,
                        const TextSampleOptions& options) {
  std::vector<int32_t> tokens = tokenizer.encode(options.prompt);
  if (tokens.empty()) tokens.push_back(tokenizer.end_of_text().value_or(0));
  const uint64_t key = hash_name("text_sample") ^ options.seed;
  for (int64_t i = 0; i < options.num_tokens; ++i) {
    const size_t seen = std::min(tokens.size(), static_cast<size_t>(context));
    MicroBatch mb = make_micro_batch(ctx, 1, static_cast<int64_t>(seen), std::span(tokens).last(seen), {});
    mb.training = false;
    const auto bits = philox4x32(key, static_cast<uint64_t>(i), 0);
    std::vector<float> logits = last_logits(ctx, model.logits(ctx, mb));
    logits.resize(
        static_cast<size_t>(tokenizer.vocab_size()));  // a padded vocabulary has rows without a token
    const int32_t next = draw(std::move(logits), options.temperature, uniform_from_bits(bits[0]));
    if (tokenizer.end_of_text() == next) break;
    tokens.push_back(next);
  }
  return tokenizer.decode(tokens);
}

}  // namespace trireme
