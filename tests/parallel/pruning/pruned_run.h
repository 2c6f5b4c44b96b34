// Short runs that are pruned, in some layout, and all of their state.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "parallel/module/local_ranges.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/ops/host_copy.h"
#include "tests/support/layout_run.h"

namespace trireme::test {

using Values = std::map<std::string, std::vector<float>>;

inline constexpr int kSeqLen = 8;

inline ModelConfig model_of(ModelFamily family, int64_t experts = 0) {
  ModelConfig model = tiny_model(family);
  model.num_layers = 2;
  model.moe.num_experts = experts;
  return model;
}

inline void train(TrainingSession& session, int steps, double lr = 1e-2) {
  std::vector<int32_t> tokens, targets;
  for (int i = 0; i < 2 * kSeqLen; ++i) {
    tokens.push_back(i * 5 % 37);
    targets.push_back((i * i + 3) % 37);
  }
  for (int step = 0; step < steps; ++step) {
    MicroBatch batch = make_micro_batch(session.context(), 2, kSeqLen, tokens, targets, session.share());
    session.step().apply(session.step().forward_backward({&batch, 1}), lr);
  }
}

/// What all ranks hold of the state together, whole, by its name in a checkpoint: weights, moments, masks.
class Whole {
 public:
  void add(TrainingSession& session) {
    Context& ctx = session.context();
    for (const ParameterGroup& group : session.storage().groups()) {
      add(ctx, group, group.master ? group.master : group.weights, "");
      add(ctx, group, group.weights, "copy");
    }
    for (const StateBuffer& state : session.step().optimizer_state())
      add(ctx, *state.group, state.values, state.name);
    const std::lock_guard lock(mutex_);
    part_zero = session.step().pruner()->part_zero();
  }
  const std::vector<float>& mask(const std::string& name) const {
    return values.at(state_name("pruned", name));
  }
  Values masks() const {
    Values some;
    for (const auto& [name, of] : values) {
      if (name.starts_with("optimizer.pruned.")) some[name] = of;
    }
    return some;
  }
  /// Of a matrix.
  int64_t zeros(const std::string& name) const { return std::ranges::count(mask(name), 1.0f); }

  Values values;
  double part_zero = 0;

 private:
  void add(Context& ctx, const ParameterGroup& group, const Tensor& buffer, const std::string& state) {
    for (const LocalRange& range : own_ranges(group, extent_of(group, buffer))) {
      std::vector<float> part;
      if (buffer.dtype() == DType::u8) {
        const auto bytes = ops::to_host<uint8_t>(ctx, range.in(buffer));
        part.assign(bytes.begin(), bytes.end());
      } else {
        part = ops::to_host_f32(ctx, range.in(buffer));
      }
      const std::lock_guard lock(mutex_);
      std::vector<float>& whole = values[state_name(state, range.parameter->name)];
      whole.resize(static_cast<size_t>(range.parameter->global_shape.numel()), kUnset);
      int64_t unlike = 0;
      for (size_t i = 0; i < part.size(); ++i) {
        const auto at =
            static_cast<size_t>(global_index(*range.parameter, range.first + static_cast<int64_t>(i)));
        unlike += whole[at] != kUnset && whole[at] != part[i];
        whole[at] = part[i];
      }
      EXPECT_EQ(unlike, 0) << state << " " << range.parameter->name << ": copies differ";
    }
  }
  static constexpr float kUnset = -1e30f;
  std::mutex mutex_;
};

struct PrunedRun {
  ModelConfig model = model_of(ModelFamily::llama);
  PruneConfig prune;
  ParallelPlan plan = {.data = 1};
  SessionOptions options = {.max_seq_len = kSeqLen, .seed = 3};
};

using WithSession = std::function<void(Communicator&, TrainingSession&)>;
inline void on_ranks(const PrunedRun& run, const WithSession& use) {
  run_thread_ranks(run.plan.world_size(), [&](Communicator& world) {
    Context ctx;
    SessionOptions options = run.options;
    options.step.prune = run.prune;
    TrainingSession session(ctx, world, run.plan, run.model, options);
    use(world, session);
  });
}

inline std::unique_ptr<Whole> trained(const PrunedRun& run, int steps) {
  auto whole = std::make_unique<Whole>();
  on_ranks(run, [&](Communicator&, TrainingSession& session) {
    train(session, steps);
    whole->add(session);
  });
  return whole;
}

/// What is pruned is zero in every buffer.
inline void expect_zero(const Whole& whole) {
  for (const auto& [name, mask] : whole.masks()) {
    const std::string parameter = name.substr(std::string("optimizer.pruned.").size());
    for (const char* state : {"", "copy", "first_moment", "second_moment", "momentum"}) {
      const auto it = whole.values.find(state_name(state, parameter));
      if (it == whole.values.end()) continue;
      int64_t others = 0;
      for (size_t i = 0; i < mask.size(); ++i) others += mask[i] != 0 && it->second[i] != 0;
      EXPECT_EQ(others, 0) << it->first;
    }
  }
}

}  // namespace trireme::test
