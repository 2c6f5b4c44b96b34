#include "launch/export/check_export.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/transformer/transformer.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/base/philox.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/ops/host_copy.h"

namespace trireme::launch {

namespace {

constexpr uint64_t kTokensKey = 0xe49047;
constexpr int64_t kSequences = 2, kLongest = 32;

}  // namespace

std::vector<float> drawn_logits(const ModelConfig& config, const FillParameter& fill) {
  Context ctx;
  const auto self = make_self_communicator();
  const ParallelContext one_rank(*self, {.data = 1});
  const int64_t length = std::min(kLongest, config.max_positions);
  ShardingSpec sharding;
  sharding.rules = {{.frozen = true}};
  Transformer model(ctx, one_rank, config, {.max_seq_len = length, .sharding = sharding});
  model.storage().set(ctx, [&](const Parameter& p, const Tensor& values) {
    std::vector<float> numbers(static_cast<size_t>(p.shape.numel()));
    fill(p, numbers);
    ops::write(ctx, numbers, values);
    return true;
  });
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < kSequences * length; ++i) {
    const auto drawn = philox4x32(kTokensKey, static_cast<uint64_t>(i), 0);
    tokens.push_back(static_cast<int32_t>(drawn[0] % static_cast<uint32_t>(config.vocab_size)));
  }
  MicroBatch batch = make_micro_batch(ctx, kSequences, length, tokens, {});
  batch.training = false;
  return ops::to_host_f32(ctx, model.logits(ctx, batch));
}

double largest_difference(std::span<const float> expected, std::span<const float> got) {
  constexpr double kNone = std::numeric_limits<double>::infinity();
  if (expected.size() != got.size()) return kNone;
  double most = 0, largest = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    if (!std::isfinite(got[i]) || !std::isfinite(expected[i])) return kNone;
    most = std::max(most, std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i])));
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  return most == 0 ? 0 : most / largest;
}

}  // namespace trireme::launch
