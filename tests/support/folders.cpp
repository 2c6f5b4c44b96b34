#include "tests/support/folders.h"

namespace trireme::test {

std::string source_folder() { return TRIREME_SOURCE_DIR; }
std::string build_folder() { return TRIREME_BINARY_DIR; }

}  // namespace trireme::test
