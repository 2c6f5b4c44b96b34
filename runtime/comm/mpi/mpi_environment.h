// MPI in this process: from its start to its end.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace trireme {

struct MpiOptions {
  /// Ranks compare what they call before each collective, so that a mismatch throws InternalError on all of
  /// them instead of giving wrong sums or hanging. Costs a small all-gather a call.
  bool check_calls = false;
  /// Longer messages are cut (MPI counts with int, and some transports stop at 2 GiB).
  int64_t max_message_bytes = int64_t{1} << 30;
};

/// A machine of the job: ranks that share memory.
struct MpiHost {
  std::string name;
  int num_ranks = 0;
};

/// One per process. Starts MPI so that any thread may call it, with errors returned, not fatal. Works without
/// mpirun, as one rank.
///
/// The destructor finalizes MPI when the process is healthy; while an exception unwinds it ends the whole
/// job, since other ranks may wait for this one for ever. So main() catches while this object lives, and
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

  /// True when every rank of the job makes this call within `seconds`: what befell this rank befell all, and
  /// they may end in good order. Waits no longer.
  bool all_ranks_arrive(double seconds) const;

  /// Ends every process of the job with `code`, this one included. From any thread; never waits for a rank.
  [[noreturn]] static void abort(ExitCode code) noexcept;

 private:
  void find_hosts();

  int rank_ = 0;
  int size_ = 1;
  int local_rank_ = 0;
  int local_size_ = 1;
  std::vector<MpiHost> hosts_;
  int uncaught_ = 0;
};

}  // namespace trireme
