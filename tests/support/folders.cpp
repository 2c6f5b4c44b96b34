#include "tests/support/folders.h"

#include <cstdlib>

namespace trireme::test {

std::string source_folder() {
  const char* elsewhere = std::getenv("TRIREME_SOURCE_DIR");
  return elsewhere != nullptr ? elsewhere : TRIREME_SOURCE_DIR;
}
std::string build_folder() { return TRIREME_BINARY_DIR; }

}  // namespace trireme::test
