#include "runtime/comm/comm_call.h"

#include <algorithm>

#include <fmt/ranges.h>

namespace trireme {

CommSignature signature_of(const CommCall& call) {
  CommSignature s{.kind = static_cast<int64_t>(call.kind)};
  if (call.in) s.dtype = static_cast<int64_t>(call.in.dtype());
  if (call.in && call.kind != CommKind::all_to_all_v) s.count = call.in.numel();
  if (call.kind == CommKind::all_reduce || call.kind == CommKind::reduce_scatter)
    s.op = static_cast<int64_t>(call.op);
  if (call.kind == CommKind::broadcast) s.root = call.peer;
  const auto record = call.recorded.record();
  if (!record) return s;
  const CallSite& site = record->site;
  s.rank = call.recorded.world_rank();
  s.sequence = record->sequence;
  s.at_step = site.step;
  s.at_phase = static_cast<int64_t>(site.phase);
  s.at_micro_batch = site.micro_batch;
  s.at_layer = site.layer;
  if (call.check != CallCheck::backend) s.step = s.at_step;
  if (call.check == CallCheck::site) {
    s.phase = s.at_phase;
    s.micro_batch = s.at_micro_batch;
    s.layer = s.at_layer;
  }
  return s;
}

namespace {

// " in layer 11, backward of step 7, micro-batch 2".
std::string site_text(const CommSignature& s) {
  if (s.at_phase < 0) return "";
  std::string text = " in ";
  if (s.at_layer >= 0) text += fmt::format("layer {}, ", s.at_layer);
  text += to_string(static_cast<Phase>(s.at_phase));
  if (s.at_step >= 0) text += fmt::format(" of step {}", s.at_step);
  if (s.at_micro_batch >= 0) text += fmt::format(", micro-batch {}", s.at_micro_batch);
  return text;
}

}  // namespace

std::string to_string(const CommSignature& s) {
  std::vector<std::string> arguments;
  if (s.op >= 0) arguments.emplace_back(to_string(static_cast<ReduceOp>(s.op)));
  if (s.root >= 0) arguments.push_back(fmt::format("root {}", s.root));
  if (s.dtype >= 0) arguments.emplace_back(to_string(static_cast<DType>(s.dtype)));
  if (s.count >= 0) arguments.push_back(fmt::format("{} elements", s.count));
  return fmt::format("{}({}){}", to_string(static_cast<CommKind>(s.kind)), fmt::join(arguments, ", "),
                     site_text(s));
}

MessageHeader header_of(const CommCall& call) {
  MessageHeader header;
  header.bytes = call.in.bytes();
  call.label.copy(header.label, sizeof header.label - 1);
  return header;
}

std::string describe_mismatch(const std::string& name, int from, const MessageHeader& sent, int to,
                              const MessageHeader& awaited) {
  if (sent == awaited) return "";
  const auto text = [](const MessageHeader& h) {
    return h.label[0] == '\0' ? fmt::format("{} bytes", h.bytes)
                              : fmt::format("{} bytes of {}", h.bytes, static_cast<const char*>(h.label));
  };
  return fmt::format("calls do not match on communicator '{}': rank {} receives {}, rank {} sent {}", name,
                     to, text(awaited), from, text(sent));
}

std::string describe_mismatch(const std::string& name, std::span<const CommSignature> by_rank) {
  if (std::ranges::adjacent_find(by_rank, std::not_equal_to{}) == by_rank.end()) return "";
  std::vector<std::string> groups;
  std::vector<bool> told(by_rank.size(), false);
  for (size_t r = 0; r < by_rank.size(); ++r) {
    if (told[r]) continue;
    std::vector<int64_t> ranks;
    for (size_t other = r; other < by_rank.size(); ++other) {
      if (by_rank[other] != by_rank[r]) continue;
      told[other] = true;
      const int64_t of_world = by_rank[other].rank;
      ranks.push_back(of_world >= 0 ? of_world : static_cast<int64_t>(other));
    }
    groups.push_back(fmt::format("rank{} {}: {}", ranks.size() > 1 ? "s" : "", fmt::join(ranks, ", "),
                                 to_string(by_rank[r])));
  }
  const int64_t sequence = by_rank[0].sequence;
  return fmt::format("calls do not match on communicator '{}'{}: {}", name,
                     sequence < 0 ? "" : fmt::format(", collective {}", sequence), fmt::join(groups, "; "));
}

std::string describe_count_mismatch(const std::string& name, std::span<const int64_t> counts,
                                    std::span<const int64_t> expected, int size) {
  const auto n = static_cast<size_t>(size);
  for (size_t from = 0; from < n; ++from) {
    for (size_t to = 0; to < n; ++to) {
      if (counts[from * n + to] == expected[to * n + from]) continue;
      return fmt::format(
          "calls do not match on communicator '{}': all_to_all_v sends {} elements from rank {} to rank {}, "
          "which expects {}",
          name, counts[from * n + to], from, to, expected[to * n + from]);
    }
  }
  return "";
}

}  // namespace trireme
