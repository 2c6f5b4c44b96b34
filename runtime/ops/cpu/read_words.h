// Reads memory as fast as a core can.
#pragma once

#include <cstdint>

namespace trireme::ops::cpu {

/// The exclusive or of all words but those behind the last whole 32, so that each is read. Memory ahead is
/// fetched in advance, as products with weights do.
uint64_t read_words(const uint64_t* words, int64_t count);

}  // namespace trireme::ops::cpu
