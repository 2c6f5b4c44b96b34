#include "launch/start/launcher_output.h"

#include <algorithm>
#include <cstdlib>
#include <regex>
#include <utility>

#include <fmt/format.h>

namespace trireme::launch {

namespace {

/// Longer than any banner; rows of dashes may be somebody else's.
constexpr size_t kMostLines = 40;

bool is_dashes(const std::string& line) {
  return line.size() >= 70 && std::ranges::all_of(line, [](char c) { return c == '-'; });
}

/// Banners of Open MPI 4 about a job that ended badly; others (a mistake in an option, a host that cannot be
/// reached) pass.
bool is_of_a_failure(const std::string& banner) {
  for (const std::string_view words :
       {"Primary job  terminated normally", "mpirun noticed that process rank",
        "MPI_ABORT was invoked on rank", "mpirun has exited due to process rank",
        "mpirun detected that one or more processes exited",
        "ORTE has lost communication with a remote daemon"}) {
    if (banner.find(words) != std::string::npos) return true;
  }
  return false;
}

/// "3 more processes have sent help message help-mpi-api.txt / mpi-abort", and the hint behind it; or that
/// one could not be read to its end, as its sender died of what it says.
bool is_about_banners(const std::string& line) {
  return line.find("sent help message help-") != std::string::npos ||
         line.find("\"orte_base_help_aggregate\" to 0") != std::string::npos ||
         (line.find("] ORTE_ERROR_LOG: ") != std::string::npos &&
          line.find("/show_help.c at line ") != std::string::npos);
}

bool is_noise(const std::string& line) {
  static const std::regex daemon(R"(^slurmstepd\S*: error: (\*\*\* (STEP|JOB)| mpi/pmix))");
  return std::regex_search(line, daemon) || line.starts_with("srun: Job step aborted") ||
         line.starts_with("srun: Terminating StepId") || line.starts_with("srun: launch/slurm:") ||
         line.starts_with("srun: Force Terminated") || line.starts_with("srun: forcing job termination") ||
         line.starts_with("mpirun: Forwarding signal");
}

int number_in_match(const std::smatch& match, size_t group) {
  return match[group].matched ? std::atoi(match[group].str().c_str()) : -1;
}

RankFailure failure_in(const std::string& banner) {
  static const std::regex noticed(
      R"(process rank (\d+) with PID \d+ on node (\S+) exited on signal \d+ \(([^)]*)\))");
  static const std::regex aborted(R"(MPI_ABORT was invoked on rank (\d+))");
  static const std::regex lost(R"(Remote daemon:.* on node (\S+))");
  static const std::regex exited(R"(Process name: \[\[\d+,\d+\],(\d+)\])");
  std::smatch match;
  if (std::regex_search(banner, match, noticed)) return {number_in_match(match, 1), match[2], match[3]};
  if (std::regex_search(banner, match, aborted)) return {number_in_match(match, 1), "", ""};
  if (std::regex_search(banner, match, lost)) return {-1, match[1], "the host cannot be reached any more"};
  if (std::regex_search(banner, match, exited)) return {number_in_match(match, 1), "", ""};
  return {};
}

}  // namespace

void LauncherOutput::add(std::string_view bytes) {
  for (const char c : bytes) {
    if (c != '\n') {
      line_ += c;
      continue;
    }
    take_line(line_);
    line_.clear();
  }
}

void LauncherOutput::finish() {
  if (!line_.empty()) {
    take_line(line_);
    line_.clear();
  }
  for (const std::string& line : banner_) write_(line + "\n");
  banner_.clear();
}

void LauncherOutput::take_line(const std::string& line) {
  const bool is_row = is_dashes(line);
  if (banner_.empty() && !is_row) {
    if (is_about_banners(line) || is_noise(line) || read_srun(line)) {
      held_ += line + "\n";
      return;
    }
    read_own(line);
    write_(line + "\n");
    return;
  }
  banner_.push_back(line);
  if (is_row && banner_.size() > 1) return end_banner();
  if (banner_.size() > kMostLines) finish();
}

void LauncherOutput::end_banner() {
  std::string text;
  for (const std::string& line : banner_) text += line + "\n";
  banner_.clear();
  if (!is_of_a_failure(text)) return write_(text);
  held_ += text;
  note(failure_in(text));
}

// The first that is named counts; what the same rank says of itself and its launcher of it complete each
// other.
void LauncherOutput::note(RankFailure failure) {
  if (failure.rank < 0 && failure.host.empty()) return;
  if (!first_) {
    first_ = std::move(failure);
  } else if (first_->rank == failure.rank) {
    if (first_->host.empty()) first_->host = failure.host;
    if (first_->cause.empty()) first_->cause = failure.cause;
  }
}

void LauncherOutput::read_own(const std::string& line) {
  constexpr std::string_view kError = "trireme: error: ";
  if (!line.starts_with(kError)) return;
  has_error_ = true;
  static const std::regex one_rank(R"(\brank (\d+)\b)");
  std::smatch match;
  if (!std::regex_search(line, match, one_rank)) return;
  const bool is_gone = line.find(" was killed") != std::string::npos;
  note({number_in_match(match, 1), "", is_gone ? "Killed" : ""});
}

// "srun: error: n2: task 1: Killed"; several tasks in one line: who was the first is not said.
bool LauncherOutput::read_srun(const std::string& line) {
  static const std::regex ended(R"(^srun: error: (\S+): tasks? ([\d,\-\[\]]+): (.*)$)");
  std::smatch match;
  if (!std::regex_match(line, match, ended)) return false;
  const std::string cause = match[3];
  const bool is_one = match[2].str().find_first_not_of("0123456789") == std::string::npos;
  constexpr std::string_view kExited = "Exited with exit code ";
  if (!std::exchange(has_ended_tasks_, true) && cause.starts_with(kExited))
    first_code_ = std::atoi(cause.c_str() + kExited.size());
  if (is_one && !cause.starts_with("Terminated")) note({number_in_match(match, 2), match[1], cause});
  return true;
}

}  // namespace trireme::launch
