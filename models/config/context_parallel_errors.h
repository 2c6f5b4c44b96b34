// Which sequence lengths context parallelism allows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trireme {

/// Why sequences of `seq_len` tokens cannot be sharded over `context` ranks, with the numbers, the nearest
/// lengths up to `max_seq_len` and the nearest degrees that work; empty when they can. Each rank holds two of
/// 2 * context equal chunks (ContextShare), and a convolution of `kernel` tokens (0: there is none) takes the
/// last ones before a chunk of one neighbour.
std::vector<std::string> context_parallel_errors(int64_t seq_len, int64_t max_seq_len, int context,
                                                 int64_t kernel = 0);

}  // namespace trireme
