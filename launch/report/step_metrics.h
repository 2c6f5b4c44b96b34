// StepMetrics: the metrics of a step, for the step line, metrics.jsonl and TensorBoard.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "launch/report/router_metrics.h"
#include "launch/report/step_breakdown.h"
#include "runtime/device/allocator.h"

namespace trireme::launch {

struct StepMetrics {
  int64_t step = 0;          ///< optimizer steps done; 0 is the state before the first
  double time = 0;           ///< seconds since 1970
  int64_t tokens = 0;        ///< tokens trained on since the start of training, over all ranks
  double loss = 0;           ///< cross-entropy: mean over the tokens of the global batch, natural logarithm
  double aux_loss = 0;       ///< what the routers' auxiliary losses add to that
  double router_z_loss = 0;  ///< and their z-losses
  /// What is minimised, all of these and what --loss adds to them; where it adds something.
  std::optional<double> objective = std::nullopt;
  double grad_norm = 0;  ///< global, before clipping
  double lr = 0;
  double step_ms = 0;       ///< wall time of the step
  double comm_wait_ms = 0;  ///< of it, waiting for communication (Communicator::seconds_waited), this rank
  double data_wait_ms = 0;  ///< of it, waiting for its batch to be read, this rank
  /// Of it, the time in which the thread of this rank that waited longest for a core had none, because of
  /// other processes or a quota (CoreWaits).
  double core_wait_ms = 0;
  /// Standing still for checkpoints, this rank: in the step and, which step_ms is without, since the one
  /// before.
  double checkpoint_wait_ms = 0;
  int64_t checkpoints_skipped = 0;  ///< by --checkpoint.overlap skip, since this start of the program
  int64_t dispatch_bytes =
      0;                    ///< of rows of tokens that this rank has sent to other ranks' experts, and back
  double tok_s = 0;         ///< over all ranks
  double tflops = 0;        ///< model FLOPs per second over all ranks, / 1e12
  double mfu = 0;           ///< model FLOPs as a share (0 to 1) of what the ranks' devices can do
  double peak_tflops = 0;   ///< what that is, / 1e12
  bool is_mfu_sure = true;  ///< neither is the peak unsure, nor did other processes hold up the step
  int64_t mem_bytes = 0;    ///< peak of bytes in use, this rank
  int64_t reserved_bytes = 0;  ///< and of those taken from its device for them
  /// Of the log window that ends here: the peak in each category, the largest of all ranks.
  std::optional<std::array<int64_t, kNumMemoryCategories>> memory = std::nullopt;
  double loss_scale = 1;                       ///< of this step
  std::optional<double> zeros = std::nullopt;  ///< part of the prunable weights that is zero for good
  bool skipped = false;                        ///< its loss or gradients were not finite: nothing was updated
  int64_t skips = 0;                           ///< steps skipped since the start of training
  // Standard deviations from the mean of the steps before, where known.
  std::optional<double> loss_z = std::nullopt, grad_norm_z = std::nullopt;
  std::vector<RouterMetrics> routers = {};  ///< by layer; empty without experts
  std::optional<double> val_loss;           ///< where this step was evaluated
  /// Of the log window that ends here: where its time went, and of several ranks the same by rank.
  std::optional<StepBreakdown> breakdown = std::nullopt;
  std::optional<RankTable> ranks = std::nullopt;
  /// Of the log window that ends here, with several ranks: the rank that computed longest beside the
  /// median of its pipeline stage (Stragglers), and whether it has done so long enough to be called one.
  int slowest_rank = -1;
  double slowest_ratio = 1;
  bool is_straggler = false;
};

}  // namespace trireme::launch
