// Micro-batches that a thread reads in advance are those that are read when they are needed.
#include "parallel/batches/batch_prefetcher.h"

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/training/cross_entropy.h"
#include "tests/support/expect_error.h"
#include "tests/support/test_device.h"

namespace trireme::test {
namespace {

constexpr int64_t kSeqLen = 12, kVocab = 200;

/// Ids in memory whose reads can be held up, and end in an error from some position on.
class HeldTokens final : public TokenSource {
 public:
  explicit HeldTokens(int64_t num_tokens) : ids_(static_cast<size_t>(num_tokens)) {
    for (size_t i = 0; i < ids_.size(); ++i) ids_[i] = static_cast<int32_t>(i * 31 % kVocab);
  }
  int64_t num_tokens() const override { return std::ssize(ids_); }
  const std::string& name() const override { return name_; }
  void read(int64_t begin, int64_t count, int32_t* out) const override {
    std::unique_lock lock(mutex_);
    ++num_reads_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !is_held_; });
    if (begin >= fails_from) throw_bad_input("no token {} in {}", begin, name_);
    std::copy_n(ids_.begin() + begin, count, out);
  }

  void hold(bool is_held) {
    const std::lock_guard lock(mutex_);
    is_held_ = is_held;
    changed_.notify_all();
  }
  void wait_for_read(int64_t number) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return num_reads_ >= number; });
  }
  int64_t num_reads() const {
    const std::lock_guard lock(mutex_);
    return num_reads_;
  }
  std::vector<int32_t>& ids() { return ids_; }

  int64_t fails_from = INT64_MAX;

 private:
  std::vector<int32_t> ids_;
  std::string name_ = "held";
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  mutable int64_t num_reads_ = 0;
  bool is_held_ = false;
};

constexpr int64_t kReadsASample = 2;  // its tokens, and the one behind them

class BatchPrefetcherTest : public testing::Test {
 protected:
  static constexpr int64_t kTokens = 40 * kSeqLen + 1;

  BatchReader reader() const {
    return {source_, SampleOrder::sequential(kTokens, kSeqLen, "held"), kVocab, end_of_text_};
  }
  /// Nine of two samples, the last of one; every fourth does not count.
  static SampleRow row() {
    return {10, 2, [](int64_t i) { return SampleRun{2 * i, i == 9 ? 1 : 2, i % 4 != 3}; }};
  }
  static SampleRow equal_row(int64_t num_batches) {
    return {num_batches, 2, [](int64_t i) { return SampleRun{2 * i, 2}; }};
  }
  MicroBatch expected(const SampleRun& run, const ContextShare& share) {
    std::vector<int32_t> tokens(static_cast<size_t>(run.count * kSeqLen)), targets(tokens.size());
    for (int64_t b = 0; b < run.count; ++b) {
      reader().read_sample(run.first + b, tokens.data() + b * kSeqLen, targets.data() + b * kSeqLen);
    }
    MicroBatch mb = make_micro_batch(ctx_, run.count, kSeqLen, tokens, targets, share, end_of_text_);
    if (!run.is_counted) {
      ops::fill(ctx_, mb.targets, ops::kIgnoredTarget);
      mb.weight = 0;
      mb.weight_of_sequence.assign(static_cast<size_t>(run.count), 0);
    }
    mb.first_sample = run.first;
    return mb;
  }
  void expect_equal(const MicroBatch& mb, const MicroBatch& other) {
    EXPECT_EQ(mb.batch, other.batch);
    EXPECT_EQ(mb.seq_len, other.seq_len);
    EXPECT_EQ(mb.first_sample, other.first_sample);
    EXPECT_EQ(mb.context_parts, other.context_parts);
    EXPECT_EQ(mb.weight, other.weight);
    EXPECT_EQ(mb.weight_of_sequence, other.weight_of_sequence);
    EXPECT_EQ(mb.chunk_first_keys, other.chunk_first_keys);
    constexpr Tensor MicroBatch::*kTensors[] = {&MicroBatch::tokens, &MicroBatch::targets,
                                                &MicroBatch::positions, &MicroBatch::first_key,
                                                &MicroBatch::places};
    for (const auto tensor : kTensors) {
      ASSERT_EQ(static_cast<bool>(mb.*tensor), static_cast<bool>(other.*tensor));
      if (!(mb.*tensor)) continue;
      EXPECT_EQ((mb.*tensor).shape(), (other.*tensor).shape());
      EXPECT_EQ(ops::to_host<int32_t>(ctx_, mb.*tensor), ops::to_host<int32_t>(ctx_, other.*tensor));
    }
  }

  Context ctx_{test_device(), 1, test_settings()};
  std::optional<int32_t> end_of_text_;
  std::shared_ptr<HeldTokens> source_ = std::make_shared<HeldTokens>(kTokens);
};

class BatchPrefetcherDocuments : public BatchPrefetcherTest, public testing::WithParamInterface<bool> {};

