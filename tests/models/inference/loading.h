// What tests of loading compare: a model that is only read, and a training's with the same weights.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "models/inference/inference_model.h"
#include "models/session/training_session.h"
#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "parallel/checkpoint/save/commit.h"
#include "parallel/checkpoint/snapshot.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/ops/host_copy.h"
#include "tests/support/layout_run.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tensors.h"

namespace trireme::test {

/// Of two sequences of 7 tokens.
inline std::vector<float> logits_of(Context& ctx, Transformer& model) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < 14; ++i)
    tokens.push_back(static_cast<int32_t>((5 * i * i + 3 * i + 1) % model.config().vocab_size));
  return to_vector(model.logits(ctx, make_micro_batch(ctx, 2, 7, tokens, {})));
}

/// Of a training that begins with these weights (empty: initial ones), on one rank.
inline std::vector<float> trained_logits(const std::string& weights, const ModelConfig& config,
                                         DType precision = DType::f32, uint64_t seed = 3) {
  const auto self = make_self_communicator();
  Context ctx;
  TrainingSession session(ctx, *self, {}, config, {.precision = precision, .seed = seed, .weights = weights});
  return logits_of(ctx, session.model());
}

/// A run's model.safetensors.
inline std::string saved_file(const TemporaryFolder& folder, const ModelConfig& config) {
  const auto self = make_self_communicator();
  Context ctx;
  TrainingSession session(ctx, *self, {}, config, {.max_seq_len = 8, .seed = 3});
  session.save(folder.path("model.safetensors"));
  return folder.path("model.safetensors");
}

/// A checkpoint of the same weights by a training in a layout. Buckets are small, so that ZeRO's shards begin
/// within rows.
inline std::string saved_checkpoint(const std::string& folder, const ModelConfig& config, ParallelPlan plan,
                                    DType precision = DType::f32, bool master = true) {
  plan.bucket_mib = in_mib(3000);
  run_thread_ranks(plan.world_size(), [&](Communicator& world) {
    Context ctx;
    TrainingSession session(ctx, world, plan, config,
                            {.max_seq_len = 8, .precision = precision, .master = master, .seed = 3});
    FileCalls kernel;
    Snapshot snapshot;
    snapshot.take(world.rank(), session.state_slices());
    CommitRequest request{folder, {}, {}};
    request.state.step = 1;
    commit_checkpoint(kernel, world, request,
                      [&](const std::string& to) { return snapshot.write(kernel, to); });
  });
  return folder + "/" + checkpoint_name(1);
}

/// The parameters of a rank as its blocks hold them.
inline std::map<std::string, std::vector<float>> held_values(Context& ctx, Transformer& model) {
  std::map<std::string, std::vector<float>> all;
  for (const ParameterBlock* block : model.part().blocks()) {
    std::vector<float> values;
    if (block->packed) {
      for (const ops::PackedWeight& part : block->packed->parts) {
        std::vector<float> row(static_cast<size_t>(part.inputs));
        for (int64_t r = 0; r < part.rows(); ++r) {
          ops::unpack_row(ctx, part, r, row);
          values.insert(values.end(), row.begin(), row.end());
        }
      }
    } else {
      values = ops::to_host_f32(ctx, block->weight);
    }
    auto at = values.begin();
    for (const Parameter& p : block->members) {
      const int64_t numel = p.shape.numel();
      all[p.name].assign(at, at + numel);
      at += numel;
    }
    EXPECT_EQ(at, values.end()) << block->members.front().name;
  }
  return all;
}

/// Of a training on one rank with these parameters.
inline std::vector<float> logits_with(const std::map<std::string, std::vector<float>>& values,
                                      const ModelConfig& config) {
  const auto self = make_self_communicator();
  Context ctx;
  TrainingSession session(ctx, *self, {}, config, {});
  session.storage().set(ctx, [&](const Parameter& p, const Tensor& t) {
    write(t, values.at(p.name));
    return true;
  });
  return logits_of(ctx, session.model());
}

/// Fails unless each is that of `expected`, up to `tolerance` of the largest.
inline void expect_near(const std::vector<float>& values, const std::vector<float>& expected,
                        double tolerance) {
  ASSERT_EQ(values.size(), expected.size());
  double largest = 0;
  for (const float x : expected) largest = std::max(largest, std::abs(static_cast<double>(x)));
  ASSERT_GT(largest, 0);
  for (size_t i = 0; i < values.size(); ++i)
    ASSERT_NEAR(values[i], expected[i], tolerance * largest) << "logit " << i;
}

}  // namespace trireme::test
