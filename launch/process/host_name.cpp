#include "launch/process/host_name.h"

#include <unistd.h>

namespace trireme::launch {

std::string host_name() {
  char name[256] = "unknown";
  ::gethostname(name, sizeof name - 1);
  return name;
}

}  // namespace trireme::launch
