#include "runtime/data/batch_reader.h"

#include <algorithm>

namespace trireme {

void BatchReader::read_sample(int64_t global_sample_index, int32_t* inputs, int32_t* targets) const {
  const int64_t seq_len = order_.seq_len(), begin = order_.position(global_sample_index);
  const int64_t position = source_->first_position() + begin;
  const auto check = [&](const int32_t* ids, int64_t count, int64_t at) {
    check_ids({ids, static_cast<size_t>(count)}, vocab_size_, source_->name(), at);
  };
  source_->read(begin, seq_len, inputs);
  check(inputs, seq_len, position);
  std::copy_n(inputs + 1, seq_len - 1, targets);
  source_->read(begin + seq_len, 1, targets + seq_len - 1);
  check(targets + seq_len - 1, 1, position + seq_len);
}

}  // namespace trireme
