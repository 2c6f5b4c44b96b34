#include "models/inference/exit_pass.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "models/inference/draw_tokens.h"
#include "models/inference/row_scores.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/permute.h"

namespace trireme {

ExitPass::ExitPass(Context& ctx, CachedModel& model, std::span<const SequenceChunk> chunks)
    : ctx_(ctx), model_(model), chunks_(chunks) {
  for (size_t i = 0; i < chunks.size(); ++i) {
    const int64_t count = std::ssize(chunks[i].tokens);
    for (int64_t offset = 0; offset < count; ++offset) {
      Row row{.chunk = i, .offset = offset};
      if (offset >= count - chunks[i].num_logits) row.logit = num_logits_++;
      row.may_leave = offset >= count - chunks[i].num_leaving;
      going_.rows.push_back(row);
    }
  }
}

// Rows of a sequence are at consecutive places: where some are left out a new one begins.
std::vector<SequenceChunk> ExitPass::runs(std::span<const Row> rows) const {
  std::vector<SequenceChunk> runs;
  for (size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    const Row& first = rows[begin];
    for (end = begin + 1; end < rows.size(); ++end) {
      if (rows[end].chunk != first.chunk || rows[end].offset != rows[end - 1].offset + 1) break;
    }
    const SequenceChunk& whole = chunks_[first.chunk];
    runs.push_back({.tokens = whole.tokens.subspan(static_cast<size_t>(first.offset), end - begin),
                    .start = whole.start + first.offset,
                    .blocks = whole.blocks});
  }
  return runs;
}

ExitPass::Rows ExitPass::taken(const Rows& from, std::span<const int32_t> which) const {
  Rows out;
  for (const int32_t row : which) out.rows.push_back(from.rows[static_cast<size_t>(row)]);
  if (which.size() == from.rows.size()) {
    out.x = from.x;
  } else if (!which.empty()) {
    const auto count = std::ssize(which);
    const std::vector<int32_t> slots(which.begin(), which.end());
    out.x = Tensor::empty(ctx_, {count, from.x.dim(1)}, from.x.dtype());
    ops::combine_rows(ctx_, from.x, ops::to_device(ctx_, slots, {count, 1}), {}, out.x);
  }
  return out;
}

void ExitPass::append(Context& ctx, Rows& to, Rows more) {
  if (more.rows.empty()) return;
  if (to.rows.empty()) return (void)(to = std::move(more));
  const int64_t before = to.x.dim(0), count = before + more.x.dim(0);
  const Tensor all = Tensor::empty(ctx, {count, to.x.dim(1)}, to.x.dtype());
  ops::copy(ctx, to.x, all.slice(0, before));
  ops::copy(ctx, more.x, all.slice(before, count));
  to.x = all;
  to.rows.insert(to.rows.end(), more.rows.begin(), more.rows.end());
}

// 1 for each row whose likeliest token is likely enough. Damaged logits are never: the last block's say so.
std::vector<int32_t> ExitPass::confident(const Tensor& logits) const {
  std::vector<int32_t> leaves(static_cast<size_t>(logits.dim(0)));
  if (model_.first_.is_this()) {
    const HostLogits rows(ctx_, logits, logits.dim(1));
    for_each_row(ctx_, logits.dim(0), [&](int64_t i) {
      const ops::cpu::LargestLogit largest = ops::cpu::largest_logit(rows.row(i));
      if (!largest.is_sound) return;
      const double likely = RowScores(rows.row(i)).log_probability(static_cast<int32_t>(largest.index));
      leaves[static_cast<size_t>(i)] = std::exp(likely) > model_.options_.exit.confidence ? 1 : 0;
    });
  }
  model_.first_.share(ctx_, leaves);
  return leaves;
}

void ExitPass::keep_logits(const Tensor& logits, std::span<const int64_t> to) {
  const bool are_all = std::ssize(to) == num_logits_ && std::ranges::count(to, -1) == 0;
  if (are_all) return (void)(logits_ = logits);  // they are in order
  if (!logits_) logits_ = Tensor::empty(ctx_, {num_logits_, logits.dim(1)}, DType::f32);
  for (int64_t i = 0; i < std::ssize(to); ++i) {
    const int64_t at = to[static_cast<size_t>(i)];
    if (at >= 0) ops::copy(ctx_, logits.slice(i, i + 1), logits_.slice(at, at + 1));
  }
}

void ExitPass::leave(int64_t exit) {
  std::vector<int32_t> asked, stays, leaves;
  for (size_t i = 0; i < going_.rows.size(); ++i) {
    if (going_.rows[i].may_leave) asked.push_back(static_cast<int32_t>(i));
  }
  if (asked.empty()) return;
  const Tensor logits = model_.head(ctx_, taken(going_, asked).x);
  const std::vector<int32_t> is_confident = confident(logits);
  std::vector<int64_t> to(asked.size(), -1);
  std::vector<char> goes(going_.rows.size(), 0);
  bool has_asked = false;
  for (size_t i = 0; i < asked.size(); ++i) {
    if (is_confident[i] == 0) continue;
    const auto row = static_cast<size_t>(asked[i]);
    to[i] = going_.rows[row].logit;
    has_asked = has_asked || to[i] >= 0;
    goes[row] = 1;
    ++model_.exit_counts_.rows;
    model_.exit_counts_.blocks += exit;
  }
  if (has_asked) keep_logits(logits, to);
  for (size_t i = 0; i < goes.size(); ++i) (goes[i] != 0 ? leaves : stays).push_back(static_cast<int32_t>(i));
  append(ctx_, left_, taken(going_, leaves));
  going_ = taken(going_, stays);
}

Tensor ExitPass::logits() {
  int64_t at = 0;
  const std::vector<int64_t>& exits = model_.options_.exit.exits;
  const int64_t all = model_.model_.spec().num_blocks();
  for (size_t i = 0; i <= exits.size(); ++i) {
    const int64_t next = i < exits.size() ? exits[i] : all;
    if (!left_.rows.empty()) model_.store(ctx_, runs(left_.rows), left_.x, at, next);
    if (!going_.rows.empty()) going_.x = model_.streams(ctx_, runs(going_.rows), going_.x, at, next);
    if (i < exits.size()) leave(next);
    at = next;
  }
  std::vector<int32_t> asked;
  std::vector<int64_t> to;
  for (size_t i = 0; i < going_.rows.size(); ++i) {
    const Row& row = going_.rows[i];
    if (row.may_leave) ++model_.exit_counts_.rows, model_.exit_counts_.blocks += all;
    if (row.logit < 0) continue;
    asked.push_back(static_cast<int32_t>(i));
    to.push_back(row.logit);
  }
  if (!asked.empty()) keep_logits(model_.head(ctx_, taken(going_, asked).x), to);
  if (!logits_) logits_ = Tensor::empty(ctx_, {0, model_.model_.spec().vocab_size}, DType::f32);
  return logits_;
}

}  // namespace trireme
