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

/// What every rank finds wrong (in the arguments) is said by rank 0; what befell one rank, by that rank.
void report(const std::string& message, const RankPlace& place, bool by_all) {
  if (by_all && place.rank != 0) return;
  const std::string who =
      place.world_size > 1 && !by_all ? fmt::format("rank {}: ", place.rank) : std::string();
  std::fputs(fmt::format("trireme: error: {}{}\n", who, message).c_str(), stderr);  // never throws
}

// A rank that fails ends the others too: they may wait for it in a collective for ever.
[[noreturn]] void end_job(ExitCode code) {
  std::fflush(nullptr);
  trireme::MpiEnvironment::abort(code);
}

// Says what went wrong. Returns when this process may end in good order.
ExitCode fail(const std::string& message, ExitCode code, const RankPlace& place) {
  constexpr double kPatience = 5;  // seconds; ranks read their arguments within milliseconds of each other
  const bool by_all =
      code == ExitCode::usage && (place.mpi == nullptr || place.mpi->all_ranks_arrive(kPatience));
  report(message, place, by_all);
  if (place.mpi != nullptr && !by_all) end_job(code);
  return code;
}

ExitCode run(const std::vector<std::string>& args, const RankPlace& place) {
  try {
    trireme::run_program(args, place);
    if (std::fflush(stdout) != 0) trireme::throw_environment("standard output cannot be written");
    return ExitCode::ok;
  } catch (const trireme::Error& error) {
    return fail(error.what(), error.code(), place);
  } catch (const std::system_error& error) {  // as fmt says that standard output is full
    return fail(error.what(), ExitCode::resources, place);
  } catch (const std::bad_alloc&) {
    return fail("out of memory", ExitCode::resources, place);
  } catch (const std::exception& error) {
    return fail(error.what(), ExitCode::internal, place);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  try {
    if (trireme::launched_under_mpi()) {
      const trireme::MpiEnvironment mpi;
      return static_cast<int>(run(args, {mpi.rank(), mpi.size(), &mpi}));
    }
    trireme::check_launcher(1);
  } catch (const trireme::Error& error) {
    return static_cast<int>(fail(error.what(), error.code(), {}));
  }
  return static_cast<int>(run(args, {}));
}
