#include "launch/commands/spin_bound.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "launch/cli/command_line.h"
#include "launch/cli/ini_file.h"
#include "launch/cli/options/option_table.h"
#include "launch/cli/run_arguments.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

constexpr const char* kSpinVariable = "GOMP_SPINCOUNT";

/// What a round of the loop takes here: 20 to 140 cycles, by the processor. The least of several: a time
/// slice of somebody else may lie in any.
double pause_seconds() {
  using Clock = std::chrono::steady_clock;
  constexpr int kRounds = 64, kTimes = 8;
  double least = 1e-6 * kRounds;
#if defined(__x86_64__)
  for (int time = 0; time < kTimes; ++time) {
    const auto begin = Clock::now();
    for (int i = 0; i < kRounds; ++i) __builtin_ia32_pause();
    least = std::min(least, std::chrono::duration<double>(Clock::now() - begin).count());
  }
#endif
  return least / kRounds;
}

int leading_number(const char* text) {
  int value = 0;
  if (text != nullptr) std::from_chars(text, text + std::strlen(text), value);
  return value;
}

std::string file_of_program() {
  std::vector<char> path(4096);
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  return length > 0 && length < static_cast<ssize_t>(path.size())
             ? std::string(path.data(), static_cast<size_t>(length))
             : "";
}

}  // namespace

int64_t spin_rounds(const CoresGiven& cores, int local_ranks, int threads, bool has_short_passes,
                    double pause_seconds) {
  constexpr double kWaking = 70e-6, kBetweenOps = 2e-3;
  if (is_oversubscribed(cores, local_ranks, threads)) return 0;
  const double seconds = has_short_passes ? kBetweenOps : kWaking;
  return std::clamp<int64_t>(std::llround(seconds / pause_seconds), 100, has_short_passes ? 500'000 : 20'000);
}

int named_threads(std::span<const std::string> args) {
  const std::string key = "run.threads";
  int threads = 0;
  const auto take = [&](const Settings& settings) {
    std::string config;
    for (const Setting& setting : settings.list) {
      if ((setting.key == key || setting.key == "threads") && setting.text)
        threads = leading_number(setting.text->c_str());
      if (setting.key == "config") config = setting.text.value_or("");
    }
    return config;
  };
  try {
    std::vector<std::string> keys = {"config", "dry-run", "help", "threads"};
    for (const Option& option : all_options()) {
      keys.push_back(option.key());
      if (!option.alias.empty()) keys.push_back(option.alias);
    }
    const Settings command_line = read_command_line(args, keys);
    if (const std::string config = take(command_line); !config.empty()) take(read_ini(config));
    take(command_line);  // wins
  } catch (const Error&) {
    return 0;
  }
  return std::max(threads, 0);
}

int launched_local_ranks() {
  for (const char* variable :
       {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_TASKS_PER_NODE"}) {
    if (const int ranks = leading_number(std::getenv(variable)); ranks > 0) return ranks;
  }
  return 1;
}

void bound_spinning(char** argv) {
  if (std::getenv(kSpinVariable) != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  if (argv[0] == nullptr || argv[1] == nullptr) return;
  const std::string_view command = argv[1];
  if (command != "train" && command != "bench" && command != "generate" && command != "serve") return;
  std::vector<std::string> args;
  for (char** argument = argv + 2; *argument != nullptr; ++argument) args.emplace_back(*argument);
  if (asks_for_help(args) || std::ranges::find(args, "--dry-run") != args.end()) return;
  const bool has_short_passes =
      command == "generate" || command == "serve" ||
      (command == "bench" && argv[2] != nullptr && argv[2] == std::string_view("generate"));
  const CoresGiven cores = cores_given();
  const int ranks = launched_local_ranks();
  int threads = named_threads(args);
  if (threads == 0) threads = command == "bench" ? cores.allowed : default_threads(cores, ranks);
  if (threads == 1) return;
  // A program that the loader was asked to run is not the file of this process.
  const std::string program = file_of_program();
  if (program.empty() || ::getauxval(AT_BASE) == 0) return;
  const int64_t rounds = spin_rounds(cores, ranks, threads, has_short_passes, pause_seconds());
  ::setenv(kSpinVariable, fmt::to_string(rounds).c_str(), 1);
  ::execv(program.c_str(), argv);
}

}  // namespace trireme::launch
