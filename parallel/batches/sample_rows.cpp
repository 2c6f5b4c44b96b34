#include "parallel/batches/sample_rows.h"

#include <algorithm>
#include <span>

#include "parallel/context_parallel/documents.h"
#include "runtime/ops/training/cross_entropy.h"

namespace trireme {

RowFacts SampleRows::read(const SampleRun& run, RowMemory to, const std::function<bool()>& goes_on) {
  const auto length = static_cast<size_t>(seq_len());
  inputs_.resize(length);
  following_.resize(length);
  if (separates_documents()) {
    document_positions_.resize(length);
    first_keys_.resize(length);
  }
  RowFacts facts;
  for (int64_t b = 0; b < run.count && goes_on(); ++b) {
    reader_.read_sample(run.first + b, inputs_.data(), following_.data());
    if (!run.is_counted) std::ranges::fill(following_, ops::kIgnoredTarget);
    if (separates_documents()) {
      separate_documents(inputs_, *reader_.end_of_text(), following_, document_positions_, first_keys_);
      append_chunk_first_keys(first_keys_, share_, facts.chunk_first_keys);
    }
    facts.targets_of_sample.push_back(num_counted(following_));
    for (const Part& held : share_.tokens(seq_len())) {
      const auto append = [&](const std::vector<int32_t>& from, int32_t*& end) {
        if (end != nullptr) end = std::copy(from.begin() + held.begin, from.begin() + held.end, end);
      };
      facts.num_targets += num_counted(
          std::span(following_).subspan(static_cast<size_t>(held.begin), static_cast<size_t>(held.size())));
      append(inputs_, to.tokens);
      append(following_, to.targets);
      append(document_positions_, to.positions);
      append(first_keys_, to.first_keys);
    }
  }
  return facts;
}

std::vector<int32_t> SampleRows::positions(int64_t count) const {
  std::vector<int32_t> all;
  for (int64_t b = 0; b < count; ++b) {
    for (const Part& held : share_.tokens(seq_len())) {
      for (int64_t t = held.begin; t < held.end; ++t) all.push_back(static_cast<int32_t>(t));
    }
  }
  return all;
}

}  // namespace trireme
