#include "models/distill/teacher_steps.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/comm/record/recorder.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

namespace {

class AddedTime {
 public:
  explicit AddedTime(double& seconds) : seconds_(seconds) {}
  ~AddedTime() { seconds_ += std::chrono::duration<double>(Clock::now() - begin_).count(); }
  AddedTime(const AddedTime&) = delete;
  AddedTime& operator=(const AddedTime&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  double& seconds_;
  Clock::time_point begin_ = Clock::now();
};

}  // namespace

/// Of one micro-batch.
class StepTeacher final : public TeacherRows {
 public:
  StepTeacher(TeacherSteps& steps, std::shared_ptr<TeacherSteps::Step> step, int64_t own)
      : steps_(steps), step_(std::move(step)), own_(own) {}

  RowTeacher rows(Context& ctx, int64_t begin, int64_t end) const override {
    return steps_.head_->rows(ctx, steps_.states_of(ctx, *step_, own_).slice(begin, end));
  }

 private:
  TeacherSteps& steps_;
  std::shared_ptr<TeacherSteps::Step> step_;
  int64_t own_;
};

Tensor share_rows(Context& ctx, const Tensor& states, int64_t seq_len, const ContextShare& share) {
  if (share.size == 1) return states;
  const int64_t samples = states.dim(0) / seq_len;
  const Tensor rows = Tensor::empty(ctx, {samples * seq_len / share.size, states.dim(1)}, states.dtype());
  int64_t to = 0;
  for (int64_t b = 0; b < samples; ++b) {
    for (const Part& part : share.tokens(seq_len)) {
      ops::copy(ctx, states.slice(b * seq_len + part.begin, b * seq_len + part.end),
                rows.slice(to, to + part.size()));
      to += part.size();
    }
  }
  return rows;
}

TeacherSteps::TeacherSteps(Communicator& job, const StateRoutes& routes, const ParallelContext& student,
                           const TeacherRounds* passes, const TeacherHead* head,
                           const DistillBatches& batches, int64_t width, DType type)
    : job_(job),
      routes_(routes),
      passes_(passes),
      head_(head),
      batches_(batches),
      width_(width),
      type_(type),
      replica_(student.data().rank()),
      is_piped_(student.pipeline().size() > 1) {
  TRIREME_CHECK((head != nullptr) == (routes.here().student >= 0), "a head on a rank of replica {}",
                routes.here().student);
  TRIREME_CHECK(batches.global_batch % (batches.micro_batch * routes.students()) == 0,
                "{} samples in micro-batches of {} for {} replicas", batches.global_batch,
                batches.micro_batch, routes.students());
}

void TeacherSteps::attach(Context& ctx, std::span<MicroBatch> micro_batches) {
  TRIREME_CHECK(std::ssize(micro_batches) * routes_.students() == batches_.num_micro_batches(),
                "{} micro-batches of each of {} replicas, {} in all", micro_batches.size(),
                routes_.students(), batches_.num_micro_batches());
  const auto step = std::make_shared<Step>();
  step->first_sample = micro_batches.front().first_sample - replica_ * batches_.micro_batch;
  for (int64_t own = 0; own < std::ssize(micro_batches); ++own) {
    MicroBatch& mb = micro_batches[static_cast<size_t>(own)];
    const int64_t expected =
        step->first_sample + (own * routes_.students() + replica_) * batches_.micro_batch;
    TRIREME_CHECK(mb.first_sample == expected && mb.batch == batches_.micro_batch,
                  "micro-batch {} is of {} samples from {}, not of {} from {}", own, mb.batch,
                  mb.first_sample, batches_.micro_batch, expected);
    if (head_ != nullptr) mb.teacher = std::make_shared<StepTeacher>(*this, step, own);
  }
  // Stages are at different micro-batches at a time.
  if (passes_ != nullptr && is_piped_) run_rounds(ctx, *step, std::ssize(micro_batches) - 1);
}

Tensor TeacherSteps::states_of(Context& ctx, Step& step, int64_t own) {
  if (passes_ == nullptr) receive_to(ctx, step, own);
  if (passes_ != nullptr && !is_piped_) run_rounds(ctx, step, own);
  const auto found = step.states.find(own);
  TRIREME_CHECK(found != step.states.end(), "no states of micro-batch {}", own);
  return found->second;
}

Tensor TeacherSteps::empty_states(Context& ctx, const ContextShare& share) const {
  return Tensor::empty(ctx, {batches_.micro_batch * batches_.seq_len / share.size, width_}, type_);
}

void TeacherSteps::receive_to(Context& ctx, Step& step, int64_t own) {
  if (step.next > own) return;
  const AddedTime time(seconds_);
  const ScopedPhase phase(ctx.recorder(), Phase::teacher);
  for (; step.next <= own; ++step.next) {
    const auto message = routes_.receive(step.next * routes_.students() + replica_);
    const Tensor& states = step.states[step.next] = empty_states(ctx, message->share);
    job_.receive(ctx.stream(), states, message->peer, kStatesLabel);
  }
}

// Without a pipeline all ranks ask for their micro-batches in one order, so that what is kept is alike.
void TeacherSteps::run_rounds(Context& ctx, Step& step, int64_t own) {
  const int64_t teachers = routes_.teachers(), students = routes_.students();
  const int64_t first = is_piped_ ? 0 : own * students, last = (own + 1) * students - 1;
  if (first < step.begin || first / teachers > step.next) {  // asked for again
    step.states.clear();
    step.next = first / teachers;
  }
  step.begin = first;
  std::erase_if(step.states, [&](const auto& entry) { return entry.first < first / students; });
  if (step.next > last / teachers) return;
  const AddedTime time(seconds_);
  const ScopedPhase phase(ctx.recorder(), Phase::teacher);
  for (; step.next <= last / teachers; ++step.next) run_round(ctx, step, step.next);
}

void TeacherSteps::run_round(Context& ctx, Step& step, int64_t round) {
  const int64_t teachers = routes_.teachers(), students = routes_.students();
  const int64_t begin = round * teachers, end = std::min(begin + teachers, batches_.num_micro_batches());
  const int64_t turn = passes_->model().parallel().data().rank();
  const Tensor states = passes_->states_of_round(ctx, step.first_sample, round);
  std::vector<WorkPtr> works;
  for (int64_t g = begin; g < end; ++g) {
    const auto message = routes_.receive(g);
    if (!message || message->peer == job_.rank()) continue;
    const Tensor& to = step.states[g / students] = empty_states(ctx, message->share);
    works.push_back(job_.receive_async(ctx.stream(), to, message->peer, kStatesLabel));
  }
  for (const StateMessage& message :
       begin + turn < end ? routes_.sends(begin + turn) : std::vector<StateMessage>()) {
    const Tensor rows = share_rows(ctx, states, batches_.seq_len, message.share);
    if (message.peer == job_.rank()) {
      step.states[(begin + turn) / students] = rows;
    } else {
      works.push_back(job_.send_async(ctx.stream(), rows, message.peer, kStatesLabel));
    }
  }
  for (const WorkPtr& work : works) work->wait();
}

}  // namespace trireme
