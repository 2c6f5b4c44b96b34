// How much memory this process has, and less of it.
#pragma once

#include <cstdint>

namespace trireme::cpu {

/// In bytes; zeros where the kernel does not say (no /proc).
struct ProcessMemory {
  int64_t resident = 0;  ///< now: its own pages, and those of files that it has mapped
  int64_t peak = 0;      ///< the most since it began (VmHWM)
};
ProcessMemory process_memory();

/// From now on memory that is asked for is what the process has: no huge pages, which count whole from their
/// first byte on, one heap for all threads, and pieces of 128 KiB and more go back to the kernel when they
/// are freed. Costs speed where much memory is read. For the start of a program, before it has threads.
void keep_memory_small();

/// Gives what the heap has free back to the kernel.
void return_free_memory();

}  // namespace trireme::cpu
