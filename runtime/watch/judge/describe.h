// What a verdict says, in words.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/watch/judge/judge.h"
#include "runtime/watch/judge/wait_graph.h"

namespace trireme::watch {

/// What two ranks have to have in common at one number: "all_reduce(sum, f32, 1000 elements)".
std::string comparable(const CallRecord& call);

/// A line for each call that ranks wait in, most ranks first, and no more than a screen has room for.
std::vector<std::string> describe_waits(std::span<const RankReport> reports, const WaitGraph& graph);

/// What a rank does that is to blame.
std::string describe_culprit(Verdict::Kind kind, const RankReport& report, const WaitGraph& graph);
std::string describe_host(const std::string& host, const std::string& judging,
                          std::span<const RankReport> reports);
std::string describe_left(const PendingCall& pending);
std::string describe_incomplete(const PendingCall& pending, std::span<const int> ranks,
                                std::span<const std::string> hosts);

}  // namespace trireme::watch
