// Document boundaries in packed sequences.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel/context_parallel/context_parallel.h"

namespace trireme {

/// Cuts a whole sequence of tokens after each end-of-text token, which is the last of its document; what the
/// sequence begins with and ends with may be parts of documents. Writes for each token its place in its
/// document, and where in the sequence that begins; and makes of the target of each end-of-text token, which
/// would be the next document's first, one that is ignored. All spans have as many elements; `targets` may be
/// empty.
void separate_documents(std::span<const int32_t> tokens, int32_t end_of_text, std::span<int32_t> targets,
                        std::span<int32_t> positions, std::span<int32_t> first_keys);

/// Of these the targets that count.
int64_t num_counted(std::span<const int32_t> targets);

/// first_keys, of a whole sequence, at the first place of each chunk of `share` in the order of the sequence:
/// appended to `of_chunks`; nothing where a rank holds sequences alone.
void append_chunk_first_keys(std::span<const int32_t> first_keys, const ContextShare& share,
                             std::vector<int32_t>& of_chunks);

}  // namespace trireme
