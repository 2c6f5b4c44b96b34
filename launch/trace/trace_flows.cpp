#include "launch/trace/trace_flows.h"

#include <algorithm>
#include <span>
#include <tuple>

namespace trireme::launch {

namespace {

auto call_of(const FlowEnd& end) {
  return std::tuple(end.group, is_point_to_point(end.kind), end.from, end.to, end.sequence);
}

class Matcher {
 public:
  Matcher(std::vector<Flow>& flows, int64_t& num_backwards) : flows_(flows), num_backwards_(num_backwards) {}

  /// The ends of one call.
  void match(std::span<const FlowEnd> ends) {
    const FlowEnd& any = ends.front();
    if (is_point_to_point(any.kind)) {
      if (ends.size() != 2 || ends[0].kind == ends[1].kind) return;
      const bool is_in_order = ends[0].kind == CommKind::send;
      return add(ends[is_in_order ? 0 : 1], ends[is_in_order ? 1 : 0]);
    }
    if (static_cast<int32_t>(ends.size()) != any.group_size) return;
    const auto last = std::ranges::max_element(ends, {}, &FlowEnd::begin_ns);
    const auto root = std::ranges::find(ends, any.root, &FlowEnd::rank_in_group);
    const FlowEnd& source = any.kind == CommKind::broadcast && root != ends.end() ? *root : *last;
    for (const FlowEnd& end : ends) {
      if (end.rank != source.rank) add(source, end);
    }
  }

 private:
  void add(const FlowEnd& from, const FlowEnd& to) {
    if (!to.is_over) return;
    // A slice ends before the next begins: so does the arrow. A call of no length has one moment.
    const int64_t to_ns = std::max(to.begin_ns, to.end_ns - 1);
    if (to_ns < from.begin_ns) {
      ++num_backwards_;
      return;
    }
    flows_.push_back({to.kind, from.rank, from.row, to.rank, to.row, from.begin_ns, to_ns});
  }

  std::vector<Flow>& flows_;
  int64_t& num_backwards_;
};

}  // namespace

std::vector<Flow> match_flows(std::vector<FlowEnd> ends, int64_t& num_backwards) {
  std::ranges::sort(ends, {}, [](const FlowEnd& end) { return std::tuple(call_of(end), end.rank); });
  std::vector<Flow> flows;
  Matcher matcher(flows, num_backwards);
  for (auto begin = ends.begin(); begin != ends.end();) {
    const auto end =
        std::find_if(begin, ends.end(), [&](const FlowEnd& e) { return call_of(e) != call_of(*begin); });
    matcher.match({begin, end});
    begin = end;
  }
  return flows;
}

}  // namespace trireme::launch
