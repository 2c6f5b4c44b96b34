#include "launch/profile/wait_exchange.h"

#include <algorithm>
#include <limits>
#include <set>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme::launch {

namespace {

constexpr const char* kLabel = "breakdown";

Tensor borrowed(int64_t* values, size_t count) {
  return Tensor::borrow(values, {static_cast<int64_t>(count)}, DType::i64);
}

double ms_of(int64_t ns) { return 1e-6 * static_cast<double>(ns); }

SplitWaits split_collectives(Communicator& group, Stream& stream, const WaitSeries& mine) {
  SplitWaits split;
  if (mine.num_calls() == 0) return split;
  std::vector<double> least = mine.sums();
  group.all_reduce(stream, Tensor::borrow(least.data(), {std::ssize(least)}, DType::f64), ReduceOp::min);
  for (size_t i = 0; i < least.size(); ++i) {
    split.transfer += least[i];
    split.late += mine.sums()[i] - least[i];
  }
  return split;
}

/// Nanoseconds that the peer's clock is ahead of this one's, by the quickest of some rounds (Cristian's
/// algorithm, Distributed Computing 3, 1989). Both call it.
int64_t clock_ahead(Communicator& group, Stream& stream, int peer) {
  constexpr int kRounds = 5;
  int64_t ahead = 0, shortest = std::numeric_limits<int64_t>::max();
  const bool asks = group.rank() < peer;
  for (int round = 0; round < kRounds; ++round) {
    int64_t theirs = 0;
    if (!asks) {
      group.receive(stream, borrowed(&theirs, 1), peer, kLabel);
      int64_t mine = steady_ns();
      group.send(stream, borrowed(&mine, 1), peer, kLabel);
      continue;
    }
    int64_t begin = steady_ns();
    group.send(stream, borrowed(&begin, 1), peer, kLabel);
    group.receive(stream, borrowed(&theirs, 1), peer, kLabel);
    const int64_t end = steady_ns();
    if (end - begin >= shortest) continue;
    shortest = end - begin;
    ahead = theirs - (begin + (end - begin) / 2);
  }
  if (!asks) {
    group.receive(stream, borrowed(&ahead, 1), peer, kLabel);
    return -ahead;
  }
  group.send(stream, borrowed(&ahead, 1), peer, kLabel);
  return ahead;
}

const Messages& messages_with(const std::map<int, Messages>& all, int peer) {
  static const Messages kNone;
  const auto found = all.find(peer);
  return found == all.end() ? kNone : found->second;
}

/// When the other end of what this rank has received from the peer was posted, and then of what it has sent.
std::vector<int64_t> other_ends(Communicator& group, Stream& stream, int peer, const Messages& received,
                                const Messages& sent) {
  std::vector<int64_t> mine, theirs(received.first.size() + sent.first.size());
  for (const auto& message : sent.first) mine.push_back(message.posted_ns);
  for (const auto& message : received.first) mine.push_back(message.posted_ns);
  const WorkPtr sending = group.send_async(stream, borrowed(mine.data(), mine.size()), peer, kLabel);
  group.receive(stream, borrowed(theirs.data(), theirs.size()), peer, kLabel);
  sending->wait();
  return theirs;
}

void add(SplitWaits& sum, const SplitWaits& other) {
  sum.transfer += other.transfer;
  sum.late += other.late;
}

}  // namespace

SplitWaits split_messages(const Messages& messages, std::span<const int64_t> other_end_ns) {
  TRIREME_CHECK(messages.first.size() == other_end_ns.size(), "{} messages, of {} the other end",
                messages.first.size(), other_end_ns.size());
  SplitWaits split;
  for (size_t i = 0; i < messages.first.size(); ++i) {
    const auto& [posted, begin, end] = messages.first[i];
    const int64_t came = std::clamp(other_end_ns[i], begin, end);
    split.late += ms_of(came - begin);
    split.transfer += ms_of(end - came);
  }
  // Those that are not known one by one are taken to be like these.
  const double sum = split.late + split.transfer;
  const double late = messages.other_ms * (sum > 0 ? split.late / sum : 0);
  split.late += late;
  split.transfer += messages.other_ms - late;
  return split;
}

SplitWaits split_waits(Communicator& group, const GroupWaits& mine, std::span<const std::string> hosts) {
  const auto stream = cpu::make_compute_stream();
  SplitWaits split = split_collectives(group, *stream, mine.collectives);
  std::set<int> peers;
  for (const auto* all : {&mine.sent, &mine.received}) {
    for (const auto& [peer, messages] : *all) peers.insert(peer);
  }
  const std::vector<int> ranks = group.world_ranks();
  const auto host_of = [&](int rank) { return hosts[static_cast<size_t>(ranks[static_cast<size_t>(rank)])]; };
  for (const int peer : peers) {  // pairs in one order on all ranks, so that no circle waits for itself
    const Messages &received = messages_with(mine.received, peer), &sent = messages_with(mine.sent, peer);
    const int64_t ahead = host_of(peer) == host_of(group.rank()) ? 0 : clock_ahead(group, *stream, peer);
    std::vector<int64_t> ends = other_ends(group, *stream, peer, received, sent);
    for (int64_t& ns : ends) ns -= ahead;
    const std::span<const int64_t> all = ends;
    add(split, split_messages(received, all.first(received.first.size())));
    add(split, split_messages(sent, all.subspan(received.first.size())));
  }
  return split;
}

}  // namespace trireme::launch
