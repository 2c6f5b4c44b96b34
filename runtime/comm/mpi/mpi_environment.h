// MPI in this process: from its start to its end.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace trireme {

struct MpiOptions {
  /// Ranks compare what they call before each collective, so that a mismatch throws InternalError on all of
  /// them instead of giving wrong sums, hanging, or writing past a buffer. Costs an all-reduce of 24 bytes a
  /// call.
  bool check_calls = true;
  /// Longer messages are cut (MPI counts with int, some transports stop at 2 GiB, and tags carry the length).
  int64_t max_message_bytes = int64_t{1} << 29;
};

/// A machine of the job: ranks that share memory.
struct MpiHost {
  std::string name;
  int num_ranks = 0;
};

/// What a rank comes with to the meeting of all at their start.
struct MpiArrival {
  enum class State {
    ready,   ///< it is about to work with the others
    ended,   ///< it has done what it was asked for, without them
    failed,  ///< it cannot begin
  };
  State state = State::ready;
  std::string_view text;  ///< the command, or the error's message
};

enum class MpiMeeting {
  alike,      ///< all came with equal state and text
  differ,     ///< all came, and none failed
  failed,     ///< all came, and some failed
  not_there,  ///< not all came in time
};

/// One per process. Starts MPI so that any thread may call it, with errors returned, not fatal. Works without
/// mpirun, as one rank. Where somebody else has started MPI in this process (mpi4py) it is taken as it is, if
/// any thread may call it, and whoever started it finalizes it.
///
/// The destructor finalizes MPI when the process is healthy; while an exception unwinds it ends the whole
/// job, since other ranks may wait for this one forever. So main() catches while this object lives, and
/// calls abort() with the error's exit code; it makes the object inside another try, for what the constructor
/// throws.
class MpiEnvironment {
 public:
  /// Throws EnvironmentError when MPI cannot be started, UserError as check_launcher() does.
  MpiEnvironment();
  ~MpiEnvironment();
  MpiEnvironment(const MpiEnvironment&) = delete;
  MpiEnvironment& operator=(const MpiEnvironment&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// Among the ranks that share this machine's memory.
  int local_rank() const { return local_rank_; }
  int local_size() const { return local_size_; }
  /// The machines, in the order of their first ranks.
  const std::vector<MpiHost>& hosts() const { return hosts_; }
  /// "Open MPI v4.1.4".
  std::string version() const;

  /// All ranks of the job, on an MPI communicator of its own; called by all of them. Must not outlive this
  /// object.
  std::unique_ptr<Communicator> make_world(const MpiOptions& options = {}) const;

  /// The ranks tell each other how they fare: first, before anything else, whether each can begin; later
  /// those that fail, whether the same befell all. Waits `seconds` at most. On a communicator of its own, so
  /// that it meets nothing that the others are doing; an error of MPI counts as not_there.
  MpiMeeting meet(const MpiArrival& arrival, double seconds) const;
  bool has_met() const { return has_met_; }
  /// meet() of a rank that can begin: waits for all. Where they run different commands all of them throw
  /// UserError (usage), which names them and their ranks; where one failed, and has not ended the job within
  /// seconds, EnvironmentError. Does nothing once they have met.
  void meet_ready(std::string_view command) const;
  /// meet() of a rank that has ended without the others; errors as meet_ready.
  void meet_ended(std::string_view command) const;

  /// Ends every process of the job with `code`, this one included. From any thread; never waits for a rank.
  [[noreturn]] static void abort(ExitCode code) noexcept;
  /// Is called by abort() before anything else, so that other ranks know that what follows is no accident;
  /// null: nothing is. Not while an abort() is under way.
  static void before_abort(std::function<void(ExitCode)> call);

 private:
  void find_hosts();
  [[noreturn]] void throw_differing(const MpiArrival& arrival) const;

  struct Control;
  std::unique_ptr<Control> control_;
  mutable bool has_met_ = false;

  int rank_ = 0;
  int size_ = 1;
  int local_rank_ = 0;
  int local_size_ = 1;
  std::vector<MpiHost> hosts_;
  int uncaught_ = 0;
  bool is_ours_ = true;  // started here
};

}  // namespace trireme
