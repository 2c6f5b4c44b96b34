// The program: runs a command and turns what it throws into a message and an exit code.
#include <cstdio>
#include <exception>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include "launch/commands/commands.h"
#include "runtime/base/error.h"
#include "runtime/comm/launcher.h"
#include "runtime/comm/mpi/mpi_environment.h"

namespace {

using trireme::ExitCode;
using trireme::RankPlace;

/// What every rank finds wrong is said by rank 0; what befell one rank, by that rank.
void report(const std::string& message, ExitCode code, const RankPlace& place) {
  if (code == ExitCode::usage && place.rank != 0) return;
  const std::string who =
      place.world_size > 1 && code != ExitCode::usage ? fmt::format("rank {}: ", place.rank) : std::string();
  std::fputs(fmt::format("trireme: error: {}{}\n", who, message).c_str(), stderr);  // never throws
}

ExitCode run(const std::vector<std::string>& args, const RankPlace& place) {
  ExitCode code = ExitCode::internal;
  try {
    trireme::run_program(args, place);
    if (std::fflush(stdout) != 0) trireme::throw_environment("standard output cannot be written");
    return ExitCode::ok;
  } catch (const trireme::Error& error) {
    report(error.what(), code = error.code(), place);
  } catch (const std::system_error& error) {  // as fmt says that standard output is full
    report(error.what(), code = ExitCode::resources, place);
  } catch (const std::bad_alloc&) {
    report("out of memory", code = ExitCode::resources, place);
  } catch (const std::exception& error) {
    report(error.what(), code, place);
  }
  return code;
}

// A rank that fails ends the others too: they may wait for it in a collective for ever.
[[noreturn]] void end_job(ExitCode code) {
  std::fflush(nullptr);
  trireme::MpiEnvironment::abort(code);
}

ExitCode run_under_mpi(const std::vector<std::string>& args) {
  const trireme::MpiEnvironment mpi;
  const ExitCode code = run(args, {mpi.rank(), mpi.size(), &mpi});
  // What is wrong with the arguments every rank has found by itself; anything else, perhaps one alone.
  if (code != ExitCode::ok && code != ExitCode::usage) end_job(code);
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  try {
    if (trireme::launched_under_mpi()) return static_cast<int>(run_under_mpi(args));
    trireme::check_launcher(1);
  } catch (const trireme::Error& error) {
    report(error.what(), error.code(), {});
    return static_cast<int>(error.code());
  }
  return static_cast<int>(run(args, {}));
}
