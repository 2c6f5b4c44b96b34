#include "parallel/batches/sample_rows.h"

#include <algorithm>

#include "runtime/ops/training/cross_entropy.h"

namespace trireme {

void SampleRows::read(const SampleRun& run, int32_t* tokens, int32_t* targets,
                      const std::function<bool()>& goes_on) {
  inputs_.resize(static_cast<size_t>(seq_len()));
  following_.resize(inputs_.size());
  for (int64_t b = 0; b < run.count && goes_on(); ++b) {
    reader_.read_sample(run.first + b, inputs_.data(), following_.data());
    if (!run.is_counted) std::ranges::fill(following_, ops::kIgnoredTarget);
    for (const Part& held : share_.tokens(seq_len())) {
      tokens = std::copy(inputs_.begin() + held.begin, inputs_.begin() + held.end, tokens);
      targets = std::copy(following_.begin() + held.begin, following_.begin() + held.end, targets);
    }
  }
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
