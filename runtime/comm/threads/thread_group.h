// What the ranks of a group of threads share.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "runtime/comm/comm_call.h"

namespace trireme {

/// The life of all ranks of one run_thread_ranks: one lock, and the first failure.
class ThreadJob {
 public:
  std::mutex mutex;

  /// Whoever waits under `mutex` does so on a condition of its own group, so that nobody else is woken.
  void add(std::condition_variable& condition);
  void remove(std::condition_variable& condition) noexcept;
  /// The first call wins. Wakes everybody.
  void abort(int world_rank, std::string_view reason) noexcept;
  /// The rank that aborted, or -1.
  int culprit();
  // Both with `mutex` held:
  bool aborted() const { return culprit_ >= 0; }
  void throw_if_aborted() const;

 private:
  int culprit_ = -1;
  std::string reason_;
  std::set<std::condition_variable*> conditions_;
};

/// One group. Collectives are rendezvous: ranks publish their calls, meet, move data by reading each other's
/// tensors, meet again.
class ThreadGroup {
 public:
  ThreadGroup(std::shared_ptr<ThreadJob> job, std::string name, std::vector<int> world_ranks);
  ~ThreadGroup();
  ThreadGroup(const ThreadGroup&) = delete;
  ThreadGroup& operator=(const ThreadGroup&) = delete;

  int size() const { return static_cast<int>(world_ranks_.size()); }
  const std::string& name() const { return name_; }
  int world_rank(int rank) const { return world_ranks_[static_cast<size_t>(rank)]; }
  const std::vector<int>& world_ranks() const { return world_ranks_; }
  ThreadJob& job() { return *job_; }

  /// Carries out a collective for `rank`; called by all ranks.
  void collective(int rank, const CommCall& call);

  struct Split {
    std::shared_ptr<ThreadGroup> group;
    int rank;
  };
  Split split(int rank, int color, int key, const std::string& name);

  /// A message posted by both its ends is copied by the second of them.
  class Message;
  std::shared_ptr<Message> post(int rank, const CommCall& call);
  /// Returns when the message was copied. Throws when its ends do not fit, or the job is aborted before they
  /// met.
  void await(Message& message);
  /// Whether await() would return, or throw, at once.
  bool is_done(const Message& message);

 private:
  struct Posted {
    const CommCall* call = nullptr;
    int color = 0;
    int key = 0;
    std::shared_ptr<ThreadGroup> group;  // of a split: made by the first rank of each color
  };
  struct Channel {  // the messages from one rank to another that wait for their other end
    std::deque<std::shared_ptr<Message>> sends, receives;
  };

  void meet();
  void part() noexcept;
  std::string find_mismatch() const;
  void execute(int rank, const CommCall& call) const;
  void all_reduce(int rank, const CommCall& call) const;
  void reduce_scatter(int rank, const CommCall& call) const;
  void all_to_all(int rank, const CommCall& call) const;
  std::vector<int> ranks_of_color(int color) const;

  std::shared_ptr<ThreadJob> job_;
  std::condition_variable changed_;
  std::string name_;
  std::vector<int> world_ranks_;
  std::vector<Posted> posted_;  // written by its rank before meet(), read by all until part()
  std::vector<Channel> channels_;
  int arrived_ = 0;
  int64_t generation_ = 0;
};

}  // namespace trireme
