// Which MPI this program was compiled for, and which it runs with.
#pragma once

#include <string>

namespace trireme {

struct MpiVersions {
  std::string built;         ///< "Open MPI 4.1.4"; where the header does not say: "MPI 3.1"
  std::string loaded;        ///< the library's own words, one line: "Open MPI 4.1.4"
  std::string thread_level;  ///< "multiple"; empty: MPI has not been started
};

/// Starts nothing.
MpiVersions mpi_versions();

/// Before several ranks are started: a UserError where this program was built without MPI.
void check_built_with_mpi();

}  // namespace trireme
