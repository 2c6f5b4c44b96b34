// A step as one graph computes the same bits, on a GPU or on the host's stand-in for one.
#include "runtime/comm/self/self_communicator.h"
#include "tests/support/small_training.h"

namespace trireme::test {
namespace {

class StepGraphAlone : public testing::TestWithParam<SmallTraining> {
 protected:
  static std::vector<double> results_of(Way way, std::initializer_list<int64_t> num_batches) {
    const auto self = make_self_communicator();
    Training training(*self, GetParam(), way);
    for (const int64_t n : num_batches) {
      training.train(4, n);
      training.evaluate();
    }
    return training.results();
  }
};

TEST_P(StepGraphAlone, ComputesTheSameBitsAlsoWhenSizesChange) {
  const auto plain = results_of(Way::at_once, {2, 1, 2});
  EXPECT_GT(plain[0], 1);
  EXPECT_EQ(results_of(Way::as_graph, {2, 1, 2}), plain);
}

INSTANTIATE_TEST_SUITE_P(
    Dense, StepGraphAlone,
    testing::Values(
        SmallTraining{"Gpt2", 1, ModelFamily::gpt2},
        SmallTraining{"Llama_bf16", 1, ModelFamily::llama, {}, DType::bf16},
        SmallTraining{
            "Llama_f16_recomputed", 1, ModelFamily::llama, {}, DType::f16, true, RecomputeMode::full},
        SmallTraining{.name = "Llama_bf16_muon",
                      .ranks = 1,
                      .family = ModelFamily::llama,
                      .precision = DType::bf16,
                      .rules = muon_rules()},
        SmallTraining{.name = "Llama_weighted", .ranks = 1, .family = ModelFamily::llama, .weighted = true},
        SmallTraining{"Gpt2_without_masters", 1, ModelFamily::gpt2, {}, DType::bf16, false}),
    [](const auto& test_info) { return test_info.param.name; });

}  // namespace
}  // namespace trireme::test
