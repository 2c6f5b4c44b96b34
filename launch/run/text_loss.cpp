#include "launch/run/text_loss.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/base/error.h"
#include "runtime/data/tokens/token_source.h"
#include "runtime/ops/training/cross_entropy.h"

namespace trireme::launch {

namespace {

/// Rank 0's, on every rank.
std::vector<int32_t> shared(Context& ctx, Communicator& world, std::span<const int32_t> ids) {
  int64_t count = std::ssize(ids);
  world.broadcast(ctx.host_stream(), Tensor::borrow(&count, {1}, DType::i64), 0);
  std::vector<int32_t> all(ids.begin(), ids.end());
  all.resize(static_cast<size_t>(count));
  if (count > 0) world.broadcast(ctx.host_stream(), Tensor::borrow(all.data(), {count}, DType::i32), 0);
  return all;
}

/// Samples [first, first + count) of the ids; behind the last token nothing counts.
MicroBatch micro_batch_of(Context& ctx, const ContextShare& share, const std::vector<int32_t>& ids,
                          int64_t first, int64_t count, const TextSamples& samples) {
  std::vector<int32_t> tokens, targets;
  const int64_t num_inputs = std::ssize(ids) - 1;
  for (int64_t at = first * samples.seq_len; at < (first + count) * samples.seq_len; ++at) {
    const bool is_there = at < num_inputs;
    tokens.push_back(is_there ? ids[static_cast<size_t>(at)] : 0);
    targets.push_back(is_there ? ids[static_cast<size_t>(at) + 1] : ops::kIgnoredTarget);
  }
  MicroBatch batch =
      make_micro_batch(ctx, count, samples.seq_len, tokens, targets, share, samples.end_of_text);
  batch.training = false;
  return batch;
}

}  // namespace

TextLoss text_loss(TrainingSession& session, Communicator& world, std::span<const int32_t> ids,
                   const TextSamples& samples) {
  Context& ctx = session.context();
  const std::vector<int32_t> all = shared(ctx, world, ids);
  if (all.size() < 2) throw_usage("a text of {} tokens predicts nothing: two are the least", all.size());
  check_ids(all, session.model().config().vocab_size, "the text", 0);
  const Communicator& replicas = session.parallel().data();
  const int64_t num_samples = (std::ssize(all) - 2) / samples.seq_len + 1;
  // Every replica takes as many, and of one size: those that divide weights run layers together.
  const int64_t each = (num_samples + replicas.size() - 1) / replicas.size();
  const int64_t size = std::min(samples.micro_batch, each), rounds = (each + size - 1) / size;
  int64_t round = 0;
  const BatchTotals totals = session.step().evaluate_from([&] {
    std::vector<MicroBatch> batches;
    if (round == rounds) return batches;
    const int64_t first = (round++ * replicas.size() + replicas.rank()) * size;
    batches.push_back(micro_batch_of(ctx, session.share(), all, first, size, samples));
    return batches;
  });
  return {totals.mean_loss(), static_cast<int64_t>(totals.weight)};
}

}  // namespace trireme::launch
