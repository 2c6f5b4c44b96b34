// Checkpoints of a training run: when one is due, its state, and the result of saving it.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launch/config/run_config.h"
#include "parallel/checkpoint/format/training_state.h"
#include "parallel/checkpoint/save/checkpoint_saver.h"
#include "runtime/comm/communicator.h"
#include "runtime/device/device.h"
#include "runtime/device/stream.h"
#include "runtime/io/files/file_calls.h"

namespace trireme::launch {

/// A line for people about a checkpoint, or a save that came to nothing.
struct CheckpointNews {
  int64_t step = 0;  ///< whose checkpoint it is; -1: of none that is there
  std::string line;
};

class RunCheckpoints {
 public:
  using Clock = std::chrono::steady_clock;
  /// What a rank knows that all have to agree on between steps: the largest of each counts.
  using Requests = std::array<double, 3>;

  /// Makes `directory` where it is not there. All ranks make one: UserError (usage) on all of them where they
  /// do not see one directory. `world` outlives it. The state is on `device`.
  RunCheckpoints(const CheckpointConfig& config, Communicator& world, Device device, std::string directory);

  const std::string& directory() const { return directory_; }
  FileCalls& calls() { return calls_; }

  Requests requests() const;
  /// The largest of all ranks' requests: hears of a save that failed, on all ranks together.
  void agree(const Requests& of_all);
  /// Whether a checkpoint is to be saved after this step. By the clock none is while the one before is in
  /// flight.
  bool is_due(int64_t step) const;

  /// Notes an evaluation; true: it is the best so far, and --checkpoint.best asks for a checkpoint of it.
  bool is_new_best(int64_t step, double loss);
  const std::optional<BestState>& best() const { return best_; }
  /// The run resumes from this checkpoint, with its best.
  void continue_from(const std::string& path, const TrainingState& state);

  /// Whether a save that is due by steps is skipped because another is in flight (--checkpoint.overlap skip);
  /// skip() logs it.
  bool is_skipped(int64_t step) const;
  void skip(int64_t step);

  /// Begins a save of what the sources are when `compute` has done what it was given so far. All ranks call
  /// it, with equal states (the first rank's is written). It waits for the one before. With `waits`, or
  /// --checkpoint.async off, it is done when this returns. Where the one before failed, --checkpoint.failure
  /// is stop and this one does not wait, it begins none and leaves failure() as it is.
  void save(TrainingState state, std::vector<SliceSource> sources, Stream& compute, bool waits);
  /// To be called before work that changes the state is given to `compute`: CheckpointSaver::release.
  void release(Stream& compute);
  /// Waits for the save in flight.
  void finish();
  /// How long this rank was paused for checkpoints since the last call.
  double take_seconds_stopped() { return std::exchange(seconds_unreported_, 0); }
  int64_t num_skipped() const { return num_skipped_; }
  /// The step whose checkpoint was saved last or is being saved; -1: none.
  int64_t last_step() const { return last_step_; }
  /// Why the last save came to nothing; empty: it did not. Equal on all ranks after agree(), save() that
  /// waits, and finish().
  const std::string& failure() const { return failure_; }
  /// Since the last call; on the first rank.
  std::vector<CheckpointNews> take_news();
  /// Where the last one is that came to count, and its proof hash; none is in flight.
  std::string last_place() const;

 private:
  Retention retention() const;
  void wait();
  void report();
  void count_stop(Clock::time_point begin);

  CheckpointConfig config_;
  Communicator& world_;
  std::string directory_;
  FileCalls calls_;
  std::optional<BestState> best_;
  Clock::time_point last_begin_ = Clock::now();
  int64_t last_step_ = -1;
  bool is_due_by_clock_ = false, is_reported_ = true;
  bool is_saving_ = false;  // as the ranks have agreed
  int64_t num_skipped_ = 0;
  double seconds_stopped_ = 0;  // the training, by the last save
  double seconds_unreported_ = 0;
  std::string failure_, resumed_place_;
  std::vector<CheckpointNews> news_;
  CheckpointSaver saver_;  // goes first: it waits for what is in flight
};

}  // namespace trireme::launch
