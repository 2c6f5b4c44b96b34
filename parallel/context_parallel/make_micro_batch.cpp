#include "parallel/context_parallel/make_micro_batch.h"

#include <cmath>
#include <type_traits>
#include <vector>

#include "parallel/context_parallel/documents.h"
#include "runtime/base/error.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/training/cross_entropy.h"

namespace trireme {

namespace {

void ignore_weightless(std::span<const float> weights, std::vector<int32_t>& targets) {
  for (size_t i = 0; i < weights.size(); ++i) {
    TRIREME_CHECK(std::isfinite(weights[i]) && weights[i] >= 0, "target {} has a weight of {}", i,
                  weights[i]);
    if (weights[i] == 0) targets[i] = ops::kIgnoredTarget;
  }
}

// Of the targets that count.
double weight_of(std::span<const int32_t> targets, std::span<const float> weights) {
  if (weights.empty()) return static_cast<double>(num_counted(targets));
  double sum = 0;
  for (size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] != ops::kIgnoredTarget) sum += double{weights[i]};
  }
  return sum;
}

}  // namespace

MicroBatch make_micro_batch(Context& ctx, int64_t batch, int64_t seq_len, std::span<const int32_t> tokens,
                            std::span<const int32_t> targets, const ContextShare& share,
                            std::optional<int32_t> end_of_text, std::span<const float> weights) {
  const auto num_rows = static_cast<size_t>(batch * seq_len);
  TRIREME_CHECK(tokens.size() == num_rows && (targets.empty() || targets.size() == num_rows),
                "{} tokens and {} targets for {} rows", tokens.size(), targets.size(), num_rows);
  TRIREME_CHECK(weights.empty() || weights.size() == targets.size(), "{} weights for {} targets",
                weights.size(), targets.size());
  const auto of_sequence = [&]<class T>(std::span<T> values, int64_t b) {
    const auto length = static_cast<size_t>(seq_len);
    return values.empty() ? values : values.subspan(static_cast<size_t>(b) * length, length);
  };
  std::vector<int32_t> expected(targets.begin(), targets.end()), places, positions(num_rows),
      first_keys(num_rows);
  ignore_weightless(weights, expected);
  MicroBatch mb;
  std::vector<size_t> held;  // indices of this rank's tokens
  for (int64_t b = 0; b < batch; ++b) {
    for (const Part& part : share.tokens(seq_len)) {
      for (int64_t t = part.begin; t < part.end; ++t) {
        held.push_back(static_cast<size_t>(b * seq_len + t));
        places.push_back(static_cast<int32_t>(t));
      }
    }
    if (!end_of_text) continue;
    separate_documents(of_sequence(tokens, b), *end_of_text, of_sequence(std::span(expected), b),
                       of_sequence(std::span(positions), b), of_sequence(std::span(first_keys), b));
    append_chunk_first_keys(of_sequence(std::span(first_keys), b), share, mb.chunk_first_keys);
  }
  const auto held_of = [&]<class T>(std::span<T> values) {
    std::vector<std::remove_const_t<T>> picked;
    for (const size_t i : held) picked.push_back(values[i]);
    return picked;
  };
  const auto to_device = [&](const auto& values) {
    return ops::to_device(ctx, values, {static_cast<int64_t>(values.size())});
  };
  mb.batch = batch;
  mb.seq_len = seq_len / share.size;
  mb.context_parts = share.size;
  mb.tokens = to_device(held_of(tokens));
  mb.positions = to_device(places);
  if (end_of_text) {
    mb.places = mb.positions;
    mb.positions = to_device(held_of(std::span(positions)));
    mb.first_key = to_device(held_of(std::span(first_keys))).view({batch, mb.seq_len});
  }
  if (targets.empty()) return mb;
  for (int64_t b = 0; b < batch; ++b) {
    mb.weight_of_sequence.push_back(
        weight_of(of_sequence(std::span<const int32_t>(expected), b), of_sequence(weights, b)));
  }
  const std::vector<int32_t> held_targets = held_of(std::span(expected));
  const std::vector<float> held_weights = weights.empty() ? std::vector<float>() : held_of(weights);
  mb.weight = weight_of(held_targets, held_weights);
  mb.targets = to_device(held_targets);
  if (!weights.empty()) mb.target_weights = to_device(held_weights);
  return mb;
}

}  // namespace trireme
