#include "runtime/watch/judge/desk.h"

#include <algorithm>

#include <fmt/format.h>

namespace trireme::watch {

namespace {

constexpr double kPatience = 3;  // for the answers of ranks that are heard
constexpr double kPatienceToInspect = 1;
constexpr double kComesBack = 3;  // for a connection that was lost
constexpr double kSilence = 2;    // of a rank that no answer is waited for
constexpr double kStarved = 8;    // silence of a process that runs, on a machine that has too much to do
constexpr double kPause = 1;      // after a look at a job in which nobody is to blame
constexpr double kGrace = 2;      // for a rank that fails to end the job itself

}  // namespace

Desk::Desk(const Roster& roster, int rank, double interval, DeskLinks links, double now)
    : roster_(roster),
      rank_(rank),
      interval_(interval),
      links_(std::move(links)),
      seats_(seats_of(roster)),
      seen_(roster.peers.size()) {
  for (Seen& seen : seen_) seen.heard = now;
}

bool Desk::is_fresh(const Seen& seen, double now) const {
  return !seen.is_lost && now - seen.heard < kSilence + interval_;
}

bool Desk::judges(double now) const {
  for (const int seat : seats_) {
    if (seat == rank_) return true;
    const Seen& seen = of(seat);
    if (!seen.has_ended && is_fresh(seen, now)) return false;
  }
  return false;
}

void Desk::hear(int rank, std::string_view message, double now) {
  if (rank < 0 || rank >= roster_.size()) return;
  Seen& seen = of(rank);
  seen.heard = now;
  seen.is_lost = false;  // it may have come back
  if (const auto heartbeat = decode_heartbeat(message)) {
    seen.last = *heartbeat;
    return;
  }
  const nlohmann::json object = decode(message);
  if (object.is_null()) return;
  try {
    hear_object(rank, object, now);
  } catch (const nlohmann::json::exception&) {
    // Of another build, perhaps: as if it had not answered.
  }
}

void Desk::hear_object(int rank, const nlohmann::json& object, double now) {
  Seen& seen = of(rank);
  const std::string say = object.at("say");
  if (say == "bye") {
    seen.has_ended = true;
  } else if (say == "failing") {
    seen.is_failing = is_ending_ = true;
    seen.since = now;
    seen.code = static_cast<ExitCode>(object.at("code").get<int>());
  } else if (say == "report" && object.at("round").get<int64_t>() == round_) {
    seen.report = report_from_json(object.at("report"));
    seen.round = round_;
  } else if (say == "inspected") {
    for (const auto& one : object.at("ranks")) take_inspection(inspection_from_json(one), now);
  }
}

void Desk::take_inspection(const Inspection& inspection, double now) {
  if (inspection.rank < 0 || inspection.rank >= roster_.size()) return;
  Seen& seen = of(inspection.rank);
  seen.inspection = inspection;
  if (!seen.is_lost || inspection.is_there || seen.has_ended) return;
  if (judges(now)) end_by_death(inspection.rank, now);
}

void Desk::lose(int rank, double now) {
  if (rank < 0 || rank >= roster_.size()) return;
  Seen& seen = of(rank);
  if (seen.has_ended || seen.is_lost) return;
  seen.is_lost = true;
  seen.since = now;
  seen.inspection.reset();
  if (!is_ending_) ask_to_inspect({rank}, true, now);
}

// Of the same host, and heard just now.
int Desk::helper_for(int rank, double now) const {
  if (roster_.is_same_host(rank, rank_)) return rank_;
  for (int other = 0; other < roster_.size(); ++other) {
    if (other != rank && roster_.is_same_host(rank, other) && is_fresh(of(other), now) &&
        links_.is_connected(other))
      return other;
  }
  return -1;
}

void Desk::ask_to_inspect(const std::vector<int>& ranks, bool are_lost, double now) {
  std::map<int, std::vector<int>> by_helper;
  for (const int rank : ranks) by_helper[helper_for(rank, now)].push_back(rank);
  for (const auto& [helper, of_helper] : by_helper) {
    if (helper == rank_) {
      for (const int rank : of_helper) take_inspection(inspect(roster_.of(rank), are_lost), now);
    } else if (helper >= 0) {
      links_.send(helper,
                  encode(nlohmann::json{{"say", "inspect"}, {"ranks", of_helper}, {"are_lost", are_lost}}));
    }
  }
}

bool Desk::is_stalled(const Seen& seen, double now) const {
  if (seen.has_ended || seen.last.limit <= 0) return false;
  return seen.last.quiet + (now - seen.heard) >= seen.last.limit;
}

void Desk::tick(double now) {
  if (has_ended_) return;
  if (!judges(now)) {
    stage_ = Stage::idle;
    return;
  }
  check_failing(now);
  if (has_ended_ || is_ending_) return;
  tick_stage(now);
}

void Desk::check_failing(double now) {
  for (int rank = 0; rank < roster_.size(); ++rank) {
    const Seen& seen = of(rank);
    const bool is_late = now - seen.since > kGrace;
    if (seen.is_failing && is_late) {
      Ending ending;
      ending.code = seen.code;
      return end(std::move(ending));  // it has said why
    }
    if (!seen.is_lost || seen.has_ended || is_ending_) continue;
    if (seen.inspection && !seen.inspection->is_there) return end_by_death(rank, now);
    // Nobody on its host can say.
    const bool is_unknown = now - seen.since > kComesBack && helper_for(rank, now) < 0;
    if (is_unknown && !links_.is_connected(rank)) return end_by_death(rank, now);
  }
}

void Desk::tick_stage(double now) {
  switch (stage_) {
    case Stage::idle:
      if (now >= next_check_ && std::ranges::any_of(seen_, [&](const Seen& s) { return is_stalled(s, now); }))
        ask(Stage::asking, now);
      return;
    case Stage::asking: {
      if (!all_have_answered(now) && now < deadline_) return;
      std::vector<int> silent;
      for (int rank = 0; rank < roster_.size(); ++rank) {
        if (!of(rank).report && !of(rank).has_ended) silent.push_back(rank);
      }
      stage_ = Stage::inspecting;
      deadline_ = now + kPatienceToInspect;
      for (const int rank : silent) of(rank).inspection.reset();
      ask_to_inspect(silent, false, now);
      return;
    }
    case Stage::inspecting: {
      bool is_done = true;
      for (int rank = 0; rank < roster_.size(); ++rank) {
        const Seen& seen = of(rank);
        is_done &= seen.report || seen.has_ended || seen.inspection || helper_for(rank, now) < 0;
      }
      if (is_done || now >= deadline_) conclude(now);
      return;
    }
    case Stage::asking_for_stacks:
      if (!all_have_answered(now) && now < deadline_) return;
      if (!has_lost_touch(now)) return conclude(now);
      stage_ = Stage::idle;  // what they said at first is of another time: from the beginning
      next_check_ = now;
      return;
  }
}

void Desk::ask(Stage stage, double now) {
  stage_ = stage;
  deadline_ = now + kPatience;
  ++round_;
  for (int rank = 0; rank < roster_.size(); ++rank) {
    if (stage == Stage::asking) of(rank).report.reset();
    links_.send(rank,
                encode(nlohmann::json{
                    {"say", "report"}, {"round", round_}, {"stacks", stage == Stage::asking_for_stacks}}));
  }
}

// Of those who have answered before, stacks are waited for.
bool Desk::all_have_answered(double now) const {
  return std::ranges::all_of(seen_, [&](const Seen& seen) {
    const bool has_answered = seen.report && seen.round == round_;
    const bool is_awaited = seen.report || (stage_ == Stage::asking && is_fresh(seen, now));
    return has_answered || seen.has_ended || !is_awaited;
  });
}

// Whether some have answered before and cannot be heard now.
bool Desk::has_lost_touch(double now) const {
  return std::ranges::any_of(seen_, [&](const Seen& seen) {
    return seen.report && seen.round != round_ && !seen.has_ended && !is_fresh(seen, now);
  });
}

// A watchdog whose process is not stopped may have had no time.
bool Desk::may_be_starved(double now) const {
  return std::ranges::any_of(seen_, [&](const Seen& seen) {
    const bool runs = seen.inspection && seen.inspection->is_there && !seen.inspection->is_stopped;
    return !seen.report && !seen.has_ended && runs && now - seen.heard < kStarved;
  });
}

std::vector<RankReport> Desk::reports(double now) const {
  std::vector<RankReport> reports;
  for (int rank = 0; rank < roster_.size(); ++rank) {
    const Seen& seen = of(rank);
    RankReport report;
    if (seen.report) {
      report = *seen.report;
      if (seen.round != round_) {  // it has not answered again: heartbeats may be newer
        report.site = seen.last.site;
        report.quiet = seen.last.quiet + (now - seen.heard);
        report.limit = seen.last.limit;
      }
    } else {
      report.site = seen.last.site;
      report.quiet = now - seen.heard;
      report.limit = seen.last.limit;
      report.presence = seen.has_ended ? Presence::ended : Presence::silent;
      if (seen.inspection) report.detail = seen.inspection->detail;
      if (seen.inspection && !seen.inspection->is_there) report.presence = Presence::gone;
    }
    report.rank = rank;
    report.host = roster_.of(rank).host;
    report.pid = roster_.of(rank).pid;
    reports.push_back(std::move(report));
  }
  return reports;
}

// Stacks are asked for once it is sure that the job hangs: taking them may overwrite what a rank computes.
void Desk::conclude(double now) {
  std::vector<RankReport> all = reports(now);
  const bool is_debugged = std::ranges::any_of(seen_, [](const Seen& seen) {
    return !seen.report && seen.inspection && seen.inspection->is_debugged;
  });
  Verdict verdict = judge(all, rank_);
  if (is_debugged || verdict.kind == Verdict::Kind::none || may_be_starved(now)) {
    stage_ = Stage::idle;
    next_check_ = now + kPause;
    return;
  }
  if (stage_ != Stage::asking_for_stacks) return ask(Stage::asking_for_stacks, now);
  Ending ending{std::move(verdict), std::move(all), ExitCode::hang, 0};
  for (const RankReport& report : ending.reports) {
    if (report.limit > 0) ending.stalled = std::max(ending.stalled, report.quiet);
  }
  end(std::move(ending));
}

void Desk::end_by_death(int rank, double now) {
  Seen& seen = of(rank);
  Ending ending;
  ending.reports = reports(now);
  const bool is_of_memory = seen.inspection && seen.inspection->was_out_of_memory;
  ending.code = is_of_memory ? ExitCode::resources : ExitCode::internal;
  ending.verdict.kind = Verdict::Kind::gone;
  ending.verdict.culprits = {rank};
  const Peer& peer = roster_.of(rank);
  const char* why = is_of_memory      ? "by the kernel, which had no memory left for its control group"
                    : seen.inspection ? "by a signal that leaves no word (SIGKILL), or has left by exit()"
                                      : "or its host is down: the connection has closed";
  ending.verdict.lines = {fmt::format("rank {} (host {}, process {}) was killed {}; it was in {}", rank,
                                      peer.host, peer.pid, why, to_string(seen.last.site))};
  end(std::move(ending));
}

void Desk::end(Ending ending) {
  has_ended_ = is_ending_ = true;
  links_.end(std::move(ending));
}

}  // namespace trireme::watch
