#include "parallel/pipeline/pipeline_executor.h"

#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "runtime/comm/record/recorder.h"

namespace trireme {

namespace {

using enum ActionKind;
using Clock = std::chrono::steady_clock;
using Place = std::pair<int, int>;  // micro-batch, chunk

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

/// Of a step that trains.
Phase phase_of(ActionKind kind) {
  return kind == forward || kind == receive_activation || kind == send_activation ? Phase::forward
                                                                                  : Phase::backward;
}

Tensor take(std::map<Place, Tensor>& tensors, const Place& place) {
  const auto node = tensors.extract(place);
  return node.empty() ? Tensor() : node.mapped();
}

class Run {
 public:
  Run(Context& ctx, Communicator& pipeline, ModelPart& part, const Schedule& schedule,
      std::span<MicroBatch> micro_batches, const GradientHooks& hooks)
      : ctx_(ctx),
        pipeline_(pipeline),
        part_(part),
        schedule_(schedule),
        actions_(schedule.actions_of_stage[static_cast<size_t>(pipeline.rank())]),
        micro_batches_(micro_batches),
        hooks_(hooks),
        backwards_left_(part.chunks.size(), schedule.num_micro_batches) {}

  /// Returns the time spent on computations.
  Clock::duration execute() {
    Clock::duration compute_time{};
    for (size_t i = 0; i < actions_.size(); ++i) {
      const Action& action = actions_[i];
      enter(action);
      if (is_compute(action.kind)) {
        post_receives(i);
        drop_sent();
        const auto begin = Clock::now();
        compute(action);
        compute_time += Clock::now() - begin;
      } else if (is_send(action.kind)) {
        send(action);
      } else {
        finish_receive(action);
      }
    }
    for (const auto& [tensor, work] : sending_) work->wait();
    if (recorder_ != nullptr) recorder_->set_micro_batch(-1);
    return compute_time;
  }

 private:
  struct Transfer {
    Tensor tensor;
    WorkPtr work;
  };

  static Place place_of(const Action& action) { return {action.micro_batch, action.chunk}; }
  MicroBatch& micro_batch_of(const Action& a) { return micro_batches_[static_cast<size_t>(a.micro_batch)]; }
  Stage& stage_of(const Action& a) { return part_.chunks[static_cast<size_t>(a.chunk)]; }

  // An evaluation's passes belong to its phase.
  void enter(const Action& action) {
    if (recorder_ == nullptr) return;
    CallSite site = recorder_->site();
    if (micro_batch_of(action).training) site.phase = phase_of(action.kind);
    site.micro_batch = action.micro_batch;
    recorder_->enter(site);
  }

  // The receives of the computation at `position` were posted when the one before it began, if not at once.
  void post_receives(size_t position) {
    for (size_t i = std::max(posted_, position + 1); i < actions_.size() && !is_compute(actions_[i].kind);
         ++i) {
      if (is_receive(actions_[i].kind)) {
        enter(actions_[i]);
        post(actions_[i]);
      }
      posted_ = i + 1;
    }
    enter(actions_[position]);
  }

  /// What a message is, as its receiver sees it: a receive that gets another is an error.
  static std::string label_of(const Action& receive) {
    return fmt::format("{} {}.{}", receive.kind == receive_activation ? "activation" : "gradient",
                       receive.micro_batch, receive.chunk);
  }

  void post(const Action& action) {
    const int stage = action.chunk * pipeline_.size() + pipeline_.rank();
    const int64_t rows = part_.boundary.rows_behind(action.kind == receive_activation ? stage - 1 : stage,
                                                    micro_batch_of(action));
    const Tensor tensor = Tensor::empty(ctx_, {rows, part_.boundary.width}, part_.boundary.dtype);
    receiving_.push_back(
        {tensor, pipeline_.receive_async(ctx_.stream(), tensor, action.peer, label_of(action))});
  }

  // Receives end in the order of the list, which is that of their posting.
  void finish_receive(const Action& action) {
    if (receiving_.empty()) post(action);
    receiving_.front().work->wait();
    inputs_of(action.kind == receive_activation)[place_of(action)] = receiving_.front().tensor;
    receiving_.pop_front();
  }

