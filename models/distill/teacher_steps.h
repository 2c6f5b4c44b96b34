// TeacherSteps: what a teacher says of the micro-batches of each step, on the ranks of its student.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>

#include "models/distill/state_routes.h"
#include "models/distill/teacher_head.h"
#include "models/distill/teacher_rounds.h"
#include "parallel/module/micro_batch.h"

namespace trireme {

/// When states travel. Sequences of a student without a pipeline run in lockstep, micro-batch by micro-batch:
/// a teacher on the same ranks makes theirs when they are asked for, and drops them. Else all those of a step
/// are made before it. A teacher on ranks of its own sends them as it makes them, and they are kept until the
/// step ends.
class TeacherSteps {
 public:
  /// `passes`: the teacher's on this rank; null: it runs on other ranks of `job` alone (serve_teacher()).
  /// `width`, `type`: of its states. `head` is null but on ranks of the student's last stage. All that is
  /// passed in outlives this; this outlives the micro-batches that it was attached to. All ranks of `job`
  /// that have a part of the student make one.
  TeacherSteps(Communicator& job, const StateRoutes& routes, const ParallelContext& student,
               const TeacherRounds* passes, const TeacherHead* head, const DistillBatches& batches,
               int64_t width, DType type);

  /// Gives this replica's micro-batches of a step their teacher. All ranks of the student call it with
  /// theirs. Replicas take the samples of a global batch in turn, a micro-batch each.
  void attach(Context& ctx, std::span<MicroBatch> micro_batches);

  /// This rank's time in the teacher's passes and messages so far, on the host.
  double seconds() const { return seconds_; }

 private:
  friend class StepTeacher;
  struct Step {
    int64_t first_sample = 0;
    std::map<int64_t, Tensor> states;  // of this replica's micro-batches, by their number among its own
    int64_t begin = 0;                 // of all replicas': those from here on are kept,
    int64_t next = 0;                  // of rounds before this one; on other ranks than the teacher's: own
  };
  Tensor states_of(Context& ctx, Step& step, int64_t own);
  void receive_to(Context& ctx, Step& step, int64_t own);
  void run_rounds(Context& ctx, Step& step, int64_t own);
  void run_round(Context& ctx, Step& step, int64_t round);
  Tensor empty_states(Context& ctx, const ContextShare& share) const;

  Communicator& job_;
  const StateRoutes& routes_;
  const TeacherRounds* passes_;
  const TeacherHead* head_;
  DistillBatches batches_;
  int64_t width_;
  DType type_;
  int replica_;
  bool is_piped_;  // the student
  double seconds_ = 0;
};

/// Rows of `states` (whole sequences, [samples * seq_len, C]) that a context-parallel rank holds, in its
/// order; `states` itself where it holds all.
Tensor share_rows(Context& ctx, const Tensor& states, int64_t seq_len, const ContextShare& share);

}  // namespace trireme
