#include "models/distill/state_routes.h"

#include <algorithm>
#include <utility>

#include "runtime/base/error.h"

namespace trireme {

namespace {

bool is_last_stage(const ParallelContext& parallel) {
  return parallel.pipeline().rank() == parallel.pipeline().size() - 1;
}

std::vector<StatePlace> gather(Context& ctx, Communicator& job, const StatePlace& here) {
  std::vector<int32_t> all(static_cast<size_t>(job.size()) * 4);
  int32_t own[] = {here.teacher, here.student, here.context_rank, here.context_size};
  job.all_gather(ctx.host_stream(), Tensor::borrow(own, {4}, DType::i32),
                 Tensor::borrow(all.data(), {std::ssize(all)}, DType::i32));
  std::vector<StatePlace> places;
  for (size_t i = 0; i < all.size(); i += 4) places.push_back({all[i], all[i + 1], all[i + 2], all[i + 3]});
  return places;
}

}  // namespace

StatePlace teacher_place(const ParallelContext& parallel) {
  return {.teacher = is_last_stage(parallel) ? parallel.data().rank() : -1};
}

StatePlace student_place(const ParallelContext& parallel, const StatePlace& teacher) {
  return {.teacher = teacher.teacher,
          .student = is_last_stage(parallel) ? parallel.data().rank() : -1,
          .context_rank = parallel.context().rank(),
          .context_size = parallel.context().size()};
}

StateRoutes::StateRoutes(Context& ctx, Communicator& job, const StatePlace& here)
    : StateRoutes(gather(ctx, job, here), job.rank()) {}

StateRoutes::StateRoutes(std::vector<StatePlace> places, int rank) : places_(std::move(places)), rank_(rank) {
  for (const StatePlace& place : places_) {
    teachers_ = std::max(teachers_, place.teacher + 1);
    students_ = std::max(students_, place.student + 1);
  }
  TRIREME_CHECK(teachers_ > 0 && students_ > 0, "{} replicas of a teacher and {} of a student", teachers_,
                students_);
}

std::vector<int> StateRoutes::ranks_of(int StatePlace::*replica, int number) const {
  std::vector<int> ranks;
  for (size_t r = 0; r < places_.size(); ++r) {
    if (places_[r].*replica == number) ranks.push_back(static_cast<int>(r));
  }
  return ranks;
}

int StateRoutes::sender(const std::vector<int>& senders, const std::vector<int>& receivers,
                        size_t receiver) const {
  const int rank = receivers[receiver];
  if (std::ranges::find(senders, rank) != senders.end()) return rank;
  return senders[receiver % senders.size()];
}

ContextShare StateRoutes::share_of(int rank) const {
  const StatePlace& place = places_[static_cast<size_t>(rank)];
  return {place.context_rank, place.context_size};
}

std::vector<StateMessage> StateRoutes::sends(int64_t micro_batch) const {
  std::vector<StateMessage> messages;
  const auto teacher = static_cast<int>(micro_batch % teachers_);
  if (here().teacher != teacher) return messages;
  const std::vector<int> senders = ranks_of(&StatePlace::teacher, teacher);
  const std::vector<int> receivers =
      ranks_of(&StatePlace::student, static_cast<int>(micro_batch % students_));
  for (size_t i = 0; i < receivers.size(); ++i) {
    if (sender(senders, receivers, i) == rank_) messages.push_back({receivers[i], share_of(receivers[i])});
  }
  return messages;
}

std::optional<StateMessage> StateRoutes::receive(int64_t micro_batch) const {
  const auto student = static_cast<int>(micro_batch % students_);
  if (here().student != student) return std::nullopt;
  const std::vector<int> receivers = ranks_of(&StatePlace::student, student);
  const auto own = static_cast<size_t>(std::ranges::find(receivers, rank_) - receivers.begin());
  const std::vector<int> senders = ranks_of(&StatePlace::teacher, static_cast<int>(micro_batch % teachers_));
  return StateMessage{sender(senders, receivers, own), share_of(rank_)};
}

}  // namespace trireme
