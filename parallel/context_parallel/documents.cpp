#include "parallel/context_parallel/documents.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/ops/training/cross_entropy.h"

namespace trireme {

void separate_documents(std::span<const int32_t> tokens, int32_t end_of_text, std::span<int32_t> targets,
                        std::span<int32_t> positions, std::span<int32_t> first_keys) {
  const size_t length = tokens.size();
  TRIREME_CHECK((targets.empty() || targets.size() == length) && positions.size() == length &&
                    first_keys.size() == length,
                "{} tokens, {} targets, {} positions, {} first keys", length, targets.size(),
                positions.size(), first_keys.size());
  size_t begin = 0;
  for (size_t t = 0; t < length; ++t) {
    positions[t] = static_cast<int32_t>(t - begin);
    first_keys[t] = static_cast<int32_t>(begin);
    if (tokens[t] != end_of_text) continue;
    begin = t + 1;
    if (!targets.empty()) targets[t] = ops::kIgnoredTarget;
  }
}

int64_t num_counted(std::span<const int32_t> targets) {
  return std::ranges::count_if(targets, [](int32_t t) { return t != ops::kIgnoredTarget; });
}

void append_chunk_first_keys(std::span<const int32_t> first_keys, const ContextShare& share,
                             std::vector<int32_t>& of_chunks) {
  if (share.size == 1) return;
  const size_t num_chunks = 2 * static_cast<size_t>(share.size), length = first_keys.size() / num_chunks;
  for (size_t chunk = 0; chunk < num_chunks; ++chunk) of_chunks.push_back(first_keys[chunk * length]);
}

}  // namespace trireme
