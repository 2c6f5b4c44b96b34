// What becomes of a check that some ranks do not come to, or do not end. Times are short where a rank is
// awaited in vain, and generous elsewhere.
#include "launch/doctor/check_timer.h"

#include <atomic>
#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/comm/comm_call.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme::launch {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr CheckTimer::Limits kShort = {.check = 0.5, .answer = 0.5, .rank_0 = 30};
constexpr CheckTimer::Limits kLong = {.check = 300, .answer = 30, .rank_0 = 30};

/// How a job ended: the first reason counts.
struct Ending {
  void note(std::string_view why) {
    const std::lock_guard lock(mutex);
    if (!is_over) reason = why;
    is_over = true;
  }
  std::mutex mutex;
  std::string reason;
  std::atomic<bool> is_over = false;
};

/// A communicator that notes why it was aborted, and that waits for that where a rank would stay away for
/// ever.
class Watched final : public Communicator {
 public:
  Watched(Communicator& ranks, Ending& ending)
      : Communicator(ranks.rank(), ranks.size(), ranks.name()), ranks_(ranks), ending_(ending) {}
  std::string_view backend() const override { return ranks_.backend(); }
  std::vector<int> world_ranks() const override { return ranks_.world_ranks(); }
  void abort(std::string_view reason, ExitCode code) noexcept override {
    EXPECT_EQ(code, ExitCode::hang);
    ending_.note(reason);
    ranks_.abort(reason, code);
  }
  void stay_away() const {
    while (!ending_.is_over) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }

 private:
  void run(Stream&, CommCall) override { FAIL() << "not used"; }
  WorkPtr start(Stream&, CommCall) override { return nullptr; }
  std::unique_ptr<Communicator> split_into(int color, int key, std::string name) override {
    return ranks_.split(color, key, std::move(name));
  }

  Communicator& ranks_;
  Ending& ending_;
};

using Body = std::function<void(CheckTimer& timer, Watched& watched, Communicator& ranks)>;

/// Why the job was ended; empty: it was not.
std::string reason_of_end(int num_ranks, const CheckTimer::Limits& limits, const Body& body) {
  Ending ending;
  try {
    run_thread_ranks(num_ranks, [&](Communicator& ranks) {
      Watched watched(ranks, ending);
      CheckTimer timer(watched, limits);
      timer.name_hosts(std::vector<std::string>(static_cast<size_t>(num_ranks), "host"));
      body(timer, watched, ranks);
    });
  } catch (const Error&) {
    EXPECT_FALSE(ending.reason.empty());
  }
  return ending.reason;
}

TEST(CheckTimer, ChecksThatEndInTimeAreLetAlone) {
  for (const int num_ranks : {1, 2, 5}) {
    EXPECT_EQ(reason_of_end(num_ranks, kLong,
                            [](CheckTimer& timer, Watched&, Communicator& ranks) {
                              for (int i = 0; i < 20; ++i) {
                                const TimedCheck check(timer, "sum");
                                ranks.barrier(*cpu::make_compute_stream());
                              }
                            }),
              "");
  }
}

TEST(CheckTimer, ARankThatDoesNotComeIsNamed) {
  const std::string reason = reason_of_end(4, kShort, [](CheckTimer& timer, Watched& watched, Communicator&) {
    if (watched.rank() == 2) return watched.stay_away();
    const TimedCheck check(timer, "sum");
  });
  EXPECT_THAT(reason, AllOf(HasSubstr("check 'sum'"), HasSubstr("rank 2 (host) did not come")));
}

TEST(CheckTimer, ARankThatIsStuckWhileOthersAreDoneIsNamed) {
  const std::string reason = reason_of_end(3, kShort, [](CheckTimer& timer, Watched& watched, Communicator&) {
    timer.begin("disk");
    if (watched.rank() == 1) watched.stay_away();
    timer.end();
    timer.begin("sum");
  });
  EXPECT_THAT(reason, AllOf(HasSubstr("rank 1 (host) did not come")));
}

TEST(CheckTimer, WhereAllAnswerNoRankIsToBlame) {
  const std::string reason = reason_of_end(3, kShort, [](CheckTimer& timer, Watched& watched, Communicator&) {
    timer.begin("sum");
    watched.stay_away();
  });
  EXPECT_THAT(reason, AllOf(HasSubstr("check 'sum' took longer"), HasSubstr("all ranks answer"),
                            Not(HasSubstr("(host)"))));
}

TEST(CheckTimer, ARankWhoseProcessIsFrozenIsNamed) {
  // It cannot answer: its own thread is late, too.
  const std::string reason = [] {
    Ending ending;
    try {
      run_thread_ranks(3, [&](Communicator& ranks) {
        Watched watched(ranks, ending);
        const bool is_frozen = ranks.rank() == 2;
        CheckTimer timer(watched, is_frozen ? kLong : kShort);
        timer.begin("sum");
        watched.stay_away();
      });
    } catch (const Error&) {
    }
    return ending.reason;
  }();
  EXPECT_THAT(reason, AllOf(HasSubstr("check 'sum' took longer"), HasSubstr("rank 2 did not answer")));
}

TEST(CheckTimer, AProcessAloneIsTimedToo) {
  Ending ending;
  const auto alone = make_self_communicator();
  Watched watched(*alone, ending);
  CheckTimer timer(watched, kShort);
  timer.begin("disk");
  watched.stay_away();
  EXPECT_THAT(ending.reason, HasSubstr("check 'disk' took longer than 0.5 s"));
}

}  // namespace
}  // namespace trireme::launch
