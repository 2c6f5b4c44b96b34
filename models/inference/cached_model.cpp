#include "models/inference/cached_model.h"

#include <algorithm>
#include <numeric>

#include "models/inference/exit_pass.h"
#include "models/inference/sequence.h"
#include "models/spec/describe_parameters.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

namespace {

Tensor logits_in_f32(Context& ctx, const Tensor& logits) {
  if (logits.dtype() == DType::f32) return logits;
  const Tensor wide = Tensor::empty(ctx, logits.shape(), DType::f32);
  if (logits.numel() > 0) ops::copy(ctx, logits, wide);
  return wide;
}

}  // namespace

void CachedModel::HostRows::clear() {
  for (auto* rows : {&tokens, &positions, &sequences, &logit_rows, &tables}) rows->clear();
  table_width = 0;
}

CachedModel::CachedModel(Context& ctx, const ParallelContext& parallel, Transformer& model,
                         const CacheOptions& options)
    : model_(model), options_(options), first_(parallel), paged_(std::make_shared<PagedBatch>()) {
  if (parallel.context().size() > 1) {
    throw_usage(
        "parallel.context is {}: generation caches keys and values of whole sequences; allowed: 1 (tensor, "
        "pipeline and expert parallelism divide them)",
        parallel.context().size());
  }
  expect_exits(parallel);
  const ModelSpec& spec = model.spec();
  const std::vector<int>& placement = model.placement();
  const Communicator& pipeline = parallel.pipeline();
  const GroupShare tensor{parallel.tensor().rank(), parallel.tensor().size()};
  const DType dtype = model.part().boundary.dtype;
  paged_->blocks.resize(spec.blocks.size());
  paged_->inputs.resize(spec.blocks.size());
  for (int chunk = 0; chunk < parallel.plan().virtual_stages; ++chunk) {
    const auto stage = static_cast<size_t>(chunk * pipeline.size() + pipeline.rank());
    for (int place = placement[stage]; place < placement[stage + 1]; ++place) {
      if (place == 0 || place > spec.num_blocks()) continue;  // the embedding, the head
      const auto index = static_cast<size_t>(place - 1);
      if (const auto& convolution = spec.blocks[index].convolution) {
        const int64_t width = tensor.part(convolution->width).size();
        paged_->inputs[index] = Tensor::empty(ctx, {options.num_blocks, options.block_tokens, width}, dtype,
                                              MemoryCategory::buffers);
        block_bytes_ += options.block_tokens * width * static_cast<int64_t>(size_of(dtype));
        continue;
      }
      const AttentionSpec& attention = spec.blocks[index].attention;
      const int64_t heads = kv_heads_of_rank(attention, tensor).size();
      paged_->blocks[index] = ops::make_key_value_blocks(ctx, options.num_blocks, heads, attention.head_dim,
                                                         options.block_tokens, dtype, options.type);
      block_bytes_ +=
          ops::key_value_block_bytes(heads, attention.head_dim, options.block_tokens, dtype, options.type);
    }
  }
}

void CachedModel::expect_exits(const ParallelContext& parallel) const {
  if (options_.exit.confidence <= 0) return;
  if (parallel.plan().pipeline > 1) {
    throw_usage(
        "parallel.pipeline is {}: rows leave at exits where all blocks and the head are on every rank; "
        "allowed: 1 (tensor and expert parallelism divide the model), or no exits",
        parallel.plan().pipeline);
  }
  int64_t before = 0;
  for (const int64_t exit : options_.exit.exits) {
    TRIREME_CHECK(exit > before && exit < model_.spec().num_blocks(), "an exit after {} blocks of {}", exit,
                  model_.spec().num_blocks());
    before = exit;
  }
}

void CachedModel::expect(const SequenceChunk& chunk) const {
  const int64_t count = std::ssize(chunk.tokens), end = chunk.start + count;
  TRIREME_CHECK(count > 0 && chunk.start >= 0 && end <= model_.max_seq_len(),
                "{} tokens from place {} on, where {} are the most", count, chunk.start,
                model_.max_seq_len());
  TRIREME_CHECK(std::ssize(chunk.blocks) * options_.block_tokens >= end,
                "{} blocks of {} tokens for {} tokens", chunk.blocks.size(), options_.block_tokens, end);
  const auto [least, most] = std::ranges::minmax(chunk.blocks);
  TRIREME_CHECK(least >= kNoBlock && most < options_.num_blocks, "blocks {} to {} of {}", least, most,
                options_.num_blocks);
  TRIREME_CHECK(chunk.num_logits >= 0 && chunk.num_logits <= count && chunk.num_leaving >= 0 &&
                    chunk.num_leaving <= count,
                "logits of {} and exits of {} of {} tokens", chunk.num_logits, chunk.num_leaving, count);
}

