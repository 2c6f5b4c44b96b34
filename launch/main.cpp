// The program: runs a command and turns what it throws into a message and an exit code.
#include <cstdio>
#include <exception>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include "launch/commands/commands.h"
#include "runtime/base/error.h"

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

}  // namespace

int main(int argc, char** argv) {
  return static_cast<int>(run(std::vector<std::string>(argv + 1, argv + argc), RankPlace{}));
}
