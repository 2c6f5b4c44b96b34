// The CPU as a device.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "runtime/device/allocator.h"
#include "runtime/device/stream.h"

namespace trireme::cpu {

/// A stream whose work runs on the calling thread, inside the call that submits it.
std::unique_ptr<Stream> make_compute_stream();
/// Host memory in whole cache lines; large blocks are marked for huge pages.
std::unique_ptr<MemorySource> make_memory_source();

/// Memory that is first used in pieces here and there, long after it was taken, comes page by page: what asks
/// for a piece does not wait until huge pages around it are cleared. Of all within [pointer, pointer +
/// bytes).
void use_small_pages(void* pointer, size_t bytes);

/// What the processor offers for matrix arithmetic, widest first: "amx-bf16", "avx512-bf16", "avx512", "avx2"
/// or "sse2"; "neon-dotprod", "neon".
std::string matrix_isa();
/// The processor's name as the kernel reports it.
std::string processor_name();
/// Cores this process may run on.
int num_available_cores();

}  // namespace trireme::cpu
