// Environment variables as a value, so that what depends on them can be tried.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace trireme::launch {

using Variables = std::map<std::string, std::string>;

/// Those of this process.
Variables own_variables();

/// The text of one; empty: it is not set.
std::string text_of(const Variables& variables, const std::string& name);
/// The whole number that one begins with; 0: it is not set, or begins with something else.
int number_of(const Variables& variables, const std::string& name);

/// The names of those that ranks on other hosts need as well, which mpirun does not pass on by itself:
/// NCCL_*, UCX_*, OMP_*, GOMP_* and TRIREME_*.
std::vector<std::string> for_other_hosts(const Variables& variables);

/// What a launcher that is started inside a step of another may keep: all but what that other one told this
/// process of its own place (PMIX_*, PMI_*, the ranks of OMPI_COMM_WORLD_*), by which a new one would take
/// itself for a part of it.
Variables without_place(Variables variables);

}  // namespace trireme::launch
