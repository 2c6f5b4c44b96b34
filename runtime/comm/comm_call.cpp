#include "runtime/comm/comm_call.h"

#include <algorithm>

#include <fmt/ranges.h>

namespace trireme {

std::string_view to_string(CommKind kind) {
  constexpr std::string_view kNames[] = {"all_reduce", "all_gather",   "reduce_scatter", "broadcast",
                                         "all_to_all", "all_to_all_v", "send",           "receive",
                                         "barrier",    "split"};
  return kNames[static_cast<size_t>(kind)];
}

CommSignature signature_of(const CommCall& call) {
  CommSignature s{.kind = static_cast<int64_t>(call.kind)};
  if (call.in) s.dtype = static_cast<int64_t>(call.in.dtype());
  if (call.in && call.kind != CommKind::all_to_all_v) s.count = call.in.numel();
  if (call.kind == CommKind::all_reduce || call.kind == CommKind::reduce_scatter)
    s.op = static_cast<int64_t>(call.op);
  if (call.kind == CommKind::broadcast) s.root = call.peer;
  return s;
}

std::string to_string(const CommSignature& s) {
  std::vector<std::string> arguments;
  if (s.op >= 0) arguments.emplace_back(to_string(static_cast<ReduceOp>(s.op)));
  if (s.root >= 0) arguments.push_back(fmt::format("root {}", s.root));
  if (s.dtype >= 0) arguments.emplace_back(to_string(static_cast<DType>(s.dtype)));
  if (s.count >= 0) arguments.push_back(fmt::format("{} elements", s.count));
  return fmt::format("{}({})", to_string(static_cast<CommKind>(s.kind)), fmt::join(arguments, ", "));
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
    std::vector<size_t> ranks;
    for (size_t other = r; other < by_rank.size(); ++other) {
      if (by_rank[other] != by_rank[r]) continue;
      told[other] = true;
      ranks.push_back(other);
    }
    groups.push_back(fmt::format("rank{} {}: {}", ranks.size() > 1 ? "s" : "", fmt::join(ranks, ", "),
                                 to_string(by_rank[r])));
  }
  return fmt::format("calls do not match on communicator '{}': {}", name, fmt::join(groups, "; "));
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
