#include "runtime/comm/mpi/mpi_environment.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <future>
#include <limits>
#include <map>
#include <mutex>
#include <thread>

#include <fmt/ranges.h>
#include <mpi.h>

#include "runtime/base/philox.h"
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

using State = MpiArrival::State;

// abort() is for any place of a process, with no object at hand. Never destroyed: a thread may be late.
std::mutex setting;
std::shared_ptr<const std::function<void(ExitCode)>>& call_before_abort() {
  static auto* const call = new std::shared_ptr<const std::function<void(ExitCode)>>();
  return *call;
}

std::string label_of(const MpiArrival& arrival) {
  return arrival.state == State::ended ? fmt::format("{}, which has ended", arrival.text)
                                       : std::string(arrival.text);
}

}  // namespace

/// For what ranks say of themselves: nothing else is ever in flight on its communicator.
struct MpiEnvironment::Control {
  MPI_Comm comm = MPI_COMM_NULL;
};

MpiEnvironment::MpiEnvironment() : uncaught_(std::uncaught_exceptions()) {
  int level = MPI_THREAD_SINGLE, is_started = 0;
  MPI_Initialized(&is_started);
  is_ours_ = is_started == 0;
  if (is_ours_) {
#ifdef OPEN_MPI
    check_plugin();
#endif
    mpi::check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &level), "MPI_Init_thread", "world", 0);
  } else {
    MPI_Query_thread(&level);
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  try {
    if (level < MPI_THREAD_MULTIPLE)
      throw_environment("this MPI ({}) was {} without MPI_THREAD_MULTIPLE", version(),
                        is_ours_ ? "built" : "started");
    check_launcher(size_);
    control_ = std::make_unique<Control>();
    mpi::check(MPI_Comm_dup(MPI_COMM_WORLD, &control_->comm), "MPI_Comm_dup", "control", rank_);
    find_hosts();
  } catch (const UserError&) {
    if (is_ours_) MPI_Finalize();  // every rank is a world of its own
    throw;
  }
}

MpiEnvironment::~MpiEnvironment() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized != 0) return;
  if (std::uncaught_exceptions() > uncaught_) abort(ExitCode::internal);
  if (is_ours_) MPI_Finalize();
}

MpiMeeting MpiEnvironment::meet(const MpiArrival& arrival, double seconds) const {
  struct Exchange {
    std::array<uint64_t, 3> mine{}, largest{};
    std::promise<int> code;
  };
  has_met_ = true;
  const uint64_t hash = hash_name(fmt::format("{} {}", static_cast<int>(arrival.state), arrival.text));
  const auto exchange = std::make_shared<Exchange>();
  exchange->mine = {hash, ~hash, arrival.state == State::failed};  // the second is ~ of the smallest
  // A blocking call in a thread, which is left behind where others do not come: MPI_Iallreduce would put Open
  // MPI's machinery for such calls into every later call of the process.
  std::future<int> code = exchange->code.get_future();
  const auto reduce = [exchange, comm = control_->comm] {
    exchange->code.set_value(
        MPI_Allreduce(exchange->mine.data(), exchange->largest.data(), 3, MPI_UINT64_T, MPI_MAX, comm));
  };
  if (std::isinf(seconds)) {
    reduce();
  } else {
    std::thread(reduce).detach();
    if (code.wait_for(std::chrono::duration<double>(seconds)) != std::future_status::ready)
      return MpiMeeting::not_there;
  }
  if (code.get() != MPI_SUCCESS) return MpiMeeting::not_there;
  const auto& [largest, smallest, has_failed] = exchange->largest;
  if (largest == ~smallest) return MpiMeeting::alike;
  return has_failed != 0 ? MpiMeeting::failed : MpiMeeting::differ;
}

void MpiEnvironment::meet_ready(std::string_view command) const {
  if (has_met_) return;
  const MpiArrival arrival{State::ready, command};
  const MpiMeeting meeting = meet(arrival, std::numeric_limits<double>::infinity());
  if (meeting == MpiMeeting::alike) return;
  if (meeting == MpiMeeting::differ) throw_differing(arrival);
  std::this_thread::sleep_for(std::chrono::seconds(5));  // it says why, and ends the job
  throw_environment("another rank failed at its start, or MPI did");
}

void MpiEnvironment::meet_ended(std::string_view command) const {
  if (has_met_) return;
  const MpiArrival arrival{State::ended, command};
  if (meet(arrival, std::numeric_limits<double>::infinity()) == MpiMeeting::differ) throw_differing(arrival);
}

void MpiEnvironment::throw_differing(const MpiArrival& arrival) const {
  constexpr size_t kBytes = 64, kMost = 4;
  std::array<char, kBytes> mine{};
  label_of(arrival).copy(mine.data(), kBytes - 1);
  std::vector<std::array<char, kBytes>> all(static_cast<size_t>(size_));
  mpi::check(MPI_Allgather(mine.data(), kBytes, MPI_BYTE, all.data(), kBytes, MPI_BYTE, control_->comm),
             "MPI_Allgather", "control", rank_);
  std::map<std::string, std::vector<int>> ranks;
  for (int r = 0; r < size_; ++r) ranks[all[static_cast<size_t>(r)].data()].push_back(r);
  std::vector<std::string> parts;
  for (auto& [label, of_label] : ranks) {
    const bool cut = of_label.size() > kMost;
    of_label.resize(std::min(of_label.size(), kMost));
    parts.push_back(fmt::format("'trireme {}' on rank{} {}{}", label, of_label.size() > 1 ? "s" : "",
                                fmt::join(of_label, ", "), cut ? ", ..." : ""));
  }
  throw_user(ExitCode::usage, "the {} ranks were started differently: {}", size_, fmt::join(parts, "; "));
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

void MpiEnvironment::before_abort(std::function<void(ExitCode)> call) {
  auto made = call ? std::make_shared<const std::function<void(ExitCode)>>(std::move(call)) : nullptr;
  const std::lock_guard lock(setting);
  call_before_abort() = std::move(made);
}

void MpiEnvironment::abort(ExitCode code) noexcept {
  std::shared_ptr<const std::function<void(ExitCode)>> call;
  {
    const std::lock_guard lock(setting);
    call = call_before_abort();
  }
  if (call) (*call)(code);
  flush(stdout);
  flush(stderr);
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized != 0 && finalized == 0) MPI_Abort(MPI_COMM_WORLD, static_cast<int>(code));
  std::_Exit(static_cast<int>(code));
}

}  // namespace trireme
