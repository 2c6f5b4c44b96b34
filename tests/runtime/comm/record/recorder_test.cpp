// The recorder: what rings hold of calls, by all backends of one process, and while other threads read them.
#include "runtime/comm/record/recorder.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "runtime/comm/communicator.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme {
namespace {

using testing::ElementsAre;

Tensor ones(Context& ctx, int64_t count) { return Tensor::empty(ctx, {count}, DType::f32); }

const CommHistory& history_of(const std::vector<CommHistory>& all, std::string_view group) {
  const auto it = std::ranges::find(all, group, &CommHistory::name);
  TRIREME_CHECK(it != all.end(), "no group '{}' is recorded", group);
  return *it;
}

bool has_ended(const CallRecord& call) {
  return 0 < call.enqueued_ns && call.enqueued_ns <= call.started_ns && call.started_ns <= call.ended_ns;
}

TEST(Recorder, AStuckCallIsSeenWithItsSite) {
  Recorder recorder;
  auto ring = recorder.make_ring({"data", "mpi", 7, {2, 6}, 1});
  recorder.set_step(12);
  recorder.enter(Phase::backward);
  recorder.set_micro_batch(3);
  recorder.set_layer(11);
  CallRecord made{.kind = CommKind::all_reduce, .op = ReduceOp::max, .dtype = DType::bf16, .count = 100};
  made.site = recorder.site();
  made.enqueued_ns = steady_ns();
  const RecordedCall call(ring, made);

  CommHistory history = history_of(recorder.history(), "data");
  EXPECT_EQ(history.id, 7u);
  EXPECT_THAT(history.members, ElementsAre(2, 6));
  EXPECT_EQ(history.rank, 1);
  ASSERT_EQ(history.calls.size(), 1u);
  EXPECT_EQ(history.calls[0].site, (CallSite{Phase::backward, 12, 3, 11}));
  EXPECT_EQ(history.calls[0].op, ReduceOp::max);
  EXPECT_EQ(history.calls[0].dtype, DType::bf16);
  EXPECT_EQ(history.calls[0].count, 100);
  EXPECT_EQ(history.calls[0].enqueued_ns, made.enqueued_ns);
  EXPECT_EQ(history.calls[0].started_ns, 0);
  call.start();
  EXPECT_GT(history_of(recorder.history(), "data").calls[0].started_ns, 0);
  EXPECT_EQ(history_of(recorder.history(), "data").calls[0].ended_ns, 0);
  call.end();
  EXPECT_TRUE(has_ended(history_of(recorder.history(), "data").calls[0]));
}

TEST(Recorder, RingsKeepTheLastCallsAndNumberAll) {
  Recorder recorder(16);
  auto ring = recorder.make_ring({"world", "mpi", 1, {0, 1, 2}, 0});
  std::vector<RecordedCall> calls;
  for (int i = 0; i < 20; ++i) {
    calls.emplace_back(ring,
                       CallRecord{.kind = CommKind::all_gather, .count = i, .enqueued_ns = steady_ns()});
    const CommKind kind = i % 2 == 0 ? CommKind::send : CommKind::receive;
    calls.emplace_back(ring, CallRecord{.kind = kind, .peer = 1 + i % 4 / 2, .enqueued_ns = steady_ns()});
  }
  const CommHistory history = history_of(recorder.history(), "world");
  EXPECT_EQ(history.num_collectives, 20);
  EXPECT_EQ(history.num_calls, 40);
  ASSERT_EQ(history.calls.size(), 16u);
  for (size_t i = 0; i < 16; i += 2) {
    const auto number = static_cast<int64_t>(12 + i / 2);
    EXPECT_EQ(history.calls[i].sequence, number);
    EXPECT_EQ(history.calls[i].count, number);
    EXPECT_EQ(history.calls[i + 1].sequence, number / 4);  // of its peer and direction
  }
  // One that is overwritten changes nobody else's record.
  calls.front().start();
  calls.front().end();
  calls.back().end();
  const CommHistory later = history_of(recorder.history(), "world");
  EXPECT_EQ(std::ranges::count_if(later.calls, [](const CallRecord& c) { return c.started_ns != 0; }), 1);
  EXPECT_EQ(std::ranges::count_if(later.calls, has_ended), 1);
  EXPECT_TRUE(has_ended(later.calls.back()));
}

TEST(Recorder, ProgressIsWhatEndsAndWhereTheRankComes) {
  Recorder recorder;
  auto ring = recorder.make_ring({"world", "mpi", 1, {0}, 0});
  int64_t before = recorder.progress();
  const auto moves = [&] { return std::exchange(before, recorder.progress()) != before; };
  const RecordedCall call(ring, {.kind = CommKind::barrier, .enqueued_ns = steady_ns()});
  EXPECT_FALSE(moves());  // a call that is made is none
  call.start();
  EXPECT_FALSE(moves());
  call.end();
  EXPECT_TRUE(moves());
  call.end();
  EXPECT_FALSE(moves());
  recorder.set_layer(3);
  EXPECT_TRUE(moves());
  recorder.set_micro_batch(1);
  EXPECT_TRUE(moves());
  recorder.set_step(1);
  EXPECT_TRUE(moves());
  const int64_t since = recorder.phase_since_ns();
  {
    const ScopedPhase phase(&recorder, Phase::evaluation);
    EXPECT_TRUE(moves());
    EXPECT_EQ(recorder.site(), (CallSite{Phase::evaluation, 1, -1, -1}));
    recorder.set_step(2);
  }
  EXPECT_EQ(recorder.site(), (CallSite{Phase::setup, 2, 1, 3}));
  EXPECT_GE(recorder.phase_since_ns(), since);
}

TEST(Recorder, AGroupOfOneRecordsWhatItCarries) {
  Context ctx;
  Recorder recorder;
  {
    const auto world = make_self_communicator();
    world->set_recorder(&recorder);
    world->all_reduce(ctx.stream(), ones(ctx, 5));
    world->barrier(ctx.stream());
    const auto part = world->split(0, 0, "part");
    part->broadcast_async(ctx.stream(), ones(ctx, 3), 0)->wait();
    const auto all = recorder.history();
    EXPECT_EQ(history_of(all, "world").num_collectives, 3);
    EXPECT_TRUE(std::ranges::all_of(history_of(all, "world").calls, has_ended));
    EXPECT_THAT(history_of(all, "part").members, ElementsAre(0));
    EXPECT_EQ(history_of(all, "part").calls[0].peer, 0);
  }
  EXPECT_TRUE(recorder.history().empty());  // groups that are gone
}

using Histories = std::vector<CommHistory>;

/// What `body` of each rank returns.
std::vector<Histories> record_ranks(
    int num_ranks, const std::function<Histories(Communicator& world, Recorder& recorder)>& body) {
  std::vector<Histories> all(static_cast<size_t>(num_ranks));
  run_thread_ranks(num_ranks, [&](Communicator& world) {
    Recorder recorder;
    world.set_recorder(&recorder);
    all[static_cast<size_t>(world.rank())] = body(world, recorder);
    world.set_recorder(nullptr);
  });
  return all;
}

TEST(RecorderOfThreads, RanksNumberAlikeAndNameTheirGroup) {
  for (const int num_ranks : {1, 2, 3, 4, 8}) {
    const auto by_rank = record_ranks(num_ranks, [](Communicator& world, Recorder& recorder) {
      Context ctx;
      recorder.enter(Phase::forward);
      world.all_reduce(ctx.stream(), ones(ctx, 8));
      // Two ranks a group, the later one first.
      const auto pair = world.split(world.rank() / 2, -world.rank(), "pair");
      recorder.enter(Phase::backward);
      recorder.set_layer(2);
      const WorkPtr work = pair->all_reduce_async(ctx.stream(), ones(ctx, 4));
      recorder.set_layer(1);
      work->wait();
      pair->barrier(ctx.stream());
      if (pair->size() == 1) return recorder.history();
      const int other = 1 - pair->rank();
      const Tensor sent = ones(ctx, 2), received = ones(ctx, 2);
      const WorkPtr sending = pair->send_async(ctx.stream(), sent, other, "activation 0.1");
      pair->receive(ctx.stream(), received, other, "activation 0.1");
      sending->wait();
      return recorder.history();
    });
    for (int rank = 0; rank < num_ranks; ++rank) {
      SCOPED_TRACE(fmt::format("rank {} of {}", rank, num_ranks));
      const auto& all = by_rank[static_cast<size_t>(rank)];
      const CommHistory& world = history_of(all, "world");
      EXPECT_EQ(world.num_collectives, 2);
      EXPECT_EQ(static_cast<int>(world.members.size()), num_ranks);
      EXPECT_EQ(world.members[static_cast<size_t>(world.rank)], rank);
      EXPECT_EQ(world.calls[1].kind, CommKind::split);
      EXPECT_EQ(world.calls[0].site.phase, Phase::forward);
      const CommHistory& pair = history_of(all, "pair");
      EXPECT_EQ(pair.members[static_cast<size_t>(pair.rank)], rank);
      EXPECT_EQ(pair.num_collectives, 2);
      EXPECT_EQ(pair.calls[0].site, (CallSite{Phase::backward, -1, -1, 2}));
      EXPECT_TRUE(std::ranges::all_of(pair.calls, has_ended));
      if (pair.members.size() == 1) continue;
      EXPECT_EQ(pair.members[0], pair.members[1] + 1);
      ASSERT_EQ(pair.calls.size(), 4u);
      for (const size_t i : {2, 3}) {
        EXPECT_EQ(pair.calls[i].kind, i == 2 ? CommKind::send : CommKind::receive);
        EXPECT_EQ(pair.calls[i].sequence, 0);
        EXPECT_EQ(pair.calls[i].peer, 1 - pair.rank);
        EXPECT_STREQ(pair.calls[i].label, "activation 0.1");
      }
    }
  }
}

TEST(RecorderOfThreads, EqualIdsAreOneGroup) {
  std::mutex mutex;
  std::map<uint64_t, std::vector<std::vector<int>>> members;  // by id
  record_ranks(6, [&](Communicator& world, Recorder& recorder) {
    const auto row = world.split(world.rank() / 3, world.rank(), "row");
    const auto column = world.split(world.rank() % 3, world.rank(), "column");
    const auto again = row->split(0, row->rank(), "row");
    const std::lock_guard lock(mutex);
    for (const CommHistory& history : recorder.history()) {
      EXPECT_EQ(history.members[static_cast<size_t>(history.rank)], world.rank());
      members[history.id].push_back(history.members);
    }
    return recorder.history();
  });
  EXPECT_EQ(members.size(), 1u + 2 + 3 + 2);
  for (const auto& [id, of_id] : members) {
    EXPECT_EQ(of_id.size(), of_id.front().size());  // each member has it, and all see the same
    EXPECT_TRUE(std::ranges::all_of(of_id, [&](const auto& m) { return m == of_id.front(); }));
  }
}

TEST(RecorderOfThreads, AsynchronousCallsKeepWhereTheyWereMadeAndWhenTheyRan) {
  std::atomic<bool> may_come = false;
  const auto by_rank = record_ranks(2, [&](Communicator& world, Recorder& recorder) {
    Context ctx;
    const Tensor t = ones(ctx, 4), u = ones(ctx, 4);
    recorder.enter(Phase::backward);
    if (world.rank() == 1) {
      while (!may_come) std::this_thread::yield();
    }
    recorder.set_layer(5);
    const WorkPtr first = world.all_reduce_async(ctx.stream(), t);
    recorder.set_layer(4);
    const WorkPtr second = world.all_reduce_async(ctx.stream(), u);
    recorder.set_layer(-1);
    if (world.rank() == 0) {
      // The other rank is not there: the first has begun and stays, the second is behind it.
      CommHistory history;
      do {
        history = history_of(recorder.history(), "world");
      } while (history.calls[0].started_ns == 0);
      EXPECT_EQ(history.calls[0].ended_ns, 0);
      EXPECT_EQ(history.calls[1].started_ns, 0);
      may_come = true;
    }
    first->wait();
    second->wait();
    return recorder.history();
  });
  for (const auto& all : by_rank) {
    const CommHistory& world = history_of(all, "world");
    ASSERT_EQ(world.calls.size(), 2u);
    EXPECT_EQ(world.calls[0].site.layer, 5);
    EXPECT_EQ(world.calls[1].site.layer, 4);
    EXPECT_TRUE(std::ranges::all_of(world.calls, has_ended));
    EXPECT_GE(world.calls[1].started_ns, world.calls[0].ended_ns);
  }
}

TEST(RecorderOfThreads, ThePhaseOfAnotherThreadIsItsOwn) {
  const auto by_rank = record_ranks(2, [](Communicator& world, Recorder& recorder) {
    Context ctx;
    const auto saver = world.split(0, world.rank(), "checkpoints");
    saver->record_as(Phase::save);
    recorder.enter(Phase::forward);
    std::thread([&] { saver->barrier(ctx.host_stream()); }).join();
    world.barrier(ctx.host_stream());
    return recorder.history();
  });
  for (const auto& all : by_rank) {
    EXPECT_EQ(history_of(all, "checkpoints").calls[0].site.phase, Phase::save);
    EXPECT_EQ(history_of(all, "world").calls.back().site.phase, Phase::forward);
  }
}

/// Reads a recorder again and again until it is told to stop; what it sees must hold together.
TEST(RecorderOfThreads, ReadersSeeWholeRecordsWhileCallsAreMade) {
  static constexpr int kCalls = 3000;
  record_ranks(2, [](Communicator& world, Recorder& recorder) {
    Context ctx;
    std::atomic<bool> ends = false;
    int64_t num_seen = 0;
    std::thread reader([&] {
      while (!ends) {
        for (const CommHistory& history : recorder.history()) {
          int64_t last = -1;
          for (const CallRecord& call : history.calls) {
            EXPECT_GT(call.sequence, last);
            last = call.sequence;
            if (call.kind == CommKind::all_reduce) {
              EXPECT_EQ(call.count, 1 + call.sequence % 7);  // words of one call
              EXPECT_EQ(call.site.layer, call.sequence % 5);
            }
            if (call.ended_ns > 0) {
              EXPECT_TRUE(has_ended(call));
            }
            ++num_seen;
          }
        }
      }
    });
    const Tensor t = ones(ctx, 8);
    for (int i = 0; i < kCalls; ++i) {
      recorder.set_layer(i % 5);
      if (i % 3 == 0) {
        world.all_reduce_async(ctx.stream(), t.slice(0, 1 + i % 7))->wait();
      } else {
        world.all_reduce(ctx.stream(), t.slice(0, 1 + i % 7));
      }
    }
    ends = true;
    reader.join();
    EXPECT_GT(num_seen, 0);
    EXPECT_EQ(history_of(recorder.history(), "world").num_collectives, kCalls);
    return recorder.history();
  });
}

/// What `call` throws on every rank of three, whose recorders are at a layer of their own.
void expect_mismatch(CallCheck check, const std::function<CallSite(int rank)>& site,
                     const std::string& words) {
  run_thread_ranks(3, [&](Communicator& world) {
    Context ctx;
    Recorder recorder;
    world.set_recorder(&recorder);
    world.set_call_check(check);
    const auto part = world.split(0, world.rank(), "data");
    recorder.enter(site(world.rank()));
    std::string found;
    try {
      part->all_reduce_async(ctx.stream(), ones(ctx, 4))->wait();
    } catch (const InternalError& e) {
      found = e.what();
    }
    EXPECT_EQ(found, words);
    world.set_recorder(nullptr);
  });
}

TEST(CallCheck, ACallFromElsewhereIsNamedOnAllRanks) {
  const auto one_is_ahead = [](int rank) { return CallSite{Phase::backward, 7, 1, rank == 1 ? 10 : 11}; };
  expect_mismatch(
      CallCheck::site, one_is_ahead,
      "calls do not match on communicator 'data', collective 0: ranks 0, 2: all_reduce(sum, f32, 4 "
      "elements) in layer 11, backward of step 7, micro-batch 1; rank 1: all_reduce(sum, f32, 4 "
      "elements) in layer 10, backward of step 7, micro-batch 1");
  expect_mismatch(CallCheck::step, one_is_ahead, "");  // stages have other layers
  expect_mismatch(CallCheck::backend, one_is_ahead, "");
}

TEST(CallCheck, ACallOfAnotherStepOrPhaseIs) {
  const auto steps = [](int rank) { return CallSite{Phase::update, rank == 0 ? 3 : 4, -1, -1}; };
  expect_mismatch(
      CallCheck::step, steps,
      "calls do not match on communicator 'data', collective 0: rank 0: all_reduce(sum, f32, 4 elements) "
      "in update of step 3; ranks 1, 2: all_reduce(sum, f32, 4 elements) in update of step 4");
  const auto phases = [](int rank) { return CallSite{rank == 2 ? Phase::save : Phase::update, 3, -1, -1}; };
  expect_mismatch(CallCheck::step, phases, "");
  expect_mismatch(
      CallCheck::site, phases,
      "calls do not match on communicator 'data', collective 0: ranks 0, 1: all_reduce(sum, f32, 4 "
      "elements) in update of step 3; rank 2: all_reduce(sum, f32, 4 elements) in save of step 3");
}

TEST(CallCheck, AThreadBesideTheStepsIsNotComparedWithThem) {
  run_thread_ranks(2, [](Communicator& world) {
    Context ctx;
    Recorder recorder;
    world.set_recorder(&recorder);
    world.set_call_check(CallCheck::site);
    const auto saver = world.split(0, world.rank(), "checkpoints");
    saver->record_as(Phase::save);
    recorder.set_step(1 + world.rank());
    saver->all_reduce(ctx.stream(), ones(ctx, 4));
    recorder.set_step(3);
    world.barrier(ctx.stream());
    world.set_recorder(nullptr);
  });
}

}  // namespace
}  // namespace trireme
