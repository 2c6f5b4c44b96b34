// Stands in for MPI in a program built without it: whatever needs several processes says so.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "runtime/base/error.h"
#include "runtime/comm/launcher.h"
#include "runtime/comm/mpi/mpi_communicator.h"
#include "runtime/comm/mpi/mpi_environment.h"
#include "runtime/comm/mpi/mpi_versions.h"
#include "runtime/comm/mpi/run_mpi_ranks.h"
#include "runtime/comm/self/self_communicator.h"

namespace trireme {

namespace {

[[noreturn]] void throw_not_built() {
  throw_usage(
      "this program was built without MPI, so it runs as one process: start it without mpirun, or "
      "configure with -DTRIREME_MPI=ON");
}

}  // namespace

struct MpiEnvironment::Control {};

MpiEnvironment::MpiEnvironment() { throw_not_built(); }
MpiEnvironment::~MpiEnvironment() = default;
std::string MpiEnvironment::version() const { return "not built"; }
std::unique_ptr<Communicator> MpiEnvironment::make_world(const MpiOptions&) const { throw_not_built(); }
MpiMeeting MpiEnvironment::meet(const MpiArrival&, double) const { return MpiMeeting::not_there; }
void MpiEnvironment::meet_ready(std::string_view) const { throw_not_built(); }
void MpiEnvironment::meet_ended(std::string_view) const { throw_not_built(); }
void MpiEnvironment::abort(ExitCode code) noexcept {
  std::fflush(nullptr);
  std::_Exit(static_cast<int>(code));
}
void MpiEnvironment::before_abort(std::function<void(ExitCode)>) {}

std::unique_ptr<Communicator> make_mpi_world(const MpiOptions&) { throw_not_built(); }
MpiVersions mpi_versions() { return {"not built", "not built", ""}; }
void check_built_with_mpi() { throw_not_built(); }

// One rank, as without mpirun.
int run_mpi_ranks(std::string_view program, const std::function<void(Communicator& world)>& body) {
  try {
    if (launched_under_mpi()) throw_not_built();
    body(*make_self_communicator());
    return 0;
  } catch (const std::exception& error) {
    std::fputs(fmt::format("{}: {}\n", program, error.what()).c_str(), stderr);
    const auto* ours = dynamic_cast<const Error*>(&error);
    return static_cast<int>(ours != nullptr ? ours->code() : ExitCode::internal);
  }
}

}  // namespace trireme
