// Small trained models of all kinds for tests of generation.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/config/model_config.h"
#include "models/inference/cached_model.h"
#include "models/inference/generator.h"
#include "models/session/training_session.h"
#include "runtime/comm/communicator.h"
#include "tests/support/temporary_folder.h"

namespace trireme::test {

struct NamedModel {
  std::string name;
  ModelConfig config;
};
void PrintTo(const NamedModel& model, std::ostream* out);

/// Dense as Llama and as GPT-2, a mixture, shared layers, windows and soft caps, grouped queries with norms,
/// partly rotary positions and sparse patterns: four blocks each.
std::vector<NamedModel> inference_models(int64_t max_positions);
/// With convolutions in the place of attention; narrow inside.
std::vector<NamedModel> edge_models(int64_t max_positions);

/// `count` tokens below `vocab_size` that depend on the seed alone; of a language so simple that a model
/// learns something of it in few steps.
std::vector<int32_t> some_text(int64_t vocab_size, int64_t count, uint64_t seed);

/// The weights of a model after some steps on some_text(), in a file that goes with this.
class TrainedWeights {
 public:
  explicit TrainedWeights(const ModelConfig& config, int steps = 12);
  std::string path() const { return folder_.path("weights.safetensors"); }

 private:
  TemporaryFolder folder_;
};

/// A rank with such a model and a cache.
struct CachedRank {
  CachedRank(Communicator& world, const ParallelPlan& plan, const ModelConfig& config,
             const std::string& weights, const CacheOptions& options, int num_threads = 1,
             DType precision = DType::f32);

  Context ctx;
  TrainingSession session;
  CachedModel cached;
};

using Texts = std::vector<std::vector<int32_t>>;

/// Requests of all kinds: greedy and drawn, with filters and penalties, of several lengths; some prompts
/// begin alike.
std::vector<GenerationRequest> some_requests(int64_t vocab_size, int64_t count, uint64_t seed);

/// The texts of all requests at once, in their order. All ranks call it; fails the test where on_token sees
/// other tokens than those of the texts.
Texts generate(Context& ctx, const ParallelContext& parallel, CachedModel& cached,
               const GeneratorOptions& options, const std::vector<GenerationRequest>& requests,
               GenerationCounts* counts = nullptr);
inline Texts generate(CachedRank& rank, const GeneratorOptions& options,
                      const std::vector<GenerationRequest>& requests, GenerationCounts* counts = nullptr) {
  return generate(rank.ctx, rank.session.parallel(), rank.cached, options, requests, counts);
}

}  // namespace trireme::test