void CachedModel::lay_out(std::span<const SequenceChunk> chunks) {
  host_.clear();
  ops::PagedRows& rows = paged_->rows;
  rows.starts.assign(1, 0);
  rows.lengths.clear();
  for (const SequenceChunk& chunk : chunks) {
    expect(chunk);
    const auto sequence = static_cast<int32_t>(rows.lengths.size());
    const int64_t count = std::ssize(chunk.tokens), end = chunk.start + count;
    host_.tokens.insert(host_.tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
    host_.sequences.insert(host_.sequences.end(), chunk.tokens.size(), sequence);
    for (int64_t place = chunk.start; place < end; ++place)
      host_.positions.push_back(static_cast<int32_t>(place));
    const int64_t num_rows = std::ssize(host_.tokens);
    for (int64_t row = num_rows - chunk.num_logits; row < num_rows; ++row)
      host_.logit_rows.push_back(static_cast<int32_t>(row));
    rows.starts.push_back(static_cast<int32_t>(num_rows));
    rows.lengths.push_back(static_cast<int32_t>(end));
    host_.table_width =
        std::max(host_.table_width, (end + options_.block_tokens - 1) / options_.block_tokens);
  }
  const auto width = static_cast<size_t>(host_.table_width);
  for (const SequenceChunk& chunk : chunks) {
    const auto used = chunk.blocks.first(std::min(chunk.blocks.size(), width));
    host_.tables.insert(host_.tables.end(), used.begin(), used.end());
    host_.tables.insert(host_.tables.end(), width - used.size(), 0);
  }
}

TokenBatch CachedModel::batch(Context& ctx) {
  // Memory of the host is read where it lies; all that reads it is done when the pass is.
  const auto on_device = [&](std::vector<int32_t>& values, const Shape& shape) {
    return ctx.device().type == DeviceType::cpu && !values.empty()
               ? Tensor::borrow(values.data(), shape, DType::i32)
               : ops::to_device(ctx, values, shape);
  };
  const int64_t count = std::ssize(host_.tokens);
  ops::PagedRows& rows = paged_->rows;
  rows.block_tables = on_device(host_.tables, {rows.num_sequences(), host_.table_width});
  rows.sequences = on_device(host_.sequences, {count});
  rows.places = on_device(host_.positions, {count});
  paged_->logit_rows = on_device(host_.logit_rows, {std::ssize(host_.logit_rows)});
  TokenBatch batch;
  batch.batch = 1;
  batch.seq_len = count;
  batch.tokens = on_device(host_.tokens, {count});
  batch.positions = rows.places;
  batch.paged = paged_;
  batch.training = false;
  return batch;
}

Tensor CachedModel::logits(Context& ctx, std::span<const SequenceChunk> chunks) {
  TRIREME_CHECK(!chunks.empty(), "a pass over no tokens");
  const auto leaves = [](const SequenceChunk& chunk) { return chunk.num_leaving > 0; };
  if (options_.exit.confidence > 0 && std::ranges::any_of(chunks, leaves))
    return ExitPass(ctx, *this, chunks).logits();
  lay_out(chunks);
  return logits_in_f32(ctx, model_.logits(ctx, batch(ctx)));
}

Tensor CachedModel::streams(Context& ctx, std::span<const SequenceChunk> chunks, const Tensor& x,
                            int64_t first, int64_t last) {
  lay_out(chunks);
  return model_.streams(ctx, batch(ctx), x, first, last);
}

void CachedModel::store(Context& ctx, std::span<const SequenceChunk> chunks, const Tensor& x, int64_t first,
                        int64_t last) {
  if (first == last) return;
  lay_out(chunks);
  model_.store(ctx, batch(ctx), x, first, last);
}

Tensor CachedModel::head(Context& ctx, const Tensor& x) {
  // Of all rows: which ones they are is not looked at.
  host_.logit_rows.resize(static_cast<size_t>(x.dim(0)));
  std::iota(host_.logit_rows.begin(), host_.logit_rows.end(), 0);
  paged_->logit_rows = Tensor::borrow(host_.logit_rows.data(), {x.dim(0)}, DType::i32);
  TokenBatch batch;
  batch.batch = 1;
  batch.seq_len = x.dim(0);
  batch.paged = paged_;
  batch.training = false;
  return logits_in_f32(ctx, model_.logits_of_streams(ctx, batch, x));
}

void CachedModel::copy_blocks(Context& ctx, const std::vector<int32_t>& from,
                              const std::vector<int32_t>& to) {
  for (const ops::KeyValueBlocks& blocks : paged_->blocks) {
    if (blocks.keys) ops::copy_blocks(ctx, blocks, from, to);
  }
  for (const Tensor& inputs : paged_->inputs) {
    for (size_t i = 0; inputs && i < from.size(); ++i)
      ops::copy(ctx, inputs.slice(from[i], from[i] + 1), inputs.slice(to[i], to[i] + 1));
  }
}

}  // namespace trireme
