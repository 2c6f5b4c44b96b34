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

/// Gives back to the kernel what the heap has free, and the pages of the program and its libraries, most of
/// which only its start needs. Those that are used again come from their files, of whose pages the kernel
/// keeps its own copies while it has room.
void return_unused_memory();

}  // namespace trireme::cpu
