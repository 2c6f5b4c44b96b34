// Models that are only read write what a training's model writes, and in any format the same text in any
// company.
#include <gtest/gtest.h>

#include "models/inference/inference_model.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/inference_models.h"

namespace trireme::test {
namespace {

constexpr int64_t kLongest = 96;

class PackedGeneration : public testing::TestWithParam<NamedModel> {
 protected:
  Texts texts_of(Communicator& world, const InferenceOptions& options, const CacheOptions& cache,
                 const GeneratorOptions& of_generator) const {
    Context ctx;
    InferenceModel model(ctx, world, weights_.path(), GetParam().config, options);
    CachedModel cached(ctx, model.parallel(), model.model(), cache);
    return generate(ctx, model.parallel(), cached, of_generator, requests_);
  }

  TrainedWeights weights_{GetParam().config};
  std::vector<GenerationRequest> requests_ = some_requests(GetParam().config.vocab_size, 8, 3);
  std::unique_ptr<Communicator> self_ = make_self_communicator();
};

TEST_P(PackedGeneration, WritesWhatATrainedModelWrites) {
  CachedRank trained(*self_, {.data = 1}, GetParam().config, weights_.path(), {.num_blocks = 50});
  const Texts expected = generate(trained, {}, requests_);
  const InferenceOptions options{.weights = ops::PackedSpec{ops::PackedFormat::f32}};
  EXPECT_EQ(texts_of(*self_, options, {.num_blocks = 50}, {}), expected);
  run_thread_ranks(4, [&](Communicator& world) {
    InferenceOptions of_ranks = options;
    of_ranks.plan = {.tensor = 2, .pipeline = 2};
    EXPECT_EQ(texts_of(world, of_ranks, {.num_blocks = 7, .block_tokens = 16}, {.max_batch_tokens = 9}),
              expected);
  });
}

TEST_P(PackedGeneration, WritesTheSameTextInAnyCompany) {
  using enum ops::PackedFormat;
  for (const ops::PackedSpec& spec :
       {ops::PackedSpec{int8, 0}, ops::PackedSpec{int4, 32, false}, ops::PackedSpec{bf16}}) {
    SCOPED_TRACE(ops::to_string(spec));
    for (const auto activations : {ops::Activations::exact, ops::Activations::int8}) {
      const InferenceOptions options{.weights = spec, .activations = activations};
      EXPECT_EQ(texts_of(*self_, options, {.num_blocks = 50}, {}),
                texts_of(*self_, options, {.num_blocks = 7, .block_tokens = 16},
                         {.max_batch_tokens = 9, .max_sequences = 5}));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, PackedGeneration, testing::ValuesIn(inference_models(kLongest)),
                         [](const auto& p) { return p.param.name; });

}  // namespace
}  // namespace trireme::test
