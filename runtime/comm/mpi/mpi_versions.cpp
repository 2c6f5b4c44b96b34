#include "runtime/comm/mpi/mpi_versions.h"

#include <string_view>

#include <fmt/format.h>
#include <mpi.h>

namespace trireme {

namespace {

std::string built_version() {
#ifdef OMPI_MAJOR_VERSION
  return fmt::format("Open MPI {}.{}.{}", OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION, OMPI_RELEASE_VERSION);
#elif defined(MPICH_VERSION)
  return fmt::format("MPICH {}", MPICH_VERSION);
#else
  return fmt::format("MPI {}.{}", MPI_VERSION, MPI_SUBVERSION);
#endif
}

/// "Open MPI v4.1.4, package: ..." and "MPICH Version:  4.0.2\n..." without what varies in spelling.
std::string loaded_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  std::string_view whole(text, static_cast<size_t>(length));
  whole = whole.substr(0, whole.find_first_of(",\n"));
  const size_t number = whole.find_first_of("0123456789");
  const size_t name = whole.find_last_not_of("v: \t", number == 0 ? number : number - 1);
  if (number == std::string_view::npos || name == std::string_view::npos) return std::string(whole);
  std::string_view words = whole.substr(0, name + 1);
  if (words.ends_with(" Version")) words.remove_suffix(std::string_view(" Version").size());
  return fmt::format("{} {}", words, whole.substr(number));
}

std::string thread_level_now() {
  int is_started = 0, is_over = 0, level = MPI_THREAD_SINGLE;
  MPI_Initialized(&is_started);
  MPI_Finalized(&is_over);
  if (is_started == 0 || is_over != 0) return "";
  MPI_Query_thread(&level);
  return level == MPI_THREAD_MULTIPLE     ? "multiple"
         : level == MPI_THREAD_SERIALIZED ? "serialized"
         : level == MPI_THREAD_FUNNELED   ? "funneled"
                                          : "single";
}

}  // namespace

MpiVersions mpi_versions() { return {built_version(), loaded_version(), thread_level_now()}; }

void check_built_with_mpi() {}

}  // namespace trireme
