// The program: runs a command and turns what it throws into a message and an exit code.
#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "launch/commands/commands.h"
#include "launch/commands/rank_watch.h"
#include "launch/commands/spin_bound.h"
#include "launch/process/stop_request.h"
#include "launch/report/files/run_log.h"
#include "launch/report/visible_text.h"
#include "launch/start/supervise.h"
#include "runtime/base/error.h"
#include "runtime/comm/agreed_end.h"
#include "runtime/comm/launcher.h"
#include "runtime/comm/mpi/mpi_environment.h"

namespace {

using trireme::ExitCode;
using trireme::launch::RankPlace;

/// What every rank finds wrong (in the arguments) is said by rank 0; what befell one rank, by that rank.
void report(const std::string& message, const RankPlace& place, bool by_all, bool is_error = true) {
  if (by_all && place.rank != 0) return;
  const std::string who =
      place.world_size > 1 && !by_all ? fmt::format("rank {}: ", place.rank) : std::string();
  const std::string line = fmt::format("trireme: {}{}{}\n", is_error ? "error: " : "", who,
                                       trireme::launch::visible_message(message));
  // Among several ranks half a line of another may be there already.
  std::fputs(((place.world_size > 1 ? "\n" : "") + line).c_str(), stderr);  // never throws
  if (place.log != nullptr) place.log->append(line);
}

// A rank that fails ends the others too: they may wait for it in a collective forever.
[[noreturn]] void end_job(ExitCode code) {
  std::fflush(nullptr);
  trireme::MpiEnvironment::abort(code);
}

// Whether this same error befell every rank. Before the ranks have met, all come to that meeting, those that
// are well too, so nobody waits for long; later the others may be in the middle of anything.
bool is_of_all(const std::string& message, const RankPlace& place) {
  constexpr double kAtStart = 5, kLater = 1;  // seconds
  if (place.mpi == nullptr) return true;
  const double patience = place.mpi->has_met() ? kLater : kAtStart;
  const trireme::MpiArrival arrival{trireme::MpiArrival::State::failed, message};
  return place.mpi->meet(arrival, patience) == trireme::MpiMeeting::alike;
}

// Says what went wrong. Returns when this process may end in good order.
ExitCode fail(const std::string& message, ExitCode code, const RankPlace& place) {
  constexpr auto kOthersSpeak = std::chrono::milliseconds(200);
  const bool may_be_of_all = code == ExitCode::usage || code == ExitCode::bad_input;
  const bool by_all = may_be_of_all && is_of_all(message, place);
  // Before it is said, so that the others take what follows for no accident.
  if (place.watch != nullptr && !by_all) place.watch->fail(message, code);
  report(message, place, by_all);
  if (place.mpi == nullptr || by_all) return code;
  std::this_thread::sleep_for(kOthersSpeak);  // more ranks may have failed, each in its way
  end_job(code);
}

ExitCode run(const std::vector<std::string>& args, const RankPlace& place) {
  try {
    trireme::launch::run_program(args, place);
    if (place.watch != nullptr) place.watch->enter_teardown();
    if (place.mpi != nullptr) place.mpi->meet_ended(place.command);
    // The indicator tells of lines that were lost on the way, too.
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
      trireme::throw_environment("standard output cannot be written");
    return ExitCode::ok;
  } catch (const trireme::launch::PassedOn& ended) {
    return ended.code;
  } catch (const trireme::AgreedEnd& end) {
    trireme::launch::ignore_late_requests();
    report(end.what(), place, true, end.code() != ExitCode::resumable);
    return end.code();
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
  trireme::launch::bound_spinning(argv);
  const std::vector<std::string> args(argv + 1, argv + argc);
  const std::string command = args.empty() ? "--help" : args[0];
  if (trireme::launch::starts_ranks(command)) trireme::launch::note_stop_requests();
  // A run alone knows what a signal leads to, once it has read its options.
  trireme::launch::prepare_process(command == "train" || command == "generate" || command == "serve" ||
                                   command == "compress" || command == "teacher");
  trireme::launch::RunLog log;
  trireme::launch::RankWatch watch(&log);  // until MPI has ended
  try {
    if (trireme::launch::starts_ranks(command)) {
      trireme::check_started_once("trireme " + command);
    } else if (trireme::launched_under_mpi()) {
      const trireme::MpiEnvironment mpi;
      return static_cast<int>(run(args, {mpi.rank(), mpi.size(), &mpi, command, &log, &watch}));
    } else {
      trireme::check_launcher(1);
      if (trireme::launch::runs_as_ranks(args)) trireme::check_batch_script();
    }
  } catch (const trireme::Error& error) {
    // Each task finds the same: the first says it, before a launcher ends the others.
    const int rank = trireme::launched_rank();
    if (rank != 0) std::this_thread::sleep_for(std::chrono::milliseconds(500));
    return static_cast<int>(fail(error.what(), error.code(), {.rank = rank}));
  }
  return static_cast<int>(run(args, {.command = command, .log = &log, .watch = &watch}));
}
