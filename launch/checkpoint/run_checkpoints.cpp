#include "launch/checkpoint/run_checkpoints.h"

#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "parallel/checkpoint/save/commit.h"
#include "runtime/comm/record/call_site.h"

namespace trireme::launch {

namespace {

// Of a thread that saves while the rank trains.
std::unique_ptr<Communicator> group_of_saver(Communicator& world) {
  auto group = world.split(0, world.rank(), "checkpoints");
  group->record_as(Phase::save);
  return group;
}

}  // namespace

RunCheckpoints::RunCheckpoints(const CheckpointConfig& config, Communicator& world, Device device,
                               std::string directory)
    : config_(config),
      world_(world),
      directory_(std::move(directory)),
      saver_(calls_, group_of_saver(world), device) {
  check_shared_directory(calls_, world_, directory_);
}

RunCheckpoints::Requests RunCheckpoints::requests() const {
  const std::chrono::duration<double> passed = Clock::now() - last_begin_;
  const bool is_time = config_.minutes > 0 && world_.rank() == 0 && passed.count() >= 60 * config_.minutes;
  return {is_time ? 1.0 : 0.0, saver_.is_saving() ? 1.0 : 0.0, saver_.has_failed() ? 1.0 : 0.0};
}

void RunCheckpoints::agree(const Requests& of_all) {
  const auto [is_time, is_saving, has_failed] = of_all;
  is_saving_ = is_saving > 0;
  if (has_failed > 0) finish();
  is_due_by_clock_ = is_time > 0 && !is_saving_;
}

bool RunCheckpoints::is_due(int64_t step) const {
  const bool is_by_steps = config_.every > 0 && step % config_.every == 0;
  return is_due_by_clock_ || (is_by_steps && !is_skipped(step));
}

bool RunCheckpoints::is_skipped(int64_t step) const {
  return config_.overlap == SaveOverlap::skip && is_saving_ && config_.every > 0 && step % config_.every == 0;
}

void RunCheckpoints::skip(int64_t step) {
  ++num_skipped_;
  news_.push_back({step, fmt::format("no checkpoint of step {}: that of step {} is still being written "
                                     "(--checkpoint.overlap skip)",
                                     step, last_step_)});
}

bool RunCheckpoints::is_new_best(int64_t step, double loss) {
  if (!config_.best || !std::isfinite(loss) || (best_ && loss >= best_->loss)) return false;
  best_ = BestState{step, loss};
  return true;
}

void RunCheckpoints::continue_from(const std::string& path, const TrainingState& state) {
  best_ = state.best;
  resumed_place_ = path;
  if (path == directory_ + "/" + checkpoint_name(state.step)) last_step_ = state.step;
}

Retention RunCheckpoints::retention() const {
  Retention retention{config_.keep, config_.keep_every, std::nullopt};
  if (best_) retention.best = best_->step;
  return retention;
}

void RunCheckpoints::count_stop(Clock::time_point begin) {
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  seconds_stopped_ += seconds;
  seconds_unreported_ += seconds;
}

void RunCheckpoints::save(TrainingState state, std::vector<SliceSource> sources, Stream& compute,
                          bool waits) {
  const auto begin = Clock::now();
  finish();
  if (!failure_.empty() && !waits && config_.failure == SaveFailurePolicy::stop) return;
  last_begin_ = begin;
  last_step_ = state.step;
  state.best = best_;
  is_due_by_clock_ = false;
  is_reported_ = false;
  failure_.clear();
  seconds_stopped_ = 0;
  saver_.save({directory_, std::move(state), retention()}, std::move(sources), compute);
  const bool is_done = waits || !config_.async;
  if (is_done) wait();
  count_stop(begin);
  if (is_done) report();
}

void RunCheckpoints::release(Stream& compute) {
  const auto begin = Clock::now();
  saver_.release(compute);
  count_stop(begin);
}

void RunCheckpoints::wait() {
  is_saving_ = false;
  try {
    saver_.wait();
  } catch (const SaveFailed& error) {
    failure_ = error.what();
    last_step_ = -1;
    is_reported_ = true;
    news_.push_back({-1, fmt::format("warning: {}; earlier checkpoints are kept", failure_)});
  }
}

void RunCheckpoints::finish() {
  wait();
  report();
}

void RunCheckpoints::report() {
  if (std::exchange(is_reported_, true) || !saver_.last()) return;
  news_.push_back({last_step_, fmt::format("checkpoint {}; training paused for {:.0f} ms", last_place(),
                                           1e3 * seconds_stopped_)});
  for (const std::string& warning : saver_.last()->warnings) news_.push_back({-1, "warning: " + warning});
}

std::vector<CheckpointNews> RunCheckpoints::take_news() {
  if (!saver_.is_saving() && !saver_.has_failed()) report();
  return std::exchange(news_, {});
}

std::string RunCheckpoints::last_place() const {
  if (!saver_.last()) return resumed_place_;
  return fmt::format("{} (proof {})", saver_.last()->path, to_string(saver_.last()->proof));
}

}  // namespace trireme::launch
