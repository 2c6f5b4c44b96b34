// Where the project and its build lie: known to one source alone, so that the others compile alike in every
// clone.
#pragma once

#include <string>

namespace trireme::test {

/// The sources, where the tests were built or where TRIREME_SOURCE_DIR says that they are now.
std::string source_folder();
std::string build_folder();

}  // namespace trireme::test
