// What a stage asks of its WeightAccess, and when.
#include "parallel/module/stage.h"

#include <gmock/gmock.h>

#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

using testing::ElementsAre;
using Log = std::vector<std::string>;

/// A layer with one block, and a second one that belongs to somebody else.
class Named final : public Layer {
 public:
  Named(Log& log, std::string name, ParameterBlock* shared = nullptr, bool reads_in_backward = true)
      : log_(log), name_(std::move(name)), shared_(shared), reads_in_backward_(reads_in_backward) {
    block_ = single(Parameter::whole(name_, {2, 2}, 0, 0));
  }
  Tensor forward(Context&, const MicroBatch&, const Tensor& x, Saved&) override {
    if (throws) throw_bad_input("planted");
    log_.push_back("forward " + name_);
    return x;
  }
  Tensor backward_input(Context&, const Tensor& dy, Saved&) override {
    log_.push_back("backward " + name_);
    return dy;
  }
  void backward_weight(Context&, Saved&) override { log_.push_back("weight " + name_); }
  bool backward_reads_weights() const override { return reads_in_backward_; }
  void collect(std::vector<ParameterBlock*>& blocks) override {
    blocks.push_back(&block_);
    if (shared_ != nullptr) blocks.push_back(shared_);
  }
  ParameterBlock* block() { return &block_; }

  bool throws = false;

 private:
  Log& log_;
  std::string name_;
  ParameterBlock* shared_;
  bool reads_in_backward_;
  ParameterBlock block_;
};

class Recorder final : public WeightAccess {
 public:
  using Blocks = std::span<const ParameterBlock* const>;
  explicit Recorder(Log& log) : log_(log) {}
  void expect(Context&, Blocks blocks) override { record("expect", blocks); }
  void acquire(Context&, Blocks blocks) override { record("acquire", blocks); }
  void release(Blocks blocks) noexcept override { record("release", blocks); }

 private:
  void record(std::string call, Blocks blocks) {
    if (blocks.empty()) return;
    for (const ParameterBlock* block : blocks) call += " " + block->members.front().name;
    log_.push_back(call);
  }
  Log& log_;
};

struct ThreeLayers {
  Log log;
  Recorder recorder{log};
  Named* middle = nullptr;
  std::unique_ptr<Stage> stage;
  Context ctx;
  MicroBatch mb;
  StageSaved saved;

  ThreeLayers() {
    std::vector<std::unique_ptr<Layer>> layers;
    auto a = std::make_unique<Named>(log, "a", nullptr, false);
    auto b = std::make_unique<Named>(log, "b");
    auto c = std::make_unique<Named>(log, "c", a->block());
    middle = b.get();
    layers.push_back(std::move(a));
    layers.push_back(std::move(b));
    layers.push_back(std::move(c));
    stage = std::make_unique<Stage>(std::move(layers));
    stage->set_weight_access(&recorder);
  }
};

TEST(StageWeights, TheNextLayerIsExpectedBeforeALayerRuns) {
  ThreeLayers t;
  for (const bool training : {true, false}) {
    t.log.clear();
    t.mb.training = training;
    t.stage->forward(t.ctx, t.mb, Tensor(), t.saved);
    EXPECT_THAT(t.log,
                ElementsAre("acquire a", "expect b", "forward a", "release a", "acquire b", "expect c a",
                            "forward b", "release b", "acquire c a", "forward c", "release c a"));
  }
}

TEST(StageWeights, BackwardGoesTheOtherWayAndSkipsWhatIsNotRead) {
  ThreeLayers t;
  t.stage->forward(t.ctx, t.mb, Tensor(), t.saved);
  t.log.clear();
  t.stage->backward(t.ctx, Tensor(), t.saved, {});
  EXPECT_THAT(t.log,
              ElementsAre("acquire c a", "expect b", "backward c", "release c a", "weight c", "acquire b",
                          "backward b", "release b", "weight b", "backward a", "weight a"));
}

TEST(StageWeights, TheWeightPassAsksForNone) {
  ThreeLayers t;
  t.stage->forward(t.ctx, t.mb, Tensor(), t.saved);
  t.stage->backward_input(t.ctx, Tensor(), t.saved);
  t.log.clear();
  t.stage->backward_weight(t.ctx, t.saved, {});
  EXPECT_THAT(t.log, ElementsAre("weight c", "weight b", "weight a"));
}

TEST(StageWeights, AnExceptionReleasesWhatWasAcquired) {
  ThreeLayers t;
  t.middle->throws = true;
  EXPECT_THROW(t.stage->forward(t.ctx, t.mb, Tensor(), t.saved), UserError);
  EXPECT_EQ(t.log.back(), "release b");
}

TEST(StageWeights, EachLayerIsReadyWithAllThatItUses) {
  ThreeLayers t;
  t.stage->forward(t.ctx, t.mb, Tensor(), t.saved);
  Log ready;
  t.stage->backward(t.ctx, Tensor(), t.saved, [&](std::span<ParameterBlock* const> blocks) {
    std::string names;
    for (const ParameterBlock* block : blocks) names += block->members.front().name;
    ready.push_back(names);
  });
  EXPECT_THAT(ready, ElementsAre("ca", "b", "a"));
}

TEST(StageWeights, BlocksKnowTheirFirstLayerAndAreThereOnce) {
  ThreeLayers t;
  const auto blocks = t.stage->blocks();
  ASSERT_EQ(blocks.size(), 3u);
  EXPECT_EQ(blocks[1]->owner, t.middle);
  EXPECT_NE(blocks[0]->owner, blocks[2]->owner);
  EXPECT_EQ(t.stage->blocks_of(2)[1], blocks[0]);
}

}  // namespace
}  // namespace trireme::test
