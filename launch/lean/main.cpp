// The program that generates alone (TRIREME_GENERATE_ONLY): one process on the CPU, which starts no ranks.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/cli/help_text.h"
#include "launch/cli/options/nearest_name.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/bench_generation.h"
#include "launch/commands/commands.h"
#include "launch/commands/info_tables.h"
#include "launch/process/build_info.h"
#include "launch/process/stop_request.h"
#include "launch/report/visible_text.h"
#include "runtime/base/error.h"
#include "runtime/comm/agreed_end.h"
#include "runtime/comm/launcher.h"

namespace {

using trireme::ExitCode;
using trireme::launch::RankPlace;

void run_generation_bench(std::span<const std::string> args, const RankPlace& place) {
  if (args.empty() || trireme::launch::asks_for_help(args)) {
    fmt::print("usage: trireme bench generate [MODEL] [options]\n\n{}",
               trireme::launch::bench_generate_help());
    return;
  }
  if (args[0] != "generate") {
    trireme::throw_usage(
        "bench {}: this program has bench generate alone; a whole build of Trireme has the others", args[0]);
  }
  trireme::launch::bench_generate(args.subspan(1), place);
}

void run_short_info(std::span<const std::string> args, const RankPlace&) {
  if (trireme::launch::asks_for_help(args)) {
    fmt::print(
        "usage: trireme info                        show this machine and the presets\n"
        "       trireme info FILE.gguf [--params]   show what a GGUF file holds\n");
  } else if (args.empty()) {
    trireme::launch::print_machine();
    trireme::launch::print_presets();
  } else {
    trireme::launch::print_model_file(args);
  }
}

constexpr trireme::launch::Command kCommands[] = {
    {"generate", "continue prompts, or converse with a model", trireme::launch::run_generate},
    {"bench", "bench generate: measure tokens/s of prompts and of decoding", run_generation_bench},
    {"info", "show this machine and the presets, or what a GGUF file holds", run_short_info},
};

std::string help() {
  std::vector<trireme::launch::HelpLine> lines;
  for (const auto& command : kCommands) lines.emplace_back(command.name, command.summary);
  lines.emplace_back("COMMAND --help", "show the options of a command");
  lines.emplace_back("--version", "show version and build");
  return fmt::format(
      "Trireme, built to generate alone: on the CPUs of one machine, without MPI.\n\n"
      "usage: trireme COMMAND [options]\n\n{}\n"
      "exit codes: 0 success, 1 internal error, 2 usage, 3 bad input file, 7 resources, 128 + N ended by "
      "signal N\n",
      trireme::launch::help_lines(lines));
}

void run_command(std::span<const std::string> args, const RankPlace& place) {
  const std::string name = args.empty() ? "--help" : args[0];
  if (name == "--help" || name == "-h" || name == "help" || name == "--version") {
    fmt::print("{}", name == "--version" ? trireme::launch::build_line() + "\n" : help());
    return;
  }
  std::vector<std::string> names;
  for (const auto& command : kCommands) {
    if (command.name == name) return command.run(args.subspan(1), place);
    names.emplace_back(command.name);
  }
  trireme::throw_usage(
      "unknown command '{}'{}; this program was built to generate alone (TRIREME_GENERATE_ONLY) and has {}",
      name, trireme::launch::did_you_mean(name, names), fmt::join(names, ", "));
}

ExitCode fail(const std::string& message, ExitCode code, bool is_error = true) {
  std::fputs(
      fmt::format("trireme: {}{}\n", is_error ? "error: " : "", trireme::launch::visible_message(message))
          .c_str(),
      stderr);
  return code;
}

ExitCode run(const std::vector<std::string>& args, const RankPlace& place) {
  try {
    if (trireme::launched_under_mpi()) {
      trireme::throw_usage(
          "this program was built without MPI: start it without mpirun, or build Trireme whole");
    }
    trireme::check_launcher(1);
    run_command(args, place);
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
      trireme::throw_environment("standard output cannot be written");
    return ExitCode::ok;
  } catch (const trireme::AgreedEnd& end) {
    trireme::launch::ignore_late_requests();
    return fail(end.what(), end.code(), end.code() != ExitCode::resumable);
  } catch (const trireme::Error& error) {
    return fail(error.what(), error.code());
  } catch (const std::system_error& error) {
    return fail(error.what(), ExitCode::resources);
  } catch (const std::bad_alloc&) {
    return fail("out of memory", ExitCode::resources);
  } catch (const std::exception& error) {
    return fail(error.what(), ExitCode::internal);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  const std::string command = args.empty() ? "--help" : args[0];
  trireme::launch::prepare_process(command == "generate");
  return static_cast<int>(run(args, {.command = command}));
}
