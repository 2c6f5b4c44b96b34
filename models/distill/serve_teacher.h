// A teacher on ranks of its own: it follows its student's orders, a step ahead of it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "models/distill/state_routes.h"
#include "models/distill/teacher_rounds.h"
#include "runtime/base/error.h"
#include "runtime/device/stream.h"

namespace trireme {

/// How the student's run has ended, as its first rank says.
struct TeacherEnd {
  ExitCode code = ExitCode::ok;
  std::string reason;  ///< as much of it as an order has room for
};

struct TeacherOrder;

/// Of the student's first rank, rank 0 of the job. Nobody waits for the teacher.
class TeacherOrders {
 public:
  /// `first`: the teacher's first rank in `job`, which outlives this.
  TeacherOrders(Communicator& job, int first);
  ~TeacherOrders();
  TeacherOrders(const TeacherOrders&) = delete;
  TeacherOrders& operator=(const TeacherOrders&) = delete;

  /// The first order: from here on the teacher's ranks take part in what all ranks of the job do.
  void begin();
  /// The states of the global batch from sample `now` on are to be sent, and those from `next` on to be made
  /// in advance; -1: none.
  void step(int64_t now, int64_t next);
  /// The last order.
  void end(ExitCode code, std::string_view reason);

 private:
  void send(const TeacherOrder& order);

  Communicator& job_;
  int first_;
  std::unique_ptr<Stream> stream_;       // of the host
  std::unique_ptr<TeacherOrder> order_;  // that is on its way
  WorkPtr sent_;
};

/// Waits for begin(), or for an end before it.
std::optional<TeacherEnd> await_student(Communicator& job, Communicator& group);

/// Makes and sends states until the last order. Every rank that has a part of the teacher and none of the
/// student calls it; `group` has these ranks.
TeacherEnd serve_teacher(Context& ctx, Communicator& job, Communicator& group, const StateRoutes& routes,
                         const TeacherRounds& passes, const DistillBatches& batches);

}  // namespace trireme
