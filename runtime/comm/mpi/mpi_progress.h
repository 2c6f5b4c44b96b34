// A thread that moves messages forward while nobody calls MPI.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include <mpi.h>

namespace trireme {

/// Open MPI moves a long message in pieces, and only inside its calls; so a rank that computes would hold up
/// what it sends. While messages are in flight the thread enters MPI every tenth of a millisecond; at other
/// times it sleeps.
class MpiProgress {
 public:
  /// `tag` is used for no message of `comm`, which outlives this object.
  MpiProgress(MPI_Comm comm, int tag) : comm_(comm), tag_(tag) {}
  ~MpiProgress();

  /// A message is in flight, and is not any more.
  void begin();
  void end();

 private:
  void serve();

  MPI_Comm comm_;
  int tag_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int num_messages_ = 0;
  bool stopped_ = false;
  std::thread thread_;  // from the first message on
};

}  // namespace trireme