TEST_P(BatchPrefetcherDocuments, HandsOutWhatIsReadWhenItIsNeeded) {
  if (GetParam()) {
    end_of_text_ = 0;
    for (size_t i = 3; i < source_->ids().size(); i += 5) source_->ids()[i] = 0;
  }
  for (const ContextShare& share : {ContextShare{}, ContextShare{0, 2}, ContextShare{1, 3}}) {
    for (const int64_t num_slots : {0, 3, 4, 9, 50}) {
      SCOPED_TRACE(fmt::format("{} of {}, {} slots", share.rank, share.size, num_slots));
      BatchPrefetcher batches(ctx_, reader(), share, row(), num_slots);
      int64_t number = 0;
      std::vector<MicroBatch> held;
      while (!(held = batches.next(3)).empty()) {
        EXPECT_EQ(std::ssize(held), std::min<int64_t>(3, 10 - number));
        for (const MicroBatch& mb : held) expect_equal(mb, expected(row().at(number++), share));
        held.clear();
      }
      EXPECT_EQ(number, 10);
      EXPECT_THAT(batches.next(1), testing::IsEmpty());
    }
  }
}
INSTANTIATE_TEST_SUITE_P(, BatchPrefetcherDocuments, testing::Bool(),
                         [](const auto& separate) { return separate.param ? "Separate" : "Attend"; });

/// What the caller holds stays what it is, whatever is read meanwhile.
TEST_F(BatchPrefetcherTest, WritesNoBatchThatIsHeld) {
  BatchPrefetcher batches(ctx_, reader(), {}, equal_row(20), 4);
  std::vector<MicroBatch> before = batches.next(2);
  for (int64_t i = 2; i + 2 <= 20; i += 2) {
    std::vector<MicroBatch> now = batches.next(2);
    for (size_t k = 0; k < 2; ++k) {
      expect_equal(before[k], expected({2 * (i - 2 + static_cast<int64_t>(k)), 2}, {}));
    }
    before = std::move(now);
  }
}

TEST_F(BatchPrefetcherTest, ReadsAsFarAheadAsThereAreSlots) {
  BatchPrefetcher batches(ctx_, reader(), {}, equal_row(10), 3);
  source_->wait_for_read(3 * 2 * kReadsASample);  // without being asked for any
  std::vector<MicroBatch> held = batches.next(2);
  EXPECT_EQ(source_->num_reads(), 3 * 2 * kReadsASample) << "two are held, one is ready";
  held.clear();
  source_->wait_for_read(5 * 2 * kReadsASample);
}

TEST_F(BatchPrefetcherTest, AFaultComesOutAtItsBatchInTheSameWords) {
  source_->ids()[6 * kSeqLen + 5] = kVocab;  // of sample 6, in batch 3
  for (const int64_t num_slots : {0, 8}) {
    BatchPrefetcher batches(ctx_, reader(), {}, equal_row(10), num_slots);
    for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(batches.next(1).size(), 1);
    for (int i = 0; i < 2; ++i) {
      expect_error(ExitCode::bad_input, {"held", "200", fmt::format("{}", 6 * kSeqLen + 5)},
                   [&] { batches.next(1); });
    }
  }
  source_->fails_from = 0;
  BatchPrefetcher batches(ctx_, reader(), {}, equal_row(10), 4);
  expect_error(ExitCode::bad_input, {"no token 0 in held"}, [&] { batches.next(2); });
}

/// The thread reads on in a prefetcher that is not asked any more, and in storage that does not answer.
TEST_F(BatchPrefetcherTest, EndsWithReadsUnderWay) {
  for (int i = 0; i < 20; ++i) {
    BatchPrefetcher batches(ctx_, reader(), {}, equal_row(20), 8);
    if (i % 2 == 1) {
      EXPECT_EQ(batches.next(1 + i % 4).size(), 1 + i % 4);
    }
  }
  source_->hold(true);
  const int64_t before = source_->num_reads();
  {
    BatchPrefetcher batches(ctx_, reader(), {}, equal_row(20), 8);
    source_->wait_for_read(before + 1);
  }  // does not wait for a read that never ends
  source_->hold(false);
  while (source_.use_count() > 1) std::this_thread::yield();  // the thread ends with it, and lets go
}

TEST_F(BatchPrefetcherTest, ABatchMayOutliveItsPrefetcher) {
  std::vector<MicroBatch> held;
  {
    BatchPrefetcher batches(ctx_, reader(), {}, equal_row(20), 8);
    held = batches.next(3);
  }
  for (int64_t i = 0; i < 3; ++i) expect_equal(held[static_cast<size_t>(i)], expected({2 * i, 2}, {}));
}

TEST_F(BatchPrefetcherTest, HoldingTooManyIsAFaultOfOursAndNoDeadlock) {
  BatchPrefetcher batches(ctx_, reader(), {}, equal_row(20), 3);
  const std::vector<MicroBatch> held = batches.next(2);
  EXPECT_THROW(batches.next(2), InternalError);
}

TEST_F(BatchPrefetcherTest, TakesTheMemoryThatItSays) {
  ctx_.allocator().reset_peaks();
  const auto buffers = [&] {
    return ctx_.allocator().stats().by_category[static_cast<size_t>(MemoryCategory::buffers)];
  };
  EXPECT_EQ(buffers().current, 0);
  {
    BatchPrefetcher batches(ctx_, reader(), {}, equal_row(20), 6);
    while (!batches.next(2).empty()) {
    }
    EXPECT_EQ(buffers().peak, 13 * Allocator::block_size(2 * kSeqLen * 4));
  }
  EXPECT_EQ(buffers().current, 0);
}

TEST_F(BatchPrefetcherTest, WaitingIsCounted) {
  for (const int64_t num_slots : {0, 4}) {
    source_->hold(num_slots > 0);
    BatchPrefetcher batches(ctx_, reader(), {}, equal_row(4), num_slots);
    EXPECT_EQ(batches.seconds_waited(), 0);
    std::thread later([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      source_->hold(false);
    });
    (void)batches.next(1);
    later.join();
    EXPECT_GT(batches.seconds_waited(), num_slots > 0 ? 0.001 : 0);
  }
}

}  // namespace
}  // namespace trireme::test
