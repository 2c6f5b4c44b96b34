// Captured work: what it is, what may not be captured, and whose memory it uses. The host's stand-in for CUDA
// refuses what a GPU refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/device/cuda/cuda_device.h"
#include "runtime/ops/host_copy.h"
#include "tests/runtime/ops/op_test.h"
#include "tests/support/expect_error.h"
#include "tests/support/test_device.h"

namespace trireme::test {
namespace {

class Graphs : public testing::Test {
 protected:
  Tensor numbers(std::vector<float> values) {
    const auto n = static_cast<int64_t>(values.size());
    return make_tensor(ctx_, {n}, DType::f32, std::move(values));
  }
  void expect_refused(const std::string& why, const std::function<void()>& work) {
    expect_error(ExitCode::resources, {why}, [&] { ctx_.capture(work); });
    // The stream is as it was.
    const Tensor t = numbers({1});
    ops::accumulate(ctx_, t, t);
    EXPECT_THAT(to_vector(t), testing::ElementsAre(2));
  }
  Context ctx_{test_device()};
};

TEST_F(Graphs, DoTheirWorkAtEachLaunchAndNotBefore) {
  const Tensor one = numbers({1, 2}), sum = numbers({0, 0});
  const auto graph = ctx_.capture([&] {
    const Tensor twice = Tensor::empty(ctx_, {2}, DType::f32);
    ops::copy(ctx_, one, twice);
    ops::accumulate(ctx_, one, twice);
    ops::accumulate(ctx_, twice, sum);
  });
  EXPECT_THAT(to_vector(sum), testing::ElementsAre(0, 0));
  graph->launch(ctx_.stream());
  graph->launch(ctx_.stream());
  EXPECT_THAT(to_vector(sum), testing::ElementsAre(4, 8));
  ops::fill(ctx_, one, 10);
  graph->launch(ctx_.stream());
  EXPECT_THAT(to_vector(sum), testing::ElementsAre(24, 28));
}

TEST_F(Graphs, HoldOtherStreamsToTheirOrder) {
  const Tensor from = numbers({1}), to = numbers({0});
  const auto other = cuda::make_compute_stream(0);
  const auto graph = ctx_.capture([&] {
    ops::accumulate(ctx_, from, from);
    other->wait(*ctx_.stream().record());
    other->copy(to.raw(), from.raw(), sizeof(float));
    ctx_.stream().wait(*other->record());
    ops::accumulate(ctx_, from, to);
  });
  for (const float expected : {4.0f, 8.0f}) {
    graph->launch(ctx_.stream());
    EXPECT_THAT(to_vector(to), testing::ElementsAre(expected));
  }
}

TEST_F(Graphs, RefuseWhatCannotBeCaptured) {
  const auto other = cuda::make_compute_stream(0);
  const Tensor t = numbers({1});
  const auto before = other->record();
  expect_refused("cudaErrorStreamCaptureUnsupported", [&] { ctx_.stream().synchronize(); });
  expect_refused("cudaErrorStreamCaptureUnsupported", [&] {
    float pageable = 0;
    ctx_.stream().copy(&pageable, t.raw(), sizeof pageable);
  });
  expect_refused("cudaErrorCapturedEvent", [&] { ctx_.stream().record()->synchronize(); });
  expect_refused("cudaErrorCapturedEvent", [&] { (void)ctx_.stream().record()->is_done(); });
  expect_refused("cudaErrorStreamCaptureIsolation", [&] { ctx_.stream().wait(*before); });
  expect_refused("cudaErrorStreamCaptureUnjoined", [&] { other->wait(*ctx_.stream().record()); });
  std::shared_ptr<Event> captured;
  const auto graph = ctx_.capture([&] { captured = ctx_.stream().record(); });
  expect_error(ExitCode::resources, {"cudaErrorStreamCaptureIsolation"}, [&] { other->wait(*captured); });
  Context on_cpu;
  EXPECT_THROW(on_cpu.capture([] {}), InternalError);
}

/// What captured work writes belongs to nobody else, whoever asks for memory before it runs again.
TEST_F(Graphs, HaveNoTimesOfTheirWork) {
  std::shared_ptr<TimedEvent> begin, end;
  const Tensor t = numbers({1});
  const auto graph = ctx_.capture([&] {
    begin = ctx_.stream().record_time();
    ops::accumulate(ctx_, t, t);
    end = ctx_.stream().record_time();
  });
  graph->launch(ctx_.stream());
  expect_error(ExitCode::resources, {"cudaErrorCapturedEvent"}, [&] { end->milliseconds_since(*begin); });
}

TEST_F(Graphs, KeepTheirMemory) {
  constexpr int64_t kSize = 1000;
  const Tensor source = full(ctx_, {kSize}, DType::f32, 3), result = full(ctx_, {kSize}, DType::f32, 0);
  void* scratch = nullptr;
  auto graph = ctx_.capture([&] {
    const Tensor first = Tensor::empty(ctx_, {kSize}, DType::f32);
    scratch = first.raw();
    ops::copy(ctx_, source, first);
    ops::copy(ctx_, first, result);
  });
  const Tensor other = full(ctx_, {kSize}, DType::f32, 7);
  EXPECT_NE(other.raw(), scratch);
  graph->launch(ctx_.stream());
  EXPECT_EQ(to_vector(other), std::vector<float>(kSize, 7));
  EXPECT_EQ(to_vector(result), std::vector<float>(kSize, 3));
  graph.reset();
  EXPECT_EQ(Tensor::empty(ctx_, {kSize}, DType::f32).raw(), scratch) << "free again";
}

}  // namespace
}  // namespace trireme::test
