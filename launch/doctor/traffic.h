// What ranks measure together. Every rank of `world` calls these with equal arguments, in one order.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "launch/doctor/check_timer.h"
#include "launch/doctor/rank_facts.h"
#include "parallel/plan/parallel_plan.h"
#include "runtime/comm/communicator.h"
#include "runtime/device/context.h"

namespace trireme::launch {

/// The texts of all ranks, in order, on every rank.
std::vector<std::string> gather_texts(Communicator& world, const std::string& mine);

/// Clocks of `firsts`, the first ranks of hosts (rank 0 the first of them), against that of rank 0; on rank
/// 0. Cristian's method (Distributed Computing 3, 1989): of many questions the one that was answered soonest.
std::vector<ClockFacts> measure_clocks(Communicator& world, std::span<const int> firsts);

/// Whether ranks `firsts` see in `folder` what rank 0 puts there; on rank 0. A network file system has a few
/// seconds to show it.
SharedFacts look_for_shared(Communicator& world, std::span<const int> firsts, const std::string& folder);

/// Rounds in which each of `num` hosts meets each other once, no host twice in a round: pairs of numbers
/// below `num`.
std::vector<std::vector<std::pair<int, int>>> rounds_of_pairs(int num);

/// Messages between the first ranks of each two hosts, other pairs at the same time; on every rank. Of more
/// than `most_rounds` + 1 hosts each meets as many others.
std::vector<LinkFacts> measure_links(Communicator& world, std::span<const int> firsts, int64_t bytes,
                                     int most_rounds);

/// All-reduces of 8 bytes and of `bytes` over each group of a layout, on the context's device, checked; on
/// every rank. `plan` is resolved. Each axis is a check of `timer` of its own.
std::vector<AxisFacts> measure_axes(Context& ctx, Communicator& world, const ParallelPlan& plan,
                                    int64_t bytes, CheckTimer& timer);

/// One of those groups; empty but on its first rank. `ranks` are the group's, of the world.
std::vector<AxisFacts> measure_axis(Context& ctx, Communicator& group, int64_t bytes,
                                    std::span<const int> ranks);

}  // namespace trireme::launch
