// StateRoutes: which ranks send a teacher's hidden states to which, for any two layouts.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "parallel/context_parallel/context_parallel.h"
#include "parallel/plan/parallel_context.h"
#include "runtime/comm/communicator.h"
#include "runtime/device/context.h"

namespace trireme {

/// What a rank of the job has to do with states. Numbers are those of replicas; -1: nothing.
struct StatePlace {
  int teacher = -1;  ///< of the teacher, where the rank is of its last stage: it has the states
  int student = -1;  ///< of the student, where the rank is of its last stage: it needs them
  int context_rank = 0, context_size = 1;  ///< which tokens of these
};

StatePlace teacher_place(const ParallelContext& parallel);
/// With the place in the teacher of `teacher`.
StatePlace student_place(const ParallelContext& parallel, const StatePlace& teacher = {});

inline constexpr std::string_view kStatesLabel = "teacher's states";

/// A message of a micro-batch's states: to or from `peer`, which may be this rank itself.
struct StateMessage {
  int peer = 0;
  ContextShare share;
};

/// Micro-batch g of a global batch is trained on by the student's replica g % students(), and is the turn of
/// the teacher's replica g % teachers(). Each rank that needs its states gets the rows of its own share in
/// one message: from itself where it has them, else from a rank that does, in turn.
class StateRoutes {
 public:
  /// All ranks of `job` make one.
  StateRoutes(Context& ctx, Communicator& job, const StatePlace& here);
  StateRoutes(std::vector<StatePlace> places, int rank);

  int teachers() const { return teachers_; }
  int students() const { return students_; }
  const StatePlace& here() const { return places_[static_cast<size_t>(rank_)]; }
  /// What this rank sends of a micro-batch, in the order of the ranks.
  std::vector<StateMessage> sends(int64_t micro_batch) const;
  /// What it gets.
  std::optional<StateMessage> receive(int64_t micro_batch) const;

 private:
  std::vector<int> ranks_of(int StatePlace::*replica, int number) const;
  int sender(const std::vector<int>& senders, const std::vector<int>& receivers, size_t receiver) const;
  ContextShare share_of(int rank) const;

  std::vector<StatePlace> places_;  // of all ranks
  int rank_, teachers_ = 0, students_ = 0;
};

}  // namespace trireme
