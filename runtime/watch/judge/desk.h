// The desk of a seat: what all ranks say of themselves, and what follows from it.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/watch/channel/messages.h"
#include "runtime/watch/channel/roster.h"
#include "runtime/watch/judge/judge.h"
#include "runtime/watch/process/inspection.h"

namespace trireme::watch {

/// How a job ends that cannot go on.
struct Ending {
  Verdict verdict;
  std::vector<RankReport> reports;  ///< by rank
  ExitCode code = ExitCode::hang;
  double stalled = 0;  ///< seconds
};

/// What a desk needs of the world around it.
struct DeskLinks {
  std::function<void(int rank, std::string_view message)> send;
  std::function<bool(int rank)> is_connected;
  /// The job cannot go on; called once at most.
  std::function<void(Ending)> end;
};

/// A pure state machine: all times are the caller's, in seconds of a clock that stands while the process is
/// suspended. It waits with a question for those ranks alone that were heard a moment ago.
class Desk {
 public:
  /// `interval`: between the heartbeats of a rank.
  Desk(const Roster& roster, int rank, double interval, DeskLinks links, double now);

  /// A message of a rank, or that its connection has closed.
  void hear(int rank, std::string_view message, double now);
  void lose(int rank, double now);
  /// Many times a second.
  void tick(double now);

  /// No seat before this one is there.
  bool judges(double now) const;
  /// A rank has said that it fails, or was found dead: what others do now is no surprise.
  bool is_ending() const { return is_ending_; }

 private:
  enum class Stage : uint8_t { idle, asking, inspecting, asking_for_stacks };
  struct Seen {
    double heard = 0;
    Heartbeat last;
    bool has_ended = false, is_lost = false, is_failing = false;
    double since = 0;  // that it is lost, or failing
    ExitCode code = ExitCode::internal;
    std::optional<RankReport> report;  // of the last rounds of questions
    int64_t round = 0;                 // of them
    std::optional<Inspection> inspection;
  };

  Seen& of(int rank) { return seen_[static_cast<size_t>(rank)]; }
  const Seen& of(int rank) const { return seen_[static_cast<size_t>(rank)]; }
  void hear_object(int rank, const nlohmann::json& object, double now);
  void take_inspection(const Inspection& inspection, double now);
  bool is_fresh(const Seen& seen, double now) const;
  bool is_stalled(const Seen& seen, double now) const;
  bool has_lost_touch(double now) const;
  bool may_be_starved(double now) const;
  int helper_for(int rank, double now) const;
  void ask_to_inspect(const std::vector<int>& ranks, bool are_lost, double now);
  void ask(Stage stage, double now);
  bool all_have_answered(double now) const;
  void tick_stage(double now);
  void conclude(double now);
  void check_failing(double now);
  std::vector<RankReport> reports(double now) const;
  void end_by_death(int rank, double now);
  void end(Ending ending);

  const Roster& roster_;
  int rank_;
  double interval_;
  DeskLinks links_;
  std::vector<int> seats_;
  std::vector<Seen> seen_;
  Stage stage_ = Stage::idle;
  int64_t round_ = 0;
  double deadline_ = 0, next_check_ = 0;
  bool is_ending_ = false, has_ended_ = false;
};

}  // namespace trireme::watch
