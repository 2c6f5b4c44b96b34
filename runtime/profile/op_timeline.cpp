#include "runtime/profile/op_timeline.h"

#include <fmt/format.h>

#include "runtime/base/error.h"

namespace trireme {

namespace {

std::string shapes_of(const OpCall& call) {
  std::string text;
  for (const OpOperand& operand : call.operands) {
    if (!text.empty()) text += ' ';
    text += fmt::format("{}", fmt::join(operand.shape.dims(), "x"));
  }
  return text;
}

}  // namespace

OpTimeline::OpTimeline(Context& ctx) : ctx_(ctx) {
  TRIREME_CHECK(ctx.op_observer() == nullptr, "the ops of this context are observed already");
  ctx.stream().synchronize();
  start_ = ctx.stream().record_time();
  ctx.observe_ops(this);
}

OpTimeline::~OpTimeline() {
  if (ctx_.op_observer() == this) ctx_.observe_ops(nullptr);
}

void OpTimeline::begin(Context& ctx, const OpCall& call) {
  if (depth_++ > 0) return;
  Submitted submitted;
  submitted.op = {call.name, shapes_of(call), call.flops, call.bytes};
  submitted.begin = ctx.stream().record_time();
  ops_.push_back(std::move(submitted));
}

void OpTimeline::end(Context& ctx) {
  if (--depth_ > 0) return;
  ops_.back().end = ctx.stream().record_time();
}

OpTimes OpTimeline::stop() {
  ctx_.observe_ops(nullptr);
  const auto last = ctx_.stream().record_time();
  last->synchronize();
  OpTimes times;
  times.ms = last->milliseconds_since(*start_);
  for (Submitted& submitted : ops_) {
    if (!submitted.end) continue;  // its body threw
    submitted.op.begin_ms = submitted.begin->milliseconds_since(*start_);
    submitted.op.ms = submitted.end->milliseconds_since(*submitted.begin);
    times.ops.push_back(std::move(submitted.op));
  }
  return times;
}

}  // namespace trireme
