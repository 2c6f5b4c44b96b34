// The operations of communicators.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace trireme {

enum class ReduceOp : uint8_t { sum, max, min };

constexpr std::string_view to_string(ReduceOp op) {
  constexpr std::string_view kNames[] = {"sum", "max", "min"};
  return kNames[static_cast<size_t>(op)];
}

enum class CommKind : uint8_t {
  all_reduce,
  all_gather,
  reduce_scatter,
  broadcast,
  all_to_all,
  all_to_all_v,
  send,
  receive,
  barrier,
  split
};

constexpr std::string_view to_string(CommKind kind) {
  constexpr std::string_view kNames[] = {"all_reduce", "all_gather",   "reduce_scatter", "broadcast",
                                         "all_to_all", "all_to_all_v", "send",           "receive",
                                         "barrier",    "split"};
  return kNames[static_cast<size_t>(kind)];
}

constexpr bool is_point_to_point(CommKind kind) {
  return kind == CommKind::send || kind == CommKind::receive;
}

}  // namespace trireme
