// Which file is mapped where, for the signal of a page that is no longer there.
#pragma once

#include <cstddef>

namespace trireme {

/// Notes that `path` (which must stay valid until forget_mapping) is mapped at `address`. From the first call
/// on a SIGBUS inside such a range ends the process with a message that names the file, and exit code 3 when
/// the file has become shorter, 7 when it could not be read; any other SIGBUS is passed on. Returns a slot,
/// -1 when all are taken: the file works, but is not named.
int note_mapping(const void* address, size_t size, const char* path);
void forget_mapping(int slot) noexcept;

}  // namespace trireme
