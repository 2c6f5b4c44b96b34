#include "launch/doctor/traffic.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <limits>
#include <thread>

#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "launch/bench/collectives_bench.h"
#include "launch/doctor/facts_json.h"
#include "parallel/plan/parallel_context.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme::launch {

namespace {

using Steady = std::chrono::steady_clock;

double time_since(Steady::time_point begin) {
  return std::chrono::duration<double>(Steady::now() - begin).count();
}

/// Nanoseconds since 1970, as this host's clock shows them.
int64_t time_of_day() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Tensor number_in(int64_t& number) { return Tensor::borrow(&number, {1}, DType::i64); }

template <class T>
std::vector<T> gather_lists(Communicator& world, const std::vector<T>& mine) {
  std::vector<T> all;
  for (const std::string& text : gather_texts(world, nlohmann::json(mine).dump())) {
    const auto part = nlohmann::json::parse(text).get<std::vector<T>>();
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

/// Rank 0 asks, `rank` answers.
ClockFacts compare_clocks(Communicator& world, Stream& stream, int rank) {
  constexpr int kQuestions = 25;
  ClockFacts best{rank, 0, std::numeric_limits<double>::infinity()};
  for (int i = 0; i < kQuestions; ++i) {
    int64_t answer = 0;
    if (world.rank() == rank) {
      world.receive(stream, number_in(answer), 0, "clock?");
      answer = time_of_day();
      world.send(stream, number_in(answer), 0, "clock");
      continue;
    }
    const int64_t asked = time_of_day();
    const auto begin = Steady::now();
    world.send(stream, number_in(answer), rank, "clock?");
    world.receive(stream, number_in(answer), rank, "clock");
    const double round_trip = time_since(begin);
    // In integers: nanoseconds since 1970 have more digits than a double.
    const double since_asked = static_cast<double>(answer - asked) * 1e-9;
    if (round_trip / 2 < best.bound) best = {rank, since_asked - round_trip / 2, round_trip / 2};
  }
  return best;
}

uint64_t pattern(int64_t i, int seed) {
  return (static_cast<uint64_t>(i) + 1) * 0x9E3779B97F4A7C15U ^ static_cast<uint64_t>(seed);
}

/// This rank and `peer` exchange messages in turn; what the first of the two finds.
LinkFacts measure_link(Communicator& world, Stream& stream, int peer, int64_t bytes) {
  constexpr int kWarmUp = 3, kShort = 20, kLong = 3;
  const bool is_first = world.rank() < peer;
  const auto turn = [&](const Tensor& t) {
    if (is_first) world.send(stream, t, peer, "link");
    world.receive(stream, t, peer, "link");
    if (!is_first) world.send(stream, t, peer, "link");
  };
  const auto seconds_of = [&](const Tensor& t, int count) {
    const auto begin = Steady::now();
    for (int i = 0; i < count; ++i) turn(t);
    return time_since(begin) / (2 * count);
  };
  std::vector<uint64_t> values(static_cast<size_t>(std::max<int64_t>(bytes / 8, 1)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = pattern(static_cast<int64_t>(i), is_first ? 1 : 0);
  const auto whole = Tensor::borrow(values.data(), {static_cast<int64_t>(values.size())}, DType::i64);
  int64_t number = 0;
  seconds_of(number_in(number), kWarmUp);
  LinkFacts link{.a = std::min(world.rank(), peer), .b = std::max(world.rank(), peer)};
  link.latency = seconds_of(number_in(number), kShort);
  link.bandwidth = static_cast<double>(whole.bytes()) / seconds_of(whole, kLong);
  // The first one's numbers went to and fro, and must be what they were on both sides.
  for (size_t i = 0; i < values.size(); ++i)
    link.num_wrong += values[i] != pattern(static_cast<int64_t>(i), 1);
  int64_t theirs = 0;
  if (is_first) {
    world.receive(stream, number_in(theirs), peer, "wrong");
    link.num_wrong += theirs;
  } else {
    world.send(stream, number_in(link.num_wrong), peer, "wrong");
  }
  return link;
}

struct Group {
  Communicator* comm;
  std::vector<int> ranks;  // of the world
};

/// Of groups that have the same ranks everywhere one; the world last.
std::vector<Group> different_groups(Context& ctx, Communicator& world, std::vector<Communicator*> comms) {
  std::stable_partition(comms.begin(), comms.end(), [&](const Communicator* comm) { return comm != &world; });
  std::vector<Group> groups;
  for (Communicator* comm : comms) {
    int64_t rank = world.rank();
    std::vector<int64_t> ranks(static_cast<size_t>(comm->size()));
    comm->all_gather(ctx.host_stream(), number_in(rank),
                     Tensor::borrow(ranks.data(), {comm->size()}, DType::i64));
    const std::vector<int> members(ranks.begin(), ranks.end());
    // All ranks leave a group out, or none does.
    int64_t is_new = std::ranges::find(groups, members, &Group::ranks) == groups.end();
    world.all_reduce(ctx.host_stream(), number_in(is_new), ReduceOp::max);
    if (is_new != 0) groups.push_back({comm, members});
  }
  return groups;
}

bool appears(const std::string& path, const std::string& content) {
  constexpr double kPatience = 4;  // seconds
  const auto begin = Steady::now();
  do {
    std::string found;
    if (std::getline(std::ifstream(path), found) && found == content) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  } while (time_since(begin) < kPatience);
  return false;
}

}  // namespace

std::vector<std::string> gather_texts(Communicator& world, const std::string& mine) {
  const auto stream = cpu::make_compute_stream();
  const auto num = static_cast<size_t>(world.size());
  auto bytes = static_cast<int64_t>(mine.size());
  std::vector<int64_t> sizes(num);
  world.all_gather(*stream, number_in(bytes), Tensor::borrow(sizes.data(), {world.size()}, DType::i64));
  const int64_t longest = std::max<int64_t>(std::ranges::max(sizes), 1);
  std::string padded = mine, all(num * static_cast<size_t>(longest), '\0');
  padded.resize(static_cast<size_t>(longest));
  world.all_gather(*stream, Tensor::borrow(padded.data(), {longest}, DType::u8),
                   Tensor::borrow(all.data(), {longest * world.size()}, DType::u8));
  std::vector<std::string> texts;
  for (size_t r = 0; r < num; ++r)
    texts.push_back(all.substr(r * static_cast<size_t>(longest), static_cast<size_t>(sizes[r])));
  return texts;
}

std::vector<ClockFacts> measure_clocks(Communicator& world, std::span<const int> firsts) {
  const auto stream = cpu::make_compute_stream();
  std::vector<ClockFacts> clocks;
  for (const int rank : firsts) {
    if (rank == 0 || (world.rank() != 0 && world.rank() != rank)) continue;
    clocks.push_back(compare_clocks(world, *stream, rank));
  }
  if (world.rank() != 0) clocks.clear();
  return clocks;
}

SharedFacts look_for_shared(Communicator& world, std::span<const int> firsts, const std::string& folder) {
  const auto stream = cpu::make_compute_stream();
  int64_t token = time_of_day() ^ ::getpid();
  world.broadcast(*stream, number_in(token), 0);
  const std::string path = fmt::format("{}/.trireme-doctor-shared-{:x}", folder, token);
  int64_t is_written = 0;
  if (world.rank() == 0) is_written = static_cast<bool>(std::ofstream(path) << token << "\n");
  world.broadcast(*stream, number_in(is_written), 0);
  const bool looks = std::ranges::find(firsts, world.rank()) != firsts.end();
  // A directory that cannot be written to is a fault of its own.
  const bool is_missing = looks && is_written != 0 && !appears(path, fmt::to_string(token));
  SharedFacts facts{folder, gather_lists(world, std::vector<int>(is_missing ? 1 : 0, world.rank()))};
  if (world.rank() == 0) ::unlink(path.c_str());
  return facts;
}

// One stands still while the others go round (the circle method of tournaments).
std::vector<std::vector<std::pair<int, int>>> rounds_of_pairs(int num) {
  const int even = num + num % 2;
  std::vector<std::vector<std::pair<int, int>>> rounds;
  for (int round = 0; round + 1 < even; ++round) {
    std::vector<std::pair<int, int>> pairs;
    for (int i = 0; i < even / 2; ++i) {
      const auto seat = [&](int at) { return at == 0 ? 0 : (at - 1 + round) % (even - 1) + 1; };
      const int a = seat(i), b = seat(even - 1 - i);
      if (a < num && b < num) pairs.emplace_back(std::min(a, b), std::max(a, b));
    }
    rounds.push_back(std::move(pairs));
  }
  return rounds;
}

std::vector<LinkFacts> measure_links(Communicator& world, std::span<const int> firsts, int64_t bytes,
                                     int most_rounds) {
  const auto stream = cpu::make_compute_stream();
  auto rounds = rounds_of_pairs(static_cast<int>(firsts.size()));
  rounds.resize(std::min(rounds.size(), static_cast<size_t>(most_rounds)));
  std::vector<LinkFacts> links;
  for (const auto& round : rounds) {
    for (const auto& [a, b] : round) {
      const int first = firsts[static_cast<size_t>(a)], second = firsts[static_cast<size_t>(b)];
      if (world.rank() == first) links.push_back(measure_link(world, *stream, second, bytes));
      if (world.rank() == second) measure_link(world, *stream, first, bytes);
    }
  }
  return gather_lists(world, links);
}

std::vector<AxisFacts> measure_axis(Context& ctx, Communicator& group, int64_t bytes,
                                    std::span<const int> ranks) {
  const CollectivesBenchOptions small{
      .operation = "all_reduce", .min_bytes = 8, .max_bytes = 8, .dtype = DType::i64};
  CollectivesBenchOptions large{.operation = "all_reduce", .min_bytes = bytes, .max_bytes = bytes};
  large.warmup = 1;
  large.iterations = 4;
  const std::vector<CollectiveTime> short_ones = run_collectives_bench(ctx, group, small);
  const std::vector<CollectiveTime> long_ones = run_collectives_bench(ctx, group, large);
  AxisFacts facts;
  facts.axis = group.name();
  facts.backend = group.backend();
  facts.ranks.assign(ranks.begin(), ranks.end());
  facts.bytes = long_ones[0].bytes;
  facts.latency = short_ones[0].seconds;
  facts.bus_bandwidth = long_ones[0].bus_bandwidth;
  for (const CollectiveTime* time : {&short_ones[0], &long_ones[0]}) {
    facts.num_wrong += time->num_wrong;
    for (const int rank : time->wrong_ranks) {
      const int of_world = ranks[static_cast<size_t>(rank)];
      if (std::ranges::find(facts.wrong, of_world) == facts.wrong.end()) facts.wrong.push_back(of_world);
    }
  }
  if (group.rank() != 0) return {};
  return {std::move(facts)};
}

std::vector<AxisFacts> measure_axes(Context& ctx, Communicator& world, const ParallelPlan& plan,
                                    int64_t bytes, CheckTimer& timer) {
  timer.begin("groups of the layout");
  const ParallelContext parallel(world, plan);
  const std::vector<Group> groups = different_groups(ctx, world, parallel.groups());
  timer.end();
  std::vector<AxisFacts> mine;
  for (const Group& group : groups) {
    const TimedCheck check(timer, fmt::format("all-reduce of the {} axis", group.comm->name()));
    const auto found = measure_axis(ctx, *group.comm, bytes, group.ranks);
    mine.insert(mine.end(), found.begin(), found.end());
  }
  const TimedCheck check(timer, "gathering what all-reduces have shown");
  return gather_lists(world, mine);
}

}  // namespace trireme::launch
