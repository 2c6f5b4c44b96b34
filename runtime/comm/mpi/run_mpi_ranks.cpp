#include "runtime/comm/mpi/run_mpi_ranks.h"

#include <cstdio>
#include <exception>
#include <string>

#include <fmt/format.h>

#include "runtime/base/error.h"
#include "runtime/comm/mpi/mpi_environment.h"

namespace trireme {

namespace {

ExitCode code_of(const std::exception& error) {
  const auto* ours = dynamic_cast<const Error*>(&error);
  return ours != nullptr ? ours->code() : ExitCode::internal;
}

// Whether every rank has this error: one of arguments and files, found before anybody waits for another.
bool is_of_all(const MpiEnvironment& mpi, const std::exception& error) {
  constexpr double kPatience = 5;  // seconds
  return dynamic_cast<const UserError*>(&error) != nullptr &&
         mpi.meet({MpiArrival::State::failed, error.what()}, kPatience) == MpiMeeting::alike;
}

void say(std::string_view program, std::string_view who, const std::exception& error) {
  std::fputs(fmt::format("{}: {}{}\n", program, who, error.what()).c_str(), stderr);
}

}  // namespace

int run_mpi_ranks(std::string_view program, const std::function<void(Communicator& world)>& body) {
  try {
    MpiEnvironment mpi;
    try {
      body(*mpi.make_world());
    } catch (const std::exception& error) {
      if (!is_of_all(mpi, error)) {
        say(program, fmt::format("rank {}: ", mpi.rank()), error);
        MpiEnvironment::abort(code_of(error));
      }
      if (mpi.rank() == 0) say(program, "", error);
      return static_cast<int>(code_of(error));
    }
  } catch (const std::exception& error) {  // MPI did not start
    say(program, "", error);
    return static_cast<int>(code_of(error));
  }
  return 0;
}

}  // namespace trireme
