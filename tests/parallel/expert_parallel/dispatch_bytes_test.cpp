// What a training step hands to the all-to-alls of experts is what the formula of docs/moe.md says.
#include <algorithm>
#include <array>
#include <numeric>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/layout_run.h"

namespace trireme::test {
namespace {

constexpr int64_t kExperts = 8, kSeqLen = 12;

struct Case {
  MoeConfig moe;
  ParallelPlan plan;
  DType precision = DType::f32;
  bool recompute = false;
  int64_t num_micro_batches = 1;  // of one sequence each
};

// Rows of one micro-batch that each expert gets from a rank that passes `rows` of its tokens, where that does
// not depend on the choices (every expert is chosen by all, or filled up), and else from the rank's choices
// in its only sequence.
std::vector<int64_t> rows_for_experts(const Case& c, int64_t rows, const std::vector<double>& chosen) {
  const int64_t room = c.moe.capacity_of(kSeqLen);
  std::vector<int64_t> counts;
  for (const double n : chosen) {
    counts.push_back(c.moe.capacity == CapacityMode::pad ? std::min(room, rows)
                     : c.moe.experts_per_token == c.moe.num_experts
                         ? rows
                         : std::min(room, static_cast<int64_t>(n)));
  }
  return counts;
}

// There and back, forward and backward: a rank sends its rows for the others' experts twice, and twice what
// it has got from them. Each forward pass begins with the counts.
int64_t formula(const ModelConfig& model, DType precision, int rank, bool recompute,
                const std::vector<std::vector<int64_t>>& rows_of_ranks) {
  const int64_t size = std::ssize(rows_of_ranks), held = kExperts / size;
  const auto between = [&](int64_t from, int64_t to) {
    const auto begin = rows_of_ranks[static_cast<size_t>(from)].begin() + to * held;
    return from == to ? 0 : std::accumulate(begin, begin + held, int64_t{0});
  };
  int64_t rows = 0;
  for (int64_t other = 0; other < size; ++other) rows += between(rank, other) + between(other, rank);
  const int64_t forwards = recompute ? 2 : 1;
  const auto bytes = static_cast<int64_t>(size_of(precision));
  return (forwards + 1) * rows * model.hidden_size * bytes + forwards * (size - 1) * held * 8;
}

std::vector<int64_t> gather(Context& ctx, Communicator& comm, std::vector<int64_t> mine) {
  std::vector<int64_t> all(mine.size() * static_cast<size_t>(comm.size()));
  comm.all_gather(ctx.stream(), Tensor::borrow(mine.data(), {std::ssize(mine)}, DType::i64),
                  Tensor::borrow(all.data(), {std::ssize(all)}, DType::i64));
  return all;
}

void check(Communicator& world, const Case& c) {
  ModelConfig model = tiny_model(ModelFamily::llama);
  model.moe = c.moe;
  Context ctx;
  const RecomputeMode mode = c.recompute ? RecomputeMode::full : RecomputeMode::none;
  TrainingSession session(
      ctx, world, c.plan, model,
      {.max_seq_len = kSeqLen, .precision = c.precision, .recomputation = {.mode = mode}, .seed = 7});
  const ParallelContext& parallel = session.parallel();
  const ParallelPlan& plan = session.plan();
  std::vector<int32_t> ids;
  for (int32_t t = 0; t < kSeqLen; ++t) ids.push_back((5 * t + 11 * parallel.data().rank()) % 37);
  std::vector<MicroBatch> batches;
  for (int64_t m = 0; m < c.num_micro_batches; ++m)
    batches.push_back(make_micro_batch(ctx, 1, kSeqLen, ids, ids, session.share()));

  Communicator& experts = parallel.experts();
  const int64_t before = experts.bytes_exchanged();
  const PendingStep pending = session.step().forward_backward(batches);
  const int64_t sent = experts.bytes_exchanged() - before;

  const int64_t passed = kSeqLen / plan.context / plan.expert_row_shards();
  int64_t expected = 0;
  for (const RouterBalance* router : session.part().routers()) {
    std::vector<double> chosen = router->sums.chosen;  // of equal micro-batches
    for (double& n : chosen) n /= static_cast<double>(c.num_micro_batches);
    const std::vector<int64_t> all = gather(ctx, experts, rows_for_experts(c, passed, chosen));
    std::vector<std::vector<int64_t>> of_ranks;
    for (int rank = 0; rank < experts.size(); ++rank)
      of_ranks.emplace_back(all.begin() + rank * kExperts, all.begin() + (rank + 1) * kExperts);
    expected += c.num_micro_batches * formula(model, c.precision, experts.rank(), c.recompute, of_ranks);
  }
  EXPECT_EQ(sent, expected) << "rank " << world.rank();
  EXPECT_GT(expected, 0);
}

MoeConfig mixture(int64_t k, CapacityMode capacity = CapacityMode::dropless) {
  return {.num_experts = kExperts,
          .experts_per_token = k,
          .expert_ffn_size = 12,
          .normalize_gates = k > 1,
          .capacity = capacity,
          .capacity_factor = 0.75};
}

TEST(DispatchBytes, DroplessFollowTheChoices) {
  const std::array<Case, 9> cases = {{
      {mixture(1), {.data = 2, .expert = 2}},
      {mixture(2), {.data = 2, .expert = 2}, DType::f32, false, 3},
      {mixture(2), {.data = 4, .expert = 4}},
      {mixture(2), {.data = 4, .expert = 2}, DType::bf16},
      {mixture(3), {.data = 2, .expert = 2, .expert_chunks = 3}},
      {mixture(2), {.data = 2, .tensor = 2, .expert = 2}},
      {mixture(2), {.data = 2, .tensor = 2, .expert = 2, .expert_chunks = 2, .sequence = true}},
      {mixture(2), {.data = 2, .pipeline = 2, .expert = 2}, DType::f32, false, 2},
      {mixture(2), {.data = 2, .context = 2, .expert = 4}, DType::f32, true},
  }};
  for (const Case& c : cases) {
    SCOPED_TRACE(fmt::format("case {}", &c - cases.data()));
    run_thread_ranks(c.plan.data * c.plan.ranks_per_replica(), [&](Communicator& world) { check(world, c); });
  }
}

TEST(DispatchBytes, WhatIsDroppedDoesNotTravelAndFillingDoes) {
  for (const CapacityMode capacity : {CapacityMode::drop, CapacityMode::pad}) {
    for (const int64_t k : {1, 2}) {
      for (const ParallelPlan& plan :
           {ParallelPlan{.data = 2, .expert = 2}, ParallelPlan{.data = 4, .expert = 4, .expert_chunks = 2},
            ParallelPlan{.data = 2, .tensor = 2, .expert = 2, .sequence = true}}) {
        SCOPED_TRACE(
            fmt::format("capacity mode {}, k {}, ep {}", static_cast<int>(capacity), k, plan.expert));
        run_thread_ranks(plan.data * plan.ranks_per_replica(), [&](Communicator& world) {
          check(world, {mixture(k, capacity), plan});
        });
      }
    }
  }
}

// Tensor ranks divide the rows: each row leaves once, whatever their number.
TEST(DispatchBytes, RowsDividedByTensorRanksTravelOnce) {
  MoeConfig roomy = mixture(2, CapacityMode::pad);
  roomy.capacity_factor = 4;  // more room than a rank passes rows
  for (const bool sequence : {false, true}) {
    for (const MoeConfig& moe : {mixture(kExperts), mixture(2, CapacityMode::pad), roomy}) {
      const Case whole{moe, {.data = 1, .tensor = 2, .expert = 2, .expert_tensor = 1, .sequence = sequence}};
      run_thread_ranks(2, [&](Communicator& world) { check(world, whole); });
      const Case half{moe, {.data = 2, .tensor = 4, .expert = 4, .expert_tensor = 2, .sequence = sequence}};
      run_thread_ranks(8, [&](Communicator& world) { check(world, half); });
    }
  }
}

}  // namespace
}  // namespace trireme::test
