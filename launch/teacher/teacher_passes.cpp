#include "launch/teacher/teacher_passes.h"

#include <algorithm>
#include <vector>

#include "models/config/loss_config.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "parallel/tensor_parallel/tensor_parallel.h"
#include "runtime/ops/host_copy.h"

namespace trireme::launch {

bool TeacherPasses::is_writer() const {
  const ParallelContext& parallel = model_.parallel();
  return parallel.tensor().rank() == 0 && parallel.pipeline().rank() == parallel.pipeline().size() - 1;
}

void TeacherPasses::run(int64_t first, int64_t count, bool counts, const Take& take) {
  const int64_t seq_len = reader_.order().seq_len(), rows = count * seq_len;
  std::vector<int32_t> inputs(static_cast<size_t>(rows)), following(inputs.size()), places(inputs.size());
  for (int64_t b = 0; b < count; ++b)
    reader_.read_sample(first + b, inputs.data() + b * seq_len, following.data() + b * seq_len);
  for (size_t row = 0; row < places.size(); ++row)
    places[row] = static_cast<int32_t>(row % static_cast<size_t>(seq_len));
  MicroBatch batch = make_micro_batch(ctx_, count, seq_len, inputs, {}, {}, reader_.end_of_text());
  batch.like_paged = true;
  const Tensor states = model_.model().last_states(ctx_, batch);
  if (!states) return;

  const Head& head = model_.model().head()->head();
  const TensorParallel tensor(model_.parallel());
  const WeightView weight = head.weight_of_forward(ctx_);
  const RowPlaces all{ops::to_device(ctx_, places, {rows}), first, seq_len, 0};
  std::vector<int32_t> ids;
  std::vector<float> probabilities;
  const int64_t at_once = LossConfig{}.rows_at_once(rows, head.bytes_a_row(states.dtype()));
  for (int64_t begin = 0; begin < rows; begin += at_once) {
    const int64_t end = std::min(rows, begin + at_once);
    const RowLogits logits = head.logits_of_rows(ctx_, states.slice(begin, end), weight);
    RowTeacher teacher;
    teacher.logits = logits.columns;
    teacher.soft_cap = logits.soft_cap;
    const RowTeacher few =
        few_tokens(ctx_, tensor, teacher, head.vocab_size(), options_, all.slice(begin, end));
    if (!is_writer() || !counts) continue;
    const std::vector<int32_t> some = ops::to_host<int32_t>(ctx_, few.ids);
    const std::vector<float> shares = ops::to_host<float>(ctx_, few.probabilities);
    ids.insert(ids.end(), some.begin(), some.end());
    probabilities.insert(probabilities.end(), shares.begin(), shares.end());
  }
  const size_t each = ids.size() / static_cast<size_t>(count);
  for (size_t at = 0; at < ids.size(); at += each)
    take(std::span(ids).subspan(at, each), std::span(probabilities).subspan(at, each));
}

}  // namespace trireme::launch
