#include "launch/scale/run_series.h"

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "launch/report/number_text.h"
#include "launch/report/visible_text.h"
#include "launch/start/job_command.h"
#include "launch/start/supervise.h"
#include "runtime/base/error.h"
#include "runtime/io/digest/xxh3.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;
using Key = std::pair<size_t, int>;  // point, repeat

std::string log_of(const std::string& directory) { return directory + ".log"; }
std::string job_log_of(const std::string& directory) { return directory + ".job.log"; }

void remove_all(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) throw_environment("cannot remove {}: {}", path, error.message());
}

std::string described(const Point& point, int repeat) {
  const std::string line = point.line();
  return fmt::format("{}{}{}, repeat {}", counted(point.ranks, "rank"), line.empty() ? "" : ", ", line,
                     repeat + 1);
}

/// Seconds that runs take, by those of the same point, else by all.
class TimeLeft {
 public:
  void see(size_t point, double seconds) {
    sum_ += seconds;
    ++count_;
    auto& [sum, count] = of_point_[point];
    sum += seconds;
    ++count;
  }
  double of(size_t point) const {
    const auto found = of_point_.find(point);
    if (found != of_point_.end()) return found->second.first / found->second.second;
    return count_ > 0 ? sum_ / count_ : 0;
  }

 private:
  double sum_ = 0;
  int count_ = 0;
  std::map<size_t, std::pair<double, int>> of_point_;
};

class SeriesRun {
 public:
  SeriesRun(const SeriesRuns& runs, const SeriesStore& store, std::FILE* out)
      : runs_(runs), store_(store), out_(out) {}

  SeriesEnd run() {
    for (RunOutcome& outcome : store_.outcomes(runs_.points, runs_.warmup)) {
      const bool counts = outcome.repeat < runs_.repeats && runs_.points[outcome.point].left_out.empty();
      if (!counts || !outcome.measured) continue;
      time_.see(outcome.point, outcome.seconds);
      done_.emplace(Key{outcome.point, outcome.repeat}, std::move(outcome));
    }
    for (int repeat = 0; repeat < runs_.repeats; ++repeat) {
      for (size_t i = 0; i < runs_.points.size(); ++i) {
        if (runs_.points[i].left_out.empty() && !done_.contains({i, repeat})) left_.emplace_back(i, repeat);
      }
    }
    const size_t num_runs = left_.size() + done_.size();
    if (!done_.empty() && !left_.empty())
      fmt::print(out_, "{} of {} runs are done; going on\n", done_.size(), num_runs);
    SeriesEnd end;
    for (size_t next = 0; next < left_.size(); ++next) {
      const auto [point, repeat] = left_[next];
      const auto outcome = run_one(point, repeat, end);
      if (!outcome) break;
      store_.add(*outcome);
      print_line(*outcome, num_runs - left_.size() + next + 1, num_runs, next + 1);
      done_[{point, repeat}] = *outcome;
    }
    for (auto& [key, outcome] : done_) end.outcomes.push_back(std::move(outcome));
    return end;
  }

 private:
  /// Nothing where a request to stop ended it.
  std::optional<RunOutcome> run_one(size_t index, int repeat, SeriesEnd& end) {
    const Point& point = runs_.points[index];
    const std::string directory = run_directory(store_.directory(), index, point.ranks, repeat);
    if (runs_.submits) cancel_job(directory);
    for (const std::string& old : {directory, log_of(directory), job_log_of(directory)}) remove_all(old);
    SupervisedJob job{run_command(runs_, point, directory), runs_.variables, runs_.program};
    job.output = log_of(directory);
    job.asker = "trireme scale";
    if (runs_.submits) job.variables["TRIREME_REQUEUE"] = "no";
    const auto begin = std::chrono::steady_clock::now();
    const SupervisedEnd ended = supervise(job);
    if (ended.signal != 0) {
      if (runs_.submits) cancel_job(directory);
      end.signal = ended.signal;
      end.was_cut = ended.was_cut;
      return std::nullopt;
    }
    RunOutcome outcome{index, repeat, ended.code, "", 0, {}};
    outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    take_measurement(directory, outcome);
    // Of short runs nobody wants the weights, and those of a series may fill a disk.
    remove_all(directory + "/model.safetensors");
    time_.see(index, outcome.seconds);
    return outcome;
  }

  void take_measurement(const std::string& directory, RunOutcome& outcome) const {
    if (outcome.code != 0) {
      outcome.error = visible(last_error_in(log_of(directory)));
      if (outcome.error.empty()) outcome.error = visible(last_error_in(job_log_of(directory)));
      if (outcome.error.empty()) outcome.error = "see " + log_of(directory);
      return;
    }
    try {
      outcome.measured = read_run_record(directory, runs_.warmup);
    } catch (const UserError& error) {
      outcome.code = static_cast<int>(error.code());
      outcome.error = error.what();
    }
  }

  /// A job that an earlier call left behind, or that is still there after a request to stop.
  static void cancel_job(const std::string& directory) {
    const std::string command = "scancel --quiet --name=" + job_name_of(directory) + " >/dev/null 2>&1";
    // It may have ended, or never begun: then there is nothing to cancel.
    [[maybe_unused]] const int ended = std::system(command.c_str());
  }

  void print_line(const RunOutcome& outcome, size_t number, size_t num_runs, size_t next) const {
    double left = 0;
    for (size_t i = next; i < left_.size(); ++i) left += time_.of(left_[i].first);
    const std::string what = outcome.measured
                                 ? fmt::format("{} tokens/s", grouped(std::llround(outcome.measured->tok_s)))
                                 : fmt::format("FAILED, exit {}: {}", outcome.code, outcome.error);
    fmt::print(out_, "[{}/{}] {}: {} ({:.1f} s){}\n", number, num_runs,
               described(runs_.points[outcome.point], outcome.repeat), what, outcome.seconds,
               next < left_.size() ? ", about " + short_duration(left) + " left" : "");
    std::fflush(out_);
  }

  const SeriesRuns& runs_;
  const SeriesStore& store_;
  std::FILE* out_;
  TimeLeft time_;
  std::vector<Key> left_;
  std::map<Key, RunOutcome> done_;
};

}  // namespace

std::string job_name_of(const std::string& directory) {
  const std::string path = fs::absolute(directory).lexically_normal().string();
  return "trireme-scale-" + to_string(xxh3_128(path)).substr(0, 12);
}

std::vector<std::string> run_command(const SeriesRuns& runs, const Point& point,
                                     const std::string& directory) {
  std::vector<std::string> words = {runs.program, "launch", "--ranks", fmt::to_string(point.ranks)};
  const auto add = [&words](const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
  };
  add(runs.start);
  if (runs.submits) {
    std::vector<std::string> sbatch = {"--wait", "--job-name=" + job_name_of(directory),
                                       "--output=" + job_log_of(directory)};
    sbatch.insert(sbatch.end(), runs.slurm.begin(), runs.slurm.end());
    add({"--submit", "--failed-hosts", directory + ".failed-hosts", "--slurm", shell_text(sbatch)});
  }
  add({"--", "train"});
  add(point.options);
  add(runs.run_options);
  add(point.facts.more_options);
  add({"--run.dir", directory});
  return words;
}

SeriesEnd run_series(const SeriesRuns& runs, const SeriesStore& store, std::FILE* out) {
  return SeriesRun(runs, store, out).run();
}

}  // namespace trireme::launch
