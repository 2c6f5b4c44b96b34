#include "models/distill/serve_teacher.h"

#include <algorithm>
#include <array>
#include <deque>
#include <vector>

#include "models/distill/teacher_steps.h"
#include "runtime/comm/record/recorder.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme {

/// One of the two first, or an end.
struct TeacherOrder {
  enum class Kind : int64_t { begin, step, end };
  Kind kind = Kind::step;
  int64_t now = -1, next = -1, code = 0;
  std::array<char, 1000> reason{};
};

namespace {

constexpr std::string_view kOrderLabel = "order to a teacher";

Tensor bytes_of(TeacherOrder& order) { return Tensor::borrow(&order, {sizeof(order)}, DType::u8); }

TeacherOrder next_order(Communicator& job, Communicator& group) {
  TeacherOrder order;
  const auto stream = cpu::make_compute_stream();
  if (group.rank() == 0) job.receive(*stream, bytes_of(order), 0, kOrderLabel);
  group.broadcast(*stream, bytes_of(order), 0);
  return order;
}

TeacherEnd end_of(const TeacherOrder& order) {
  return {static_cast<ExitCode>(order.code), order.reason.data()};
}

/// The states of a step on a rank of the teacher, from the first round that was not sent yet.
struct MadeStep {
  int64_t first_sample = -1;
  std::deque<Tensor> rounds;
};

}  // namespace

TeacherOrders::TeacherOrders(Communicator& job, int first)
    : job_(job), first_(first), stream_(cpu::make_compute_stream()) {}

TeacherOrders::~TeacherOrders() = default;

void TeacherOrders::send(const TeacherOrder& order) {
  if (sent_) sent_->wait();  // of the step before, whose states have come
  order_ = std::make_unique<TeacherOrder>(order);
  sent_ = job_.send_async(*stream_, bytes_of(*order_), first_, kOrderLabel);
}

void TeacherOrders::begin() { send({.kind = TeacherOrder::Kind::begin}); }

void TeacherOrders::step(int64_t now, int64_t next) { send({.now = now, .next = next}); }

void TeacherOrders::end(ExitCode code, std::string_view reason) {
  TeacherOrder order{.kind = TeacherOrder::Kind::end, .code = static_cast<int64_t>(code)};
  reason.copy(order.reason.data(), order.reason.size() - 1);
  send(order);
  sent_->wait();
  sent_.reset();
}

std::optional<TeacherEnd> await_student(Communicator& job, Communicator& group) {
  const TeacherOrder order = next_order(job, group);
  TRIREME_CHECK(order.kind != TeacherOrder::Kind::step, "a step of {} before the begin", order.now);
  if (order.kind == TeacherOrder::Kind::begin) return std::nullopt;
  return end_of(order);
}

TeacherEnd serve_teacher(Context& ctx, Communicator& job, Communicator& group, const StateRoutes& routes,
                         const TeacherRounds& passes, const DistillBatches& batches) {
  const int64_t teachers = routes.teachers(), micro_batches = batches.num_micro_batches();
  const int64_t rounds = (micro_batches + teachers - 1) / teachers;
  const int64_t turn = passes.model().parallel().data().rank();
  MadeStep made;
  std::vector<WorkPtr> sends;
  const auto send = [&](const Tensor& states, int64_t micro_batch) {
    if (micro_batch >= micro_batches) return;
    for (const StateMessage& message : routes.sends(micro_batch)) {
      const Tensor rows = share_rows(ctx, states, batches.seq_len, message.share);
      sends.push_back(job.send_async(ctx.stream(), rows, message.peer, kStatesLabel));
    }
  };
  for (int64_t number = 1;; ++number) {
    if (ctx.recorder() != nullptr) ctx.recorder()->enter({Phase::teacher, number, -1, -1});
    const TeacherOrder order = next_order(job, group);
    for (const WorkPtr& work : sends) work->wait();
    sends.clear();
    if (order.kind == TeacherOrder::Kind::end) return end_of(order);
    if (made.first_sample != order.now) made = {order.now, {}};
    for (int64_t round = 0; round < rounds; ++round) {
      if (made.rounds.empty()) made.rounds.push_back(passes.states_of_round(ctx, order.now, round));
      send(made.rounds.front(), round * teachers + turn);
      made.rounds.pop_front();
    }
    made = {order.next, {}};
    for (int64_t round = 0; order.next >= 0 && round < rounds; ++round)
      made.rounds.push_back(passes.states_of_round(ctx, order.next, round));
  }
}

}  // namespace trireme
