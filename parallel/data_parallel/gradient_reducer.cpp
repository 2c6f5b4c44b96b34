#include "parallel/data_parallel/gradient_reducer.h"

#include <utility>

#include "runtime/base/error.h"

namespace trireme {

GradientReducer::GradientReducer(Communicator& data, ParameterStorage& storage, int64_t bucket_bytes,
                                 bool overlap)
    : data_(data), overlap_(overlap) {
  if (data.size() == 1) return;  // nothing to sum, so no buckets
  for (const ParameterGroup& group : storage.groups()) {
    int64_t begin = 0;
    Bucket bucket;
    for (size_t i = 0; i < group.places.size(); ++i) {
      bucket_of_[group.places[i].block] = buckets_.size();
      ++bucket.num_blocks;
      const bool last = i + 1 == group.places.size();
      const int64_t end = last ? group.numel : group.places[i + 1].begin;
      if (!last && (end - begin) * static_cast<int64_t>(sizeof(float)) < bucket_bytes) continue;
      bucket.gradients = group.gradients.slice(begin, end);
      buckets_.push_back(std::exchange(bucket, {}));
      begin = end;
    }
  }
}

void GradientReducer::ready(Stream& stream, std::span<ParameterBlock* const> blocks) {
  if (buckets_.empty()) return;
  for (const ParameterBlock* block : blocks) {
    Bucket& bucket = buckets_[bucket_of_.at(block)];
    ++bucket.num_ready;
    TRIREME_CHECK(bucket.num_ready <= bucket.num_blocks, "gradients of a block became ready twice in a step");
    if (bucket.num_ready == bucket.num_blocks && overlap_) reduce(stream, bucket);
  }
}

void GradientReducer::finish(Stream& stream) {
  for (Bucket& bucket : buckets_) {
    if (!bucket.work) reduce(stream, bucket);
  }
  for (Bucket& bucket : buckets_) {
    bucket.work->wait();
    bucket.work.reset();
    bucket.num_ready = 0;
  }
}

void GradientReducer::reduce(Stream& stream, Bucket& bucket) {
  bucket.work = data_.all_reduce_async(stream, bucket.gradients);
}

}  // namespace trireme
