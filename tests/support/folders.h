// Where the project and its build lie: known to one source alone, so that the others compile alike in every
// clone.
#pragma once

#include <string>

namespace trireme::test {

std::string source_folder();
std::string build_folder();

}  // namespace trireme::test
