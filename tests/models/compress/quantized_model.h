// Small models quantized in some layout, and all that comes of it.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "models/compress/quantize_model.h"
#include "models/formats/open_weights.h"
#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/base/philox.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/layout_run.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tensors.h"

namespace trireme::test {

/// A sink that keeps everything.
struct KeptResults final : QuantizationSink {
  void matrix(const std::string& name, const ops::CodedMatrix& whole) override { matrices[name] = whole; }
  void values(const std::string& name, const Shape& shape, std::span<const float> whole) override {
    EXPECT_EQ(shape.numel(), std::ssize(whole)) << name;
    tensors[name].assign(whole.begin(), whole.end());
    shapes[name] = shape;
  }
  void block_done(int64_t index) override { done.push_back(index); }

  std::map<std::string, ops::CodedMatrix> matrices;
  std::map<std::string, std::vector<float>> tensors;
  std::map<std::string, Shape> shapes;
  std::vector<int64_t> done;
};

/// Such results as the file of an earlier attempt.
class KeptSource final : public WeightSource {
 public:
  explicit KeptSource(const KeptResults& kept, bool gives_codes = true)
      : kept_(kept), gives_codes_(gives_codes) {}
  const std::string& path() const override { return path_; }
  std::map<std::string, StoredKind, std::less<>> kinds() const override {
    std::map<std::string, StoredKind, std::less<>> kinds;
    for (const auto& [name, shape] : kept_.shapes) kinds[name] = {shape, DType::f32};
    for (const auto& [name, matrix] : kept_.matrices)
      kinds[name] = {{matrix.outputs, matrix.inputs}, DType::f32};
    return kinds;
  }
  void read(std::string_view name, const Parameter& p, std::span<float> values) const override {
    const std::string key(name);
    const int64_t width = p.shape.rank() > 1 ? p.global_shape[1] : 1,
                  columns = p.shape.rank() > 1 ? p.shape[1] : 1, first = p.shape.rank() > 1 ? p.offset[1] : 0;
    std::vector<float> row(static_cast<size_t>(width));
    for (int64_t r = 0; r < p.shape[0]; ++r) {
      if (kept_.matrices.contains(key)) {
        ops::decode_row(kept_.matrices.at(key), p.offset[0] + r, row);
      } else {
        const auto begin = kept_.tensors.at(key).begin() + (p.offset[0] + r) * width;
        row.assign(begin, begin + width);
      }
      std::copy_n(row.begin() + first, columns, values.begin() + r * columns);
    }
  }
  std::optional<ops::CodedMatrix> coded(std::string_view name, const Parameter& p) const override {
    const auto found = kept_.matrices.find(std::string(name));
    if (!gives_codes_ || found == kept_.matrices.end()) return std::nullopt;
    EXPECT_EQ(p.shape, p.global_shape);
    return found->second;
  }
  std::optional<ops::PackedSpec> coded_spec(std::string_view name, const Parameter& p) const override {
    const auto found = kept_.matrices.find(std::string(name));
    if (!gives_codes_ || found == kept_.matrices.end() || p.shape != p.global_shape) return std::nullopt;
    return found->second.spec;
  }

 private:
  const KeptResults& kept_;
  bool gives_codes_;
  std::string path_ = "kept";
};

/// The initial weights of a model, in a file that goes with this.
class InitialWeights {
 public:
  explicit InitialWeights(const ModelConfig& config, uint64_t seed = 3) : config_(config) {
    const auto self = make_self_communicator();
    Context ctx;
    TrainingSession session(ctx, *self, {}, config, {.max_seq_len = 8, .seed = seed});
    session.save(path());
  }
  std::string path() const { return folder_.path("weights.safetensors"); }
  const ModelConfig& config() const { return config_; }
  std::unique_ptr<WeightSource> open() const { return open_weights(find_weights(path()), config_); }

 private:
  ModelConfig config_;
  TemporaryFolder folder_;
};

inline std::vector<std::vector<int32_t>> some_samples(const ModelConfig& config, int64_t count,
                                                      int64_t length, uint64_t seed = 1) {
  std::vector<std::vector<int32_t>> samples(static_cast<size_t>(count));
  for (size_t s = 0; s < samples.size(); ++s) {
    for (int64_t t = 0; t < length; ++t) {
      const auto drawn = philox4x32(seed, s * 1000 + static_cast<uint64_t>(t), 5);
      samples[s].push_back(static_cast<int32_t>(drawn[0] % static_cast<uint64_t>(config.vocab_size)));
    }
  }
  return samples;
}

/// All matrices alike.
inline QuantizationPlan plan_of_all(const RoundingOptions& rounding) {
  QuantizationPlan plan;
  plan.plan_of = [rounding](const std::string&) { return MatrixPlan{rounding}; };
  return plan;
}

struct QuantizedRun {
  KeptResults kept;
  std::vector<MatrixOutcome> outcomes;
  std::map<std::string, InputStatistics> statistics;
  std::vector<float> logits, logits_before;  // of the first rank's replica, of all samples
  std::vector<QuantizationProgress> progress;
};

inline std::vector<float> logits_of_samples(Context& ctx, Transformer& model,
                                            const std::vector<std::vector<int32_t>>& samples) {
  std::vector<int32_t> tokens;
  for (const auto& sample : samples) tokens.insert(tokens.end(), sample.begin(), sample.end());
  TokenBatch batch = make_micro_batch(ctx, std::ssize(samples), std::ssize(samples.front()), tokens, {});
  batch.like_paged = true;
  batch.training = false;
  return to_vector(model.logits(ctx, batch));
}

/// In a layout, on threads.
inline QuantizedRun quantize_in(const ParallelPlan& plan, const InitialWeights& weights,
                                QuantizeModelOptions options, DType compute_type = DType::f32) {
  QuantizedRun run;
  std::mutex mutex;
  options.measured = [&](const std::string& name, const InputStatistics& s) {
    const std::lock_guard lock(mutex);
    const auto [at, is_new] = run.statistics.try_emplace(name, s);
    if (!is_new) {
      EXPECT_EQ(at->second.hessian, s.hessian) << name;
      EXPECT_EQ(at->second.tokens, s.tokens) << name;
    }
  };
  options.progress = [&](const QuantizationProgress& p) { run.progress.push_back(p); };
  const auto samples = some_samples(weights.config(), 3, weights.config().max_positions / 2, 77);
  run_thread_ranks(plan.world_size(), [&](Communicator& world) {
    Context ctx;
    const auto source = weights.open();
    InferenceModel model(ctx, world, *source, weights.config(), {.plan = plan, .compute_type = compute_type});
    auto before = logits_of_samples(ctx, model.model(), samples);
    KeptResults dropped;
    const bool is_first = world.rank() == 0;
    const auto outcomes = quantize_model(ctx, model, *source, options, is_first ? run.kept : dropped);
    EXPECT_TRUE(dropped.matrices.empty() && dropped.tensors.empty() && dropped.done.empty());
    auto logits = logits_of_samples(ctx, model.model(), samples);
    if (is_first) {
      run.outcomes = outcomes;
      run.logits = std::move(logits);
      run.logits_before = std::move(before);
    } else {
      EXPECT_TRUE(outcomes.empty());
    }
  });
  return run;
}

/// The largest difference over the largest of `expected`.
inline double relative_difference(const std::vector<float>& found, const std::vector<float>& expected) {
  double largest = 0, difference = 0;
  EXPECT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < std::min(found.size(), expected.size()); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    difference = std::max(difference, std::abs(static_cast<double>(found[i]) - expected[i]));
  }
  return difference / std::max(largest, 1e-30);
}

}  // namespace trireme::test
