// How texts and engines end: sinks that throw, passes that are stuck or fail, stops.
#include "launch/serve/engine/serving_engine.h"

#include <gmock/gmock.h>

#include <atomic>
#include <limits>

#include "tests/launch/serve/engine/engine_rig.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

using launch::ServedText;
using launch::TextFailure;
using testing::HasSubstr;

class DeafSink final : public launch::TextSink {
 public:
  void on_prompt_scores(std::span<const ScoredToken>) override {}
  void on_token(launch::TextEvent) override { throw std::runtime_error("deaf"); }
  void on_finished() override {}
  void on_failed(TextFailure, const std::string&) override { has_failed = true; }
  std::atomic<bool> has_failed = false;
};

TEST(ServingEngine, ASinkThatThrowsLosesItsOwnTextAlone) {
  EngineRig rig(small_config());
  const auto deaf = std::make_shared<DeafSink>();
  std::vector<ServedText> texts(1);
  texts[0].generation = short_request();
  texts[0].sink = deaf;
  rig.engine.submit(std::move(texts));
  const auto other = rig.ask(short_request());
  rig.start();
  EXPECT_EQ(other->wait().tokens.size(), 20U);
  EXPECT_TRUE(deaf->has_failed);
  wait_until([&] { return rig.engine.state().used_blocks == 0; });
}

TEST(ServingEngine, APassThatIsStuckEndsTextsUntilItIsOver) {
  const ModelConfig config = small_config();
  RigOptions options;
  options.engine.stuck_seconds = 0.1;
  EngineRig rig(config, "", options);
  const auto gate = std::make_shared<Gate>(config.vocab_size, 1);
  GenerationRequest request = short_request();
  request.filter = gate;
  const auto ears = rig.ask(request);
  rig.start();
  gate->wait_until_reached();
  const auto waiting = rig.ask(short_request());
  EXPECT_EQ(ears->wait().failure, TextFailure::stuck);
  EXPECT_THAT(ears->wait().message, HasSubstr("more than 0.1 s"));
  EXPECT_EQ(waiting->wait().failure, TextFailure::stuck);
  EXPECT_FALSE(rig.engine.state().is_ready);
  EXPECT_THAT(rig.engine.state().trouble, HasSubstr("stuck"));
  rig.ask(short_request());
  EXPECT_FALSE(rig.last.is_accepted);
  EXPECT_EQ(rig.last.retry_after_seconds, 0);
  gate->open();
  wait_until([&] { return rig.engine.state().is_ready; });
  EXPECT_EQ(rig.ask(short_request())->wait().tokens.size(), 20U);
  EXPECT_EQ(rig.engine.state().running + rig.engine.state().waiting, 0);
}

TEST(ServingEngine, StopsWhenOpenTextsHaveEnded) {
  EngineRig rig(small_config());
  const auto ears = rig.ask(short_request());
  rig.engine.stop();
  rig.ask(short_request());
  EXPECT_FALSE(rig.last.is_accepted);
  EXPECT_THAT(rig.last.refusal, HasSubstr("stopping"));
  rig.start();
  EXPECT_EQ(rig.join(), "");
  EXPECT_EQ(ears->wait().tokens.size(), 20U);
  EXPECT_FALSE(rig.engine.state().is_ready);
}

TEST(ServingEngine, StopsBeforeTextsHaveEndedWhenTheirTimeIsOver) {
  RigOptions options;
  options.engine.stop_seconds = 0;
  std::atomic<int> signal = 0;
  options.engine.signal = [&] { return int64_t{signal}; };
  const ModelConfig config = small_config();
  EngineRig rig(config, "", options);
  const auto gate = std::make_shared<Gate>(config.vocab_size, 1);
  GenerationRequest request = short_request();
  request.filter = gate;
  const auto ears = rig.ask(request);
  rig.start();
  gate->wait_until_reached();
  signal = 15;
  gate->open();
  EXPECT_EQ(rig.join(), "");
  EXPECT_EQ(ears->wait().failure, TextFailure::stopping);
  EXPECT_EQ(rig.engine.state().used_blocks, 0);
}

TEST(ServingEngine, ATextWhoseLogitsAreNoNumbersFailsAlone) {
  const ModelConfig config = small_config();
  EngineRig rig(config);
  const auto expected = rig.ask(short_request());
  rig.start();
  expected->wait();
  // Of one token alone, which others are not asked to read.
  constexpr int32_t kPoisoned = 7;
  rig.rank.session.storage().set(rig.rank.ctx, [&](const Parameter& p, const Tensor& t) {
    if (p.name != "embedding.tokens.weight") return false;
    std::vector<float> values = to_vector(t);
    const auto width = static_cast<std::ptrdiff_t>(values.size()) / p.shape[0];
    std::fill_n(values.begin() + kPoisoned * width, width, std::numeric_limits<float>::quiet_NaN());
    write(t, values);
    return true;
  });
  const auto poisoned = rig.ask(GenerationRequest{.prompt = {kPoisoned}, .max_tokens = 5});
  const auto other = rig.ask(short_request());
  EXPECT_EQ(poisoned->wait().failure, TextFailure::failed);
  EXPECT_THAT(poisoned->wait().message, HasSubstr("not a number"));
  EXPECT_TRUE(poisoned->wait().tokens.empty());
  EXPECT_EQ(other->wait(), expected->wait());
  EXPECT_TRUE(rig.engine.state().is_ready);
  wait_until([&] { return rig.engine.state().used_blocks == 0; });
}

class BrokenDrafts final : public DraftSource {
 public:
  void propose(std::span<const DraftedText>) override { throw std::runtime_error("broken"); }
  void learn(std::span<const DraftOutcome>, int64_t, double) override {}
  void forget(int64_t) override {}
};

TEST(ServingEngine, APassThatFailsTellsAllClients) {
  BrokenDrafts drafts;
  RigOptions options;
  options.generator.max_draft_tokens = 2;
  options.generator.drafts = &drafts;
  EngineRig rig(small_config(), "", options);
  const auto one = rig.ask(short_request()), two = rig.ask(short_request());
  rig.start();
  EXPECT_THAT(rig.join(), HasSubstr("broken"));
  for (const auto& ears : {one, two}) {
    EXPECT_EQ(ears->wait().failure, TextFailure::failed);
    EXPECT_THAT(ears->wait().message, HasSubstr("broken"));
  }
  EXPECT_FALSE(rig.engine.state().is_ready);
}

}  // namespace
}  // namespace trireme::test
