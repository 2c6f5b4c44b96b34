#include "parallel/context_parallel/make_micro_batch.h"

#include <algorithm>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/training/cross_entropy.h"

namespace trireme {

MicroBatch make_micro_batch(Context& ctx, int64_t batch, int64_t seq_len, std::span<const int32_t> tokens,
                            std::span<const int32_t> targets, const ContextShare& share) {
  std::vector<size_t> held;  // indices of this rank's tokens
  std::vector<int32_t> positions;
  for (int64_t b = 0; b < batch; ++b) {
    for (const Part& part : share.tokens(seq_len)) {
      for (int64_t t = part.begin; t < part.end; ++t) {
        held.push_back(static_cast<size_t>(b * seq_len + t));
        positions.push_back(static_cast<int32_t>(t));
      }
    }
  }
  const auto held_of = [&](std::span<const int32_t> values) {
    TRIREME_CHECK(static_cast<int64_t>(values.size()) == batch * seq_len, "{} values", values.size());
    std::vector<int32_t> picked;
    for (const size_t i : held) picked.push_back(values[i]);
    return picked;
  };
  const auto to_device = [&](const std::vector<int32_t>& values) {
    return ops::to_device(ctx, values, {static_cast<int64_t>(values.size())});
  };
  MicroBatch mb;
  mb.batch = batch;
  mb.seq_len = seq_len / share.size;
  mb.context_parts = share.size;
  mb.tokens = to_device(held_of(tokens));
  mb.positions = to_device(positions);
  if (targets.empty()) return mb;
  for (int64_t b = 0; b < batch; ++b) {
    mb.targets_of_sequence.push_back(
        std::ranges::count_if(targets.subspan(static_cast<size_t>(b * seq_len), static_cast<size_t>(seq_len)),
                              [](int32_t t) { return t != ops::kIgnoredTarget; }));
  }
  const std::vector<int32_t> held_targets = held_of(targets);
  mb.num_targets = std::ranges::count_if(held_targets, [](int32_t t) { return t != ops::kIgnoredTarget; });
  mb.targets = to_device(held_targets);
  return mb;
}

}  // namespace trireme
