// Watchdogs of several ranks in one process, with their threads and sockets.
#include "runtime/watch/watchdog.h"

#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <nlohmann/json.hpp>

#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/watch/active_clock.h"
#include "runtime/watch/channel/addresses.h"
#include "runtime/watch/meet.h"
#include "runtime/watch/process/process_facts.h"

namespace trireme::watch {
namespace {

using testing::HasSubstr;

constexpr double kLimit = 1;
constexpr auto kPatience = std::chrono::seconds(30);

class WatchedJob : public testing::Test {
 protected:
  struct Rank {
    std::shared_ptr<Recorder> recorder = std::make_shared<Recorder>();
    std::shared_ptr<CallRing> ring;
    std::unique_ptr<Watchdog> watchdog;
    std::optional<ExitCode> code;
  };

  ~WatchedJob() override {
    for (Rank& rank : ranks_) rank.watchdog.reset();
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
  }

  void start(int num_ranks, double limit = kLimit, const std::vector<int>& without = {}) {
    folder_ = std::filesystem::temp_directory_path() / ("trireme-watch-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
    Roster roster;
    roster.secret = random_secret();
    std::vector<FileDescriptor> listeners;
    std::vector<int> members;
    for (int rank = 0; rank < num_ranks; ++rank) {
      Peer peer;
      peer.rank = rank;
      peer.host = "here";
      peer.pid = pids_.contains(rank) ? pids_[rank] : 1 << 24;
      peer.addresses = {"127.0.0.1"};
      listeners.push_back(listen_on(peer.addresses, peer.port));
      roster.peers.push_back(peer);
      members.push_back(rank);
    }
    ranks_ = std::vector<Rank>(static_cast<size_t>(num_ranks));
    for (int rank = 0; rank < num_ranks; ++rank) {
      Rank& r = ranks_[static_cast<size_t>(rank)];
      r.ring = r.recorder->make_ring({"dp", "mpi", 1, members, rank});
      WatchOptions options;
      options.limits = HangLimits::all(limit);
      options.directory = [this] { return folder_.string(); };
      options.say = [this](const std::string& lines) {
        const std::lock_guard lock(mutex_);
        said_ += lines;
      };
      options.end = [this, &r](ExitCode code, bool) {
        const std::lock_guard lock(mutex_);
        if (!r.code) r.code = code;
        changed_.notify_all();
      };
      r.watchdog = std::make_unique<Watchdog>(std::move(options));
      if (std::ranges::find(without, rank) != without.end()) continue;
      r.watchdog->start({roster, rank, std::move(listeners[static_cast<size_t>(rank)])}, r.recorder);
    }
  }

  /// `rank` enters an all-reduce that others do not complete.
  void enter_call(int rank) {
    CallRecord call;
    call.kind = CommKind::all_reduce;
    call.count = 10;
    call.enqueued_ns = steady_ns();
    ranks_[static_cast<size_t>(rank)].ring->add(call);
  }

  /// Until the job ends on all of `ranks`.
  bool wait_for_end(const std::vector<int>& ranks) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] {
      return std::ranges::all_of(
          ranks, [&](int rank) { return ranks_[static_cast<size_t>(rank)].code.has_value(); });
    });
  }
  bool has_ended() {
    const std::lock_guard lock(mutex_);
    return std::ranges::any_of(ranks_, [](const Rank& rank) { return rank.code.has_value(); });
  }
  std::string said() {
    const std::lock_guard lock(mutex_);
    return said_;
  }
  std::string file(const std::string& name) {
    std::ifstream stream(folder_ / name);
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  std::filesystem::path folder_;
  std::map<int, int> pids_;
  std::vector<Rank> ranks_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string said_;
};

TEST_F(WatchedJob, ARankThatStopsInNoCallIsNamedAndTheJobEndsEverywhere) {
  start(4);
  for (Rank& rank : ranks_) rank.recorder->enter({Phase::backward, 5, 0, 1});
  ranks_[2].recorder->enter({Phase::data, 5, -1, -1});
  for (int rank : {0, 1, 3}) enter_call(rank);
  ASSERT_TRUE(wait_for_end({0, 1, 2, 3}));
  EXPECT_EQ(ranks_[1].code, ExitCode::hang);
  EXPECT_THAT(said(), HasSubstr("ranks 0-1, 3 wait in all_reduce #0 of dp"));
  EXPECT_THAT(
      said(),
      HasSubstr("trireme: error: rank 2 waits for no other rank and makes no progress: step 5, data"));
  for (int rank = 0; rank < 4; ++rank) {
    const auto json = nlohmann::json::parse(file("hang/rank" + std::to_string(rank) + ".json"));
    EXPECT_EQ(json.at("rank"), rank);
    EXPECT_FALSE(json.at("stacks").empty());
  }
}

TEST_F(WatchedJob, AJobThatGetsOnIsLeftAlone) {
  start(3);
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(2500);
  for (int64_t step = 1; std::chrono::steady_clock::now() < end; ++step) {
    for (Rank& rank : ranks_) rank.recorder->set_step(step);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_FALSE(has_ended());
  EXPECT_EQ(said(), "");
}

TEST_F(WatchedJob, RanksMayLeaveOneAfterTheOther) {
  start(4);
  for (Rank& rank : ranks_) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    rank.watchdog->leave();
  }
  EXPECT_FALSE(has_ended());
  EXPECT_EQ(said(), "");
}

TEST_F(WatchedJob, WithoutALimitNobodyIsHung) {
  start(2, 0);
  enter_call(0);
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  EXPECT_FALSE(has_ended());
}

TEST_F(WatchedJob, AFailureIsWrittenDownAndEndsTheOthers) {
  start(3, 100);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  ranks_[1].watchdog->fail("tokens.bin: id 70000", ExitCode::bad_input);
  ASSERT_TRUE(wait_for_end({0, 2}));
  EXPECT_EQ(ranks_[2].code, ExitCode::bad_input);
  EXPECT_EQ(nlohmann::json::parse(file("crash.rank1.json")).at("error"), "tokens.bin: id 70000");
  EXPECT_EQ(said(), "");
}

/// A process that stands still, whose watchdog is none.
class StoppedProcess {
 public:
  StoppedProcess() {
    const char* arguments[] = {"sleep", "1000", nullptr};
    EXPECT_EQ(::posix_spawnp(&pid_, "sleep", nullptr, nullptr, const_cast<char**>(arguments), environ), 0);
    ::kill(pid_, SIGSTOP);
  }
  ~StoppedProcess() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  int pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

TEST_F(WatchedJob, AProcessThatStandsStillIsNamedAndKilled) {
  for (const int frozen : {3, 0}) {  // a rank, and the judge
    said_.clear();
    const StoppedProcess process;
    pids_ = {{frozen, process.pid()}};
    start(4, kLimit, {frozen});
    for (int rank = 0; rank < 4; ++rank) {
      if (rank != frozen) enter_call(rank);
    }
    ASSERT_TRUE(wait_for_end({1, 2}));
    EXPECT_THAT(said(), HasSubstr("trireme: error: rank " + std::to_string(frozen) + " is frozen"));
    EXPECT_THAT(said(), HasSubstr("stopped by a signal"));
    for (int i = 0; i < 500 && process_state(process.pid(), 0).is_there; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_FALSE(process_state(process.pid(), 0).is_there);
    for (Rank& rank : ranks_) rank.watchdog.reset();
  }
}

TEST_F(WatchedJob, RanksWhoseSeatsAreAllGoneEndByThemselves) {
  start(5, kLimit, {0, 1, 2});
  ASSERT_TRUE(wait_for_end({3, 4}));
  EXPECT_EQ(ranks_[3].code, ExitCode::hang);
  EXPECT_THAT(said(), HasSubstr("none of those who watch answers"));
}

TEST_F(WatchedJob, ManyRanksShareOneDesk) {
  constexpr int kRanks = 24;
  start(kRanks, 3);
  for (int rank = 0; rank < kRanks; ++rank) {
    if (rank != 13) enter_call(rank);
  }
  ASSERT_TRUE(wait_for_end({0, 23}));
  EXPECT_THAT(said(), HasSubstr("trireme: error: rank 13 waits for no other rank"));
}

TEST(WatchMeeting, EveryRankLearnsOfAll) {
  std::vector<WatchPost> posts(4);
  run_thread_ranks(4, [&](Communicator& world) {
    posts[static_cast<size_t>(world.rank())] =
        meet(world, "host-" + std::to_string(world.rank() / 2), false, "lo");
  });
  for (const WatchPost& post : posts) {
    ASSERT_EQ(post.roster.size(), 4);
    EXPECT_EQ(post.roster.secret, posts[0].roster.secret);
    EXPECT_EQ(post.roster.of(3).host, "host-1");
    EXPECT_EQ(post.roster.of(2).pid, ::getpid());
    EXPECT_EQ(post.roster.of(2).port, posts[0].roster.of(2).port);
    EXPECT_NE(post.roster.of(2).port, 0);
    EXPECT_EQ(post.roster.of(1).addresses[0], "127.0.0.1");
  }
  EXPECT_NE(posts[0].roster.secret, Secret{});
}

TEST(ActiveClock, StandsStillWhileTheProcessDoes) {
  ActiveClock clock;
  EXPECT_FALSE(clock.look(100));
  EXPECT_FALSE(clock.look(100.25));
  EXPECT_TRUE(clock.look(160.25));
  EXPECT_DOUBLE_EQ(clock.seconds(), 1.25);
  EXPECT_FALSE(clock.look(161.75));
  EXPECT_DOUBLE_EQ(clock.seconds(), 2.25);
}

}  // namespace
}  // namespace trireme::watch
