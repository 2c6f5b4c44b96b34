// trireme doctor: from arguments to the table.
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <sstream>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/cli/options/nearest_name.h"
#include "launch/cli/plain_arguments.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "launch/commands/rank_world.h"
#include "launch/commands/run_facts.h"
#include "launch/doctor/doctor.h"
#include "launch/doctor/report.h"
#include "launch/process/build_info.h"
#include "launch/process/host_name.h"
#include "parallel/plan/parallel_plan.h"
#include "runtime/comm/agreed_end.h"
#include "runtime/comm/mpi/mpi_environment.h"
#include "runtime/comm/self/self_communicator.h"

namespace trireme::launch {

namespace {

struct DoctorArguments {
  DoctorOptions options;
  bool json = false;
  int64_t disk_mib = 64, traffic_kib = 0, seconds = 60;
};

std::string read_checks(std::set<std::string, std::less<>>& only, const std::string& text) {
  std::istringstream names(text);
  for (std::string name; std::getline(names, name, ',');) {
    if (std::ranges::find(check_names(), name) == check_names().end())
      return fmt::format("names with commas between them, of {}", fmt::join(check_names(), ", "));
    only.insert(name);
  }
  return only.empty() ? "the name of a check" : "";
}

std::string read_device(DeviceKind& device, const std::string& text) {
  const auto kind = parse_enum<DeviceKind>(text);
  if (!kind) return "auto, cpu or cuda";
  device = *kind;
  return "";
}

std::vector<PlainOption> doctor_options(DoctorArguments& a) {
  ParallelPlan& plan = a.options.plan;
  constexpr int64_t kMostRanks = 1 << 20;
  return {{"json", "", "print one JSON object with all findings and measurements instead of the table", "",
           [&a](const std::string&) {
             a.json = true;
             return std::string();
           }},
          {"only", "NAME,...", fmt::format("only these checks: {}", fmt::join(check_names(), ", ")), "all",
           [&a](const std::string& text) { return read_checks(a.options.only, text); }},
          {"dp", "N", "data-parallel degree of the layout whose groups are checked", "what the others leave",
           whole_into(plan.data, 1, kMostRanks)},
          {"tp", "N", "tensor-parallel degree", "1", whole_into(plan.tensor, 1, kMostRanks)},
          {"pp", "N", "pipeline stages", "1", whole_into(plan.pipeline, 1, kMostRanks)},
          {"cp", "N", "context-parallel degree", "1", whole_into(plan.context, 1, kMostRanks)},
          {"ep", "N", "expert-parallel degree", "1", whole_into(plan.expert, 1, kMostRanks)},
          {"dir", "DIR",
           "directory where runs are to be (as --run.dir): its speed, room, and whether all hosts see it",
           "this one", text_into(a.options.directory)},
          {"disk-mib", "N", "MiB to write for the speed of a directory", "64",
           whole_into(a.disk_mib, 1, 1 << 20)},
          {"traffic-kib", "N", "KiB of the messages for bandwidths", "4096, on GPUs 65536",
           whole_into(a.traffic_kib, 1, 1 << 24)},
          {"seconds", "N",
           "seconds that a check may take; then the ranks that do not answer are named: exit code 6", "60",
           whole_into(a.seconds, 1, 86'400)},
          {"threads", "N", "CPU threads per rank, as --run.threads", "as trireme train",
           whole_into(a.options.run.threads, 1, 4096)},
          {"device", "auto|cpu|cuda", "device of the all-reduces; auto: cuda if a GPU is visible, else cpu",
           "auto", [&a](const std::string& text) { return read_device(a.options.run.device, text); }},
          {"share-device", "", "allow several ranks of a host to use one GPU", "", [&a](const std::string&) {
             a.options.run.share_device = true;
             return std::string();
           }}};
}

std::string doctor_help() {
  DoctorArguments defaults;
  return fmt::format(
      "usage: trireme doctor [options]\n"
      "       mpirun -n RANKS trireme doctor [options]\n\n"
      "  mpirun -n 16 trireme doctor --dp 2 --tp 8\n"
      "  srun --mpi=pmix trireme doctor --only axes,links --json > doctor.json\n\n"
      "Checks what a run depends on, on this machine or on all hosts of a job, and prints OK, WARN or FAIL "
      "for each, with the\n"
      "remedy. Exit code 7 where a check fails, 6 where one does not end in time. docs/doctor.md says how "
      "each is judged.\n\n{}",
      help_plain(doctor_options(defaults)));
}

/// Where a run would make its directory: this folder, or the nearest above it that is there.
std::filesystem::path existing_folder(const std::string& text) {
  std::filesystem::path folder = std::filesystem::absolute(text).lexically_normal();
  std::error_code error;
  while (folder.has_relative_path() && !std::filesystem::exists(folder, error)) folder = folder.parent_path();
  return folder;
}

DoctorArguments parse_doctor(std::span<const std::string> args, int world_size) {
  DoctorArguments a;
  std::vector<std::string> errors;
  for (const std::string& stray : parse_plain_arguments("doctor", doctor_options(a), args, errors))
    errors.push_back(fmt::format("unexpected argument '{}'", stray));
  if (errors.empty()) errors = resolve(a.options.plan, world_size);
  if (!errors.empty()) throw_errors(errors, "doctor");
  a.options.disk_bytes = a.disk_mib << 20;
  a.options.traffic_bytes = a.traffic_kib << 10;
  a.options.seconds = static_cast<double>(a.seconds);
  a.options.directory = existing_folder(a.options.directory).string();
  std::error_code unknown;
  const std::filesystem::path temporary = std::filesystem::temp_directory_path(unknown);
  if (!unknown) a.options.temporary = temporary.string();
  return a;
}

/// Ends the job where ranks do not come together at the start, ahead of all that could say which.
class StartLimit {
 public:
  StartLimit(double seconds, int rank) {
    thread_ = std::thread([this, seconds, rank] {
      std::unique_lock lock(mutex_);
      if (changed_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return is_over_; }))
        return;
      fmt::print(stderr, "trireme: error: rank {}: after {:.3g} s not all ranks have begun\n", rank, seconds);
      MpiEnvironment::abort(ExitCode::hang);
    });
  }
  ~StartLimit() {
    {
      const std::lock_guard lock(mutex_);
      is_over_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_over_ = false;
  std::thread thread_;
};

std::unique_ptr<Communicator> meet_all(const RankPlace& place, const DoctorOptions& options,
                                       std::span<const std::string> args) {
  if (place.mpi == nullptr) {
    return make_self_communicator("world", [](std::string_view reason, ExitCode code) {
      fmt::print(stderr, "trireme: error: {}\n", reason);
      MpiEnvironment::abort(code);
    });
  }
  const StartLimit limit(options.seconds, place.rank);
  place.mpi->meet_ready(place.command);
  auto world = place.mpi->make_world();
  // Of the programs themselves a difference is a finding.
  const Fact arguments[] = {{"arguments", fmt::format("{}", fmt::join(args, " ")), ""}};
  check_agreement(*world, arguments, host_name());
  return world;
}

DoctorPlace place_in_job(const RankPlace& place) {
  DoctorPlace found = place_by_environment();
  found.host = host_name();
  if (place.mpi != nullptr) {
    found.local_rank = place.mpi->local_rank();
    found.local_size = place.mpi->local_size();
  }
  for (const Fact& fact : build_facts(place))
    found.build[fact.key] = fact.shown.empty() ? fact.value : fact.shown;
  return found;
}

}  // namespace

void run_doctor(std::span<const std::string> args, const RankPlace& place) {
  if (asks_for_help(args)) {
    if (place.rank == 0) fmt::print("{}", doctor_help());
    return;
  }
  const DoctorArguments arguments = parse_doctor(args, place.world_size);
  const auto world = meet_all(place, arguments.options, args);
  const Examination found = examine(*world, place_in_job(place), arguments.options);
  if (place.rank == 0) {
    fmt::print("{}", arguments.json ? doctor_json(found, build_line()) : doctor_table(found));
    std::fflush(stdout);
  }
  if (found.verdict() == Verdict::fail)
    throw AgreedEnd(ExitCode::resources, "doctor: a check has failed; what to do stands beside it");
}

}  // namespace trireme::launch
