// What tests ask of the stand-in for NCCL beyond its interface.
#pragma once

#include <cstdint>

namespace trireme::nccl_on_host {

/// Buffers that were registered so far, in the whole program, and those left when their communicator ended.
struct Registrations {
  int64_t made = 0, left = 0;
};
Registrations registrations();

/// From now on calls, and operations when they begin, are held up now and then, up to two milliseconds, as
/// drawn from `seed`; 0: no longer.
void delay(uint64_t seed);

/// What was launched so far belongs to jobs that have ended, perhaps by an error that left their
/// communicators.
void begin_job();

}  // namespace trireme::nccl_on_host
