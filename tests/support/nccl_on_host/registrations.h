// What tests ask of the stand-in for NCCL beyond its interface.
#pragma once

#include <cstdint>

namespace trireme::nccl_on_host {

/// Buffers that were registered so far, in the whole program, and those left when their communicator ended.
struct Registrations {
  int64_t made = 0, left = 0;
};
Registrations registrations();

}  // namespace trireme::nccl_on_host
