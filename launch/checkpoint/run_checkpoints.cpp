#include "launch/checkpoint/run_checkpoints.h"

#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "parallel/checkpoint/save/commit.h"

namespace trireme::launch {

RunCheckpoints::RunCheckpoints(const CheckpointConfig& config, Communicator& world, std::string directory)
    : config_(config),
      world_(world),
      directory_(std::move(directory)),
      saver_(calls_, world.split(0, world.rank(), "checkpoints")) {
  check_shared_directory(calls_, world_, directory_);
}

RunCheckpoints::Requests RunCheckpoints::requests() const {
  const std::chrono::duration<double> passed = Clock::now() - last_begin_;
  const bool is_time = config_.minutes > 0 && world_.rank() == 0 && passed.count() >= 60 * config_.minutes;
  return {is_time ? 1.0 : 0.0, saver_.is_saving() ? 1.0 : 0.0, saver_.has_failed() ? 1.0 : 0.0};
}

void RunCheckpoints::agree(const Requests& of_all) {
  const auto [is_time, is_saving, has_failed] = of_all;
  if (has_failed > 0) finish();
  is_due_by_clock_ = is_time > 0 && !(is_saving > 0);
}

bool RunCheckpoints::is_due(int64_t step) const {
  return is_due_by_clock_ || (config_.every > 0 && step % config_.every == 0);
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

void RunCheckpoints::save(TrainingState state, std::span<const SliceSource> sources, bool waits) {
  finish();
  const auto begin = Clock::now();
  last_begin_ = begin;
  last_step_ = state.step;
  state.best = best_;
  is_due_by_clock_ = false;
  is_reported_ = false;
  failure_.clear();
  saver_.save({directory_, std::move(state), {}, retention()}, sources);
  seconds_stopped_ = std::chrono::duration<double>(Clock::now() - begin).count();
  if (waits || !config_.async) {
    finish();
    seconds_stopped_ = std::chrono::duration<double>(Clock::now() - begin).count();
  }
}

void RunCheckpoints::finish() {
  try {
    saver_.wait();
  } catch (const SaveFailed& error) {
    failure_ = error.what();
    last_step_ = -1;
    is_reported_ = true;
    news_.push_back(fmt::format("warning: {}; earlier checkpoints are kept", failure_));
  }
}

std::vector<std::string> RunCheckpoints::take_messages() {
  if (!is_reported_ && !saver_.is_saving() && !saver_.has_failed() && saver_.last()) {
    is_reported_ = true;
    news_.push_back(
        fmt::format("checkpoint {}; training paused for {:.0f} ms", last_place(), 1e3 * seconds_stopped_));
    for (const std::string& warning : saver_.last()->warnings) news_.push_back("warning: " + warning);
  }
  return std::exchange(news_, {});
}

std::string RunCheckpoints::last_place() const {
  if (!saver_.last()) return resumed_place_;
  return fmt::format("{} (proof {})", saver_.last()->path, to_string(saver_.last()->proof));
}

}  // namespace trireme::launch
