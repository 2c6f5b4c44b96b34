#include "models/compress/calibration_passes.h"

#include <algorithm>

#include "models/spec/rank_share.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

constexpr int64_t kRowsOfPass = 2048;

void expect_samples(const std::vector<std::vector<int32_t>>& samples, const Transformer& model) {
  if (samples.empty() || samples.front().empty())
    throw_bad_input("calibration: there are no samples; one of 16 tokens is the least that makes sense");
  const int64_t length = std::ssize(samples.front()), vocab_size = model.config().vocab_size;
  if (length > model.max_seq_len()) {
    throw_bad_input("calibration: samples of {} tokens, and the model takes {} at most; shorten the samples",
                    length, model.max_seq_len());
  }
  for (size_t s = 0; s < samples.size(); ++s) {
    if (std::ssize(samples[s]) != length) {
      throw_bad_input("calibration: sample {} has {} tokens and the first {}; all have to have as many", s,
                      samples[s].size(), length);
    }
    for (const int32_t token : samples[s]) {
      if (token < 0 || token >= vocab_size)
        throw_bad_input("calibration: sample {} has the token {}; the vocabulary has {}", s, token,
                        vocab_size);
    }
  }
}

}  // namespace

CalibrationPasses::CalibrationPasses(Context& ctx, const ParallelContext& parallel, Transformer& model,
                                     const std::vector<std::vector<int32_t>>& samples,
                                     std::optional<int32_t> end_of_text)
    : model_(model), pipeline_(parallel.pipeline()) {
  expect_samples(samples, model);
  const std::vector<int>& placement = model.placement();
  for (int v = 0; v + 1 < static_cast<int>(placement.size()); ++v) {
    for (int place = placement[static_cast<size_t>(v)]; place < placement[static_cast<size_t>(v) + 1];
         ++place)
      rank_of_.push_back(v % pipeline_.size());
  }
  const int64_t count = std::ssize(samples), length = std::ssize(samples.front());
  const int64_t ranks = parallel.data().size(), rank = parallel.data().rank();
  const int64_t begin = count * rank / ranks, end = count * (rank + 1) / ranks;
  const int64_t per_pass = std::max<int64_t>(1, kRowsOfPass / length);
  // Ranks that exchange tokens for experts make as many passes, some perhaps over nothing.
  const int64_t most = (count + ranks - 1) / ranks, passes = (most + per_pass - 1) / per_pass;
  for (int64_t p = 0; p < passes; ++p) {
    const int64_t first = std::min(begin + p * per_pass, end), last = std::min(first + per_pass, end);
    std::vector<int32_t> tokens;
    for (int64_t s = first; s < last; ++s) {
      const auto& sample = samples[static_cast<size_t>(s)];
      tokens.insert(tokens.end(), sample.begin(), sample.end());
    }
    MicroBatch& batch =
        batches_.emplace_back(make_micro_batch(ctx, last - first, length, tokens, {}, {}, end_of_text));
    batch.training = false;
    batch.like_paged = true;
  }
}

void CalibrationPasses::arrive(Context& ctx, int place) {
  if (place == 0) {
    if (is_here(0)) states_.resize(batches_.size());
    return;
  }
  move(ctx, rank_of_[static_cast<size_t>(place) - 1], rank_of_[static_cast<size_t>(place)]);
}

void CalibrationPasses::move(Context& ctx, int from, int to) {
  const int rank = pipeline_.rank();
  if (from == to || (rank != from && rank != to)) return;
  if (rank == to) states_.resize(batches_.size());
  const StageBoundary& boundary = model_.part().boundary;
  for (size_t p = 0; p < batches_.size(); ++p) {
    if (rank == to) states_[p] = empty_states(ctx, p);
    if (boundary.rows(batches_[p]) == 0) continue;
    if (rank == to)
      pipeline_.receive(ctx.stream(), states_[p], from);
    else
      pipeline_.send(ctx.stream(), states_[p], to);
  }
  if (rank == from) states_.clear();
}

void CalibrationPasses::lend(Context& ctx, int place) {
  if (pipeline_.size() == 1) return;
  const int from = rank_of_[static_cast<size_t>(place)];
  states_.resize(batches_.size());
  for (size_t p = 0; p < batches_.size(); ++p) {
    if (!is_here(place)) states_[p] = empty_states(ctx, p);
    if (states_[p].numel() > 0) pipeline_.broadcast(ctx.stream(), states_[p], from);
  }
}

void CalibrationPasses::take_back(int place) {
  if (!is_here(place)) states_.clear();
}

Tensor CalibrationPasses::lent_output(Context& ctx, int place, size_t pass) {
  Tensor made = is_here(place) ? output(ctx, place, pass) : empty_states(ctx, pass);
  if (pipeline_.size() > 1 && made.numel() > 0)
    pipeline_.broadcast(ctx.stream(), made, rank_of_[static_cast<size_t>(place)]);
  return made;
}

Tensor CalibrationPasses::empty_states(Context& ctx, size_t pass) const {
  const StageBoundary& boundary = model_.part().boundary;
  return Tensor::empty(ctx, {boundary.rows(batches_[pass]), boundary.width}, boundary.dtype,
                       MemoryCategory::buffers);
}

Part CalibrationPasses::rows_counted(size_t pass, const Communicator& tensor) const {
  const int64_t rows = states_[pass].dim(0);
  if (rows < num_rows(pass)) return {0, rows};
  return GroupShare{tensor.rank(), tensor.size()}.part(rows);
}

Tensor CalibrationPasses::output(Context& ctx, int place, size_t pass) {
  const std::vector<int>& placement = model_.placement();
  const auto stage = std::ranges::upper_bound(placement, place) - placement.begin() - 1;
  Stage& chunk = model_.part().chunks[static_cast<size_t>(stage / pipeline_.size())];
  const auto layer = static_cast<size_t>(place - placement[static_cast<size_t>(stage)]);
  return chunk.infer_layer(ctx, batches_[pass], states_[pass], layer);
}

void CalibrationPasses::forward(Context& ctx, int place, bool keep) {
  for (size_t p = 0; p < batches_.size(); ++p) {
    Tensor made = output(ctx, place, p);
    if (keep) states_[p] = std::move(made);
  }
}

}  // namespace trireme