  void send(const Action& action) {
    const Tensor tensor =
        take(action.kind == send_activation ? outputs_ : input_gradients_, place_of(action));
    TRIREME_CHECK(tensor, "{} before it is made", to_string(action));
    const std::string label = label_of(receive_of(schedule_, pipeline_.rank(), action));
    sending_.push_back({tensor, pipeline_.send_async(ctx_.stream(), tensor, action.peer, label)});
  }

  // Lets go of what has arrived: activations are not to pile up until the end of the step.
  void drop_sent() {
    while (!sending_.empty() && sending_.front().work->is_done()) {
      sending_.front().work->wait();
      sending_.pop_front();
    }
  }

  void compute(const Action& action) {
    StageSaved& saved = in_flight_[place_of(action)];
    stage_of(action).enter(action.micro_batch, micro_batch_of(action),
                           action.chunk * schedule_.num_stages + pipeline_.rank());
    switch (action.kind) {
      case forward:
        hand_over(action, stage_of(action).forward(ctx_, micro_batch_of(action),
                                                   take(inputs_, place_of(action)), saved));
        break;
      case backward:
        hand_over(action, stage_of(action).backward(ctx_, take(output_gradients_, place_of(action)), saved,
                                                    ready_after(action), hooks_.expected));
        break;
      case backward_input:
        hand_over(action, stage_of(action).backward_input(ctx_, take(output_gradients_, place_of(action)),
                                                          saved, hooks_.expected));
        return;
      case backward_weight:
        stage_of(action).backward_weight(ctx_, saved, ready_after(action));
        break;
      default:
        TRIREME_CHECK(false, "{} computes nothing", to_string(action));
    }
    if (action.kind != forward || !micro_batch_of(action).training) in_flight_.erase(place_of(action));
  }

  GradientsReady ready_after(const Action& action) {
    return --backwards_left_[static_cast<size_t>(action.chunk)] == 0 ? hooks_.ready : GradientsReady();
  }

  std::map<Place, Tensor>& inputs_of(bool is_activation) {
    return is_activation ? inputs_ : output_gradients_;
  }

  // What was made waits for its send, or is the input of the next virtual stage on this same rank.
  void hand_over(const Action& action, const Tensor& made) {
    if (!made) return;
    const bool is_activation = action.kind == forward;
    if (schedule_.num_stages > 1) {
      (is_activation ? outputs_ : input_gradients_)[place_of(action)] = made;
    } else {
      inputs_of(is_activation)[{action.micro_batch, action.chunk + (is_activation ? 1 : -1)}] = made;
    }
  }

  Context& ctx_;
  Recorder* const recorder_ = ctx_.recorder();
  Communicator& pipeline_;
  ModelPart& part_;
  const Schedule& schedule_;
  const std::vector<Action>& actions_;
  std::span<MicroBatch> micro_batches_;
  const GradientHooks& hooks_;
  std::vector<int> backwards_left_;  // of a chunk, until its gradients are complete
  std::map<Place, StageSaved> in_flight_;
  std::map<Place, Tensor> inputs_, output_gradients_;  // to be computed with
  std::map<Place, Tensor> outputs_, input_gradients_;  // to be sent
  size_t posted_ = 0;                                  // receives before this position are posted
  std::deque<Transfer> receiving_, sending_;
};

}  // namespace

void PipelineExecutor::run(Context& ctx, const Schedule& schedule, std::span<MicroBatch> micro_batches,
                           const GradientHooks& hooks) {
  TRIREME_CHECK(schedule.num_stages == pipeline_.size() &&
                    static_cast<size_t>(schedule.num_chunks) == part_.chunks.size() &&
                    static_cast<size_t>(schedule.num_micro_batches) == micro_batches.size(),
                "a schedule of {} stages, {} chunks and {} micro-batches for {}, {} and {}",
                schedule.num_stages, schedule.num_chunks, schedule.num_micro_batches, pipeline_.size(),
                part_.chunks.size(), micro_batches.size());
  const auto begin = Clock::now();
  const auto compute = Run(ctx, pipeline_, part_, schedule, micro_batches, hooks).execute();
  times_.compute_s += seconds(compute);
  times_.total_s += seconds(Clock::now() - begin);
}

}  // namespace trireme
