#include "runtime/comm/mpi/mpi_environment.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <thread>

#include <mpi.h>

#include "runtime/comm/launcher.h"
#include "runtime/comm/mpi/mpi_communicator.h"
#include "runtime/comm/mpi/mpi_error.h"

namespace trireme {

namespace {

/// Writes out what is buffered, but waits for no thread that holds the stream.
void flush(std::FILE* file) noexcept {
  if (::ftrylockfile(file) != 0) return;
  std::fflush(file);
  ::funlockfile(file);
}

}  // namespace

MpiEnvironment::MpiEnvironment() : uncaught_(std::uncaught_exceptions()) {
  int level = MPI_THREAD_SINGLE;
  mpi::check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &level), "MPI_Init_thread", "world", 0);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  try {
    if (level < MPI_THREAD_MULTIPLE)
      throw_environment("this MPI ({}) was built without MPI_THREAD_MULTIPLE", version());
    check_launcher(size_);
    find_hosts();
  } catch (const UserError&) {
    MPI_Finalize();  // every rank is a world of its own
    throw;
  }
}

MpiEnvironment::~MpiEnvironment() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized != 0) return;
  if (std::uncaught_exceptions() > uncaught_) abort(ExitCode::internal);
  MPI_Finalize();
}

bool MpiEnvironment::all_ranks_arrive(double seconds) const {
  MPI_Request request = MPI_REQUEST_NULL;
  mpi::check(MPI_Ibarrier(MPI_COMM_WORLD, &request), "MPI_Ibarrier", "world", rank_);
  const double end = MPI_Wtime() + seconds;
  int done = 0;
  while (done == 0 && MPI_Wtime() < end) {
    mpi::check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test", "world", rank_);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return done != 0;
}

void MpiEnvironment::find_hosts() {
  MPI_Comm local = MPI_COMM_NULL;
  mpi::check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &local),
             "MPI_Comm_split_type", "world", rank_);
  MPI_Comm_rank(local, &local_rank_);
  MPI_Comm_size(local, &local_size_);
  MPI_Comm_free(&local);

  struct Entry {
    int local_rank, local_size;
    char name[MPI_MAX_PROCESSOR_NAME];
  };
  Entry mine{local_rank_, local_size_, {}};
  int length = 0;
  MPI_Get_processor_name(mine.name, &length);
  std::vector<Entry> all(static_cast<size_t>(size_));
  mpi::check(MPI_Allgather(&mine, sizeof mine, MPI_BYTE, all.data(), sizeof mine, MPI_BYTE, MPI_COMM_WORLD),
             "MPI_Allgather", "world", rank_);
  for (const Entry& e : all) {
    if (e.local_rank == 0) hosts_.push_back({e.name, e.local_size});
  }
}

std::string MpiEnvironment::version() const {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string_view whole(text, static_cast<size_t>(length));
  return std::string(whole.substr(0, whole.find_first_of(",\n")));
}

std::unique_ptr<Communicator> MpiEnvironment::make_world(const MpiOptions& options) const {
  return make_mpi_world(options);
}

void MpiEnvironment::abort(ExitCode code) noexcept {
  flush(stdout);
  flush(stderr);
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized != 0 && finalized == 0) MPI_Abort(MPI_COMM_WORLD, static_cast<int>(code));
  std::_Exit(static_cast<int>(code));
}

}  // namespace trireme
