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

OpTimeline::OpTimeline(Context& ctx) : ctx_(ctx), clock_(ctx.stream()) {
  TRIREME_CHECK(ctx.op_observer() == nullptr, "the ops of this context are observed already");
  ctx.observe_ops(this);
}

OpTimeline::~OpTimeline() { end_observing(); }

void OpTimeline::end_observing() {
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

std::vector<TimedOp> OpTimeline::take() {
  std::vector<TimedOp> ops;
  for (; !ops_.empty(); ops_.pop_front()) {
    Submitted& first = ops_.front();
    if (!first.end) {
      if (ops_.size() == 1 && depth_ > 0) break;
      continue;  // its body threw
    }
    if (!first.end->is_done()) break;
    first.op.begin_ms = clock_.ms_of(*first.begin);
    first.op.ms = first.end->milliseconds_since(*first.begin);
    clock_.advance(std::move(first.end));
    ops.push_back(std::move(first.op));
  }
  return ops;
}

OpTimes OpTimeline::stop() {
  end_observing();
  const auto last = ctx_.stream().record_time();
  last->synchronize();
  depth_ = 0;
  OpTimes times;
  times.ops = take();
  times.ms = clock_.ms_of(*last);
  return times;
}

}  // namespace trireme
