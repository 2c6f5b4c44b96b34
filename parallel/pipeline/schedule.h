// A pipeline schedule as data: for every stage the list of what it does, in order. Executor, proof, simulator
// and drawings read the same lists.
#pragma once

#include <compare>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "parallel/plan/schedule_spec.h"

namespace trireme {

enum class ActionKind {
  forward,
  backward,         ///< both parts at once
  backward_input,   ///< gradient of the chunk's input: what the stage before waits for
  backward_weight,  ///< gradients of its weights: nothing waits for these, they fill bubbles
  send_activation,
  receive_activation,
  send_gradient,
  receive_gradient,
};

/// One thing a stage does. A transfer names the chunk of this stage that made or needs the tensor, and the
/// stage at the other end; a computation has no peer (-1).
struct Action {
  ActionKind kind = ActionKind::forward;
  int micro_batch = 0;
  int chunk = 0;
  int peer = -1;
  auto operator<=>(const Action&) const = default;
};

bool is_send(ActionKind kind);
bool is_receive(ActionKind kind);
inline bool is_compute(ActionKind kind) { return !is_send(kind) && !is_receive(kind); }

/// "F3", "B3.1" (chunk 1; both kinds of backward), "W3", "receive activation 3.1 from stage 2".
std::string to_string(const Action& action);

/// Stage s holds chunks 0..num_chunks-1 of the model: chunk c is virtual stage c * num_stages + s, and
/// a micro-batch passes the virtual stages in order.
struct Schedule {
  int num_stages = 1, num_micro_batches = 1, num_chunks = 1;
  ScheduleKind kind = ScheduleKind::file;
  std::vector<std::vector<Action>> actions_of_stage;

  int num_virtual_stages() const { return num_stages * num_chunks; }
  int virtual_stage(int stage, int chunk) const { return chunk * num_stages + stage; }
};

/// A pure function of its arguments, sends and receives included. On every stage and chunk the micro-batches
/// are run backward in ascending order, so that gradients are summed in one order under every kind.
///   gpipe        all forward, then all backward (arXiv 1811.06965)
///   1f1b         one forward, one backward after the pipeline is filled (PipeDream-flush, arXiv 2104.04473)
///   interleaved  1F1B over num_chunks virtual stages per stage (arXiv 2104.04473), any number of
///   micro-batches zb-h1        1F1B whose weight gradients fill the bubbles, at 1F1B's peak activations
///   (arXiv 2401.10241)
/// Any numbers >= 1; num_chunks is 1 for all kinds but interleaved. Else UserError(usage) with the values. A
/// schedule of a file is not made.
Schedule make_schedule(ScheduleKind kind, int num_stages, int num_micro_batches, int num_chunks = 1);

/// Whether some backward pass runs in two actions, the input gradient and the weight gradient: what was
/// recomputed is kept between them.
bool has_split_backward(const Schedule& schedule);
/// Of the schedule that a plan asks for; that of a file has been read, and without errors.
bool has_split_backward(const ScheduleSpec& spec);

// Transfers ----------------------------------------------------------------------------------------------

/// What `stage` must have received before this computation; none when the input is its own or the data.
std::optional<Action> receive_before(const Schedule& schedule, int stage, const Action& compute);
/// What `stage` sends after this computation, if another stage needs it.
std::optional<Action> send_after(const Schedule& schedule, int stage, const Action& compute);
/// The receive on stage `send.peer` that takes what `stage` sends.
Action receive_of(const Schedule& schedule, int stage, const Action& send);

/// Replaces all transfers by those that the order of the computations implies: a send right after the
/// computation that makes the tensor, a receive right before the one that needs it, or earlier where the
/// messages of a pair of stages would otherwise be taken out of the order in which they are sent. Taking
/// a message that was sent earlier still waits for nothing new, so with sends that do not wait the lists
/// deadlock only if the computations themselves depend on each other in a circle.
void derive_transfers(Schedule& schedule);

}  // namespace trireme
