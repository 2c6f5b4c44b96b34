#include "launch/trace/site_rows.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace trireme::launch {

void SiteRows::add(int64_t begin_ns, int32_t depth, TraceName name) {
  data_.slices.push_back({begin_ns, now_ - begin_ns, intern_(std::move(name)), kStepRow, depth});
}

void SiteRows::close_layer() {
  if (site_->layer >= 0) add(layer_begin_, 2, {fmt::format("layer {}", site_->layer), "layer", ""});
  layer_begin_ = now_;
}

void SiteRows::close_phase() {
  std::string name(to_string(site_->phase));
  if (site_->micro_batch >= 0) name += fmt::format(" {}", site_->micro_batch);
  add(phase_begin_, 1, {std::move(name), "phase", ""});
  phase_begin_ = now_;
}

void SiteRows::close_step(bool is_whole) {
  if (site_->step > 0) {
    add(step_begin_, 0, {fmt::format("step {}", site_->step), "step", ""});
    if (is_whole) data_.steps.push_back({site_->step, step_begin_, now_});
  }
  step_begin_ = now_;
}

void SiteRows::enter(int64_t ns, const CallSite& site) {
  now_ = std::max(now_, ns);
  if (!site_) {
    step_begin_ = phase_begin_ = layer_begin_ = now_;
    site_ = site;
    return;
  }
  const bool is_other_step = site.step != site_->step;
  const bool is_other_phase =
      is_other_step || site.phase != site_->phase || site.micro_batch != site_->micro_batch;
  if (is_other_phase || site.layer != site_->layer) close_layer();
  if (is_other_phase) close_phase();
  if (is_other_step) close_step(true);
  site_ = site;
}

void SiteRows::finish(int64_t ns, bool is_step_over) {
  if (!site_) return;
  now_ = std::max(now_, ns);
  close_layer();
  close_phase();
  close_step(is_step_over);
  site_.reset();
}

}  // namespace trireme::launch
