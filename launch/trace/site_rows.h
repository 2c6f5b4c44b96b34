// Steps, phases and layers of a rank as slices within slices.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "launch/trace/trace_data.h"
#include "runtime/comm/record/call_site.h"

namespace trireme::launch {

/// Is told where the rank has come to; what it leaves by that becomes a slice: of a layer ("layer 3"), of a
/// phase ("forward 0", with its micro-batch) around its layers, of a step around its phases.
class SiteRows {
 public:
  /// Gives the slice a name of which only the arguments of this call matter.
  using Intern = std::function<int32_t(TraceName)>;
  SiteRows(RankTraceData& data, Intern intern) : data_(data), intern_(std::move(intern)) {}

  /// Times do not go back: one that is less than the last counts as that.
  void enter(int64_t ns, const CallSite& site);
  /// Closes what is open. The step that was under way is not whole, unless `is_step_over`.
  void finish(int64_t ns, bool is_step_over);

 private:
  void close_layer();
  void close_phase();
  void close_step(bool is_whole);
  void add(int64_t begin_ns, int32_t depth, TraceName name);

  RankTraceData& data_;
  Intern intern_;
  std::optional<CallSite> site_;
  int64_t now_ = 0, step_begin_ = 0, phase_begin_ = 0, layer_begin_ = 0;
};

}  // namespace trireme::launch
