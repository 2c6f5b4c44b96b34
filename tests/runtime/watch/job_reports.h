// Reports of a job as tests write them down.
#pragma once

#include <string>
#include <vector>

#include "runtime/watch/rank_report.h"

namespace trireme::watch::test {

/// A job whose ranks have made no calls yet; all are beyond their limits.
class Job {
 public:
  explicit Job(int num_ranks, double limit = 10) {
    for (int rank = 0; rank < num_ranks; ++rank) {
      RankReport report;
      report.rank = rank;
      report.host = "alpha";
      report.pid = 1000 + rank;
      report.quiet = limit + 1;
      report.limit = limit;
      report.site = {Phase::backward, 12, 0, 3};
      reports_.push_back(report);
    }
  }

  RankReport& of(int rank) { return reports_[static_cast<size_t>(rank)]; }
  const std::vector<RankReport>& reports() const { return reports_; }

  /// A communicator of these ranks; its id.
  uint64_t group(const std::string& name, const std::vector<int>& members) {
    const uint64_t id = 100 + static_cast<uint64_t>(num_groups_++);
    for (size_t place = 0; place < members.size(); ++place) {
      CommHistory history;
      history.name = name;
      history.id = id;
      history.members = members;
      history.rank = static_cast<int>(place);
      of(members[place]).histories.push_back(history);
    }
    return id;
  }

  CommHistory& history(int rank, uint64_t id) {
    for (CommHistory& history : of(rank).histories) {
      if (history.id == id) return history;
    }
    throw std::out_of_range("no such communicator");
  }

  /// A collective of `rank`; the next number of the communicator.
  CallRecord& call(int rank, uint64_t id, CommKind kind, bool is_done, int64_t count = 1000) {
    CommHistory& history = this->history(rank, id);
    CallRecord record;
    record.sequence = history.num_collectives++;
    record.kind = kind;
    record.count = count;
    return add(rank, history, record, is_done);
  }

  /// A message to or from the member `peer`, the next of this direction.
  CallRecord& message(int rank, uint64_t id, CommKind kind, int peer, bool is_done) {
    CommHistory& history = this->history(rank, id);
    CallRecord record;
    for (const CallRecord& call : history.calls) record.sequence += call.kind == kind && call.peer == peer;
    record.kind = kind;
    record.peer = peer;
    record.count = 64;
    return add(rank, history, record, is_done);
  }

 private:
  CallRecord& add(int rank, CommHistory& history, CallRecord record, bool is_done) {
    record.site = of(rank).site;
    record.enqueued_ns = record.started_ns = 1;
    record.ended_ns = is_done ? 2 : 0;
    ++history.num_calls;
    history.calls.push_back(record);
    return history.calls.back();
  }

  std::vector<RankReport> reports_;
  int num_groups_ = 0;
};

}  // namespace trireme::watch::test
