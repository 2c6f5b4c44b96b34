// Sequences of drawn queries, keys and values in a cache of blocks, for tests of paged attention.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "runtime/ops/attention/attention.h"
#include "runtime/ops/attention/paged_attention.h"
#include "runtime/ops/host_copy.h"
#include "tests/support/tensors.h"

namespace trireme::test {

/// One sequence: [length, columns of q, k and v side by side with others between].
struct PagedSequence {
  Tensor qkv;
  std::vector<float> values;  // of qkv
  int64_t heads = 0, kv_heads = 0, head_dim = 0;

  PagedSequence(Context& ctx, const ops::PagedShape& s, int64_t length, DType dtype, uint64_t seed)
      : qkv(random_tensor(ctx, {length, 3 + (s.num_heads + 2 * s.num_kv_heads) * s.head_dim}, dtype, seed)),
        values(to_vector(qkv)),
        heads(s.num_heads),
        kv_heads(s.num_kv_heads),
        head_dim(s.head_dim) {}

  int64_t length() const { return qkv.dim(0); }
  ops::Columns q() const { return {qkv, 1, heads * head_dim}; }
  ops::Columns k() const { return {qkv, 2 + heads * head_dim, kv_heads * head_dim}; }
  ops::Columns v() const { return {qkv, 3 + (heads + kv_heads) * head_dim, kv_heads * head_dim}; }
};

/// What ops::attention gives for the whole sequence: [length, heads * head_dim].
inline Tensor whole_attention(Context& ctx, const ops::PagedShape& s, const PagedSequence& sequence) {
  const int64_t n = sequence.length();
  ops::AttentionShape shape{1, n, n, s.num_heads, s.num_kv_heads, s.head_dim, s.scale};
  shape.window = s.window;
  shape.soft_cap = s.soft_cap;
  shape.pattern = s.pattern;
  const Tensor out = Tensor::empty(ctx, {n, s.num_heads * s.head_dim}, sequence.qkv.dtype());
  const Tensor lse = Tensor::empty(ctx, {1, s.num_heads, n}, DType::f32);
  ops::attention(ctx, shape, sequence.q(), sequence.k(), sequence.v(), out, lse);
  return out;
}

/// The next `count` rows of a sequence, of which the cache has `before`.
struct PagedPiece {
  size_t sequence;
  int64_t before, count;
};

/// A cache in which the sequences' blocks lie in a drawn order.
class PagedCache {
 public:
  PagedCache(Context& ctx, const ops::PagedShape& s, const std::vector<PagedSequence>& sequences,
             int64_t block_tokens, ops::CacheType type, uint64_t seed)
      : ctx_(ctx), s_(s), sequences_(sequences), block_tokens_(block_tokens) {
    int64_t used = 0;
    for (const PagedSequence& sequence : sequences) {
      used += blocks_of(sequence.length());
      width_ = std::max(width_, blocks_of(sequence.length()) + 1);
    }
    std::vector<int32_t> numbers(static_cast<size_t>(used + 2));
    std::iota(numbers.begin(), numbers.end(), 0);
    std::shuffle(numbers.begin(), numbers.end(), std::mt19937_64(seed));
    for (const PagedSequence& sequence : sequences) {
      tables_.emplace_back(static_cast<size_t>(width_), -1);
      for (int64_t i = 0; i < blocks_of(sequence.length()); ++i) {
        tables_.back()[static_cast<size_t>(i)] = numbers.back();
        numbers.pop_back();
      }
    }
    blocks = ops::make_key_value_blocks(ctx, used + 2, s.num_kv_heads, s.head_dim, block_tokens,
                                        sequences[0].qkv.dtype(), type);
    for (const Tensor* t : {&blocks.keys, &blocks.values, &blocks.key_scales, &blocks.value_scales}) {
      if (*t) write(bytes_of(*t), std::vector<uint8_t>(static_cast<size_t>(t->bytes()), 0xff));
    }
  }

  /// Stores the pieces' keys and values and attends to them: [rows of all pieces, heads * head_dim].
  Tensor step(const std::vector<PagedPiece>& pieces) { return step(ctx_, pieces); }
  Tensor step(Context& ctx, const std::vector<PagedPiece>& pieces) {
    ops::store_keys_values(ctx, rows_of(pieces), gather(pieces, &PagedSequence::k),
                           gather(pieces, &PagedSequence::v), blocks);
    return attend(ctx, pieces);
  }
  /// The same of what has been stored.
  Tensor attend(const std::vector<PagedPiece>& pieces) { return attend(ctx_, pieces); }
  Tensor attend(Context& ctx, const std::vector<PagedPiece>& pieces) {
    const ops::PagedRows rows = rows_of(pieces);
    const ops::Columns q = gather(pieces, &PagedSequence::q);
    const Tensor out = Tensor::empty(ctx, {rows.num_rows(), q.count}, q.dtype());
    ops::paged_attention(ctx, s_, rows, q, blocks, out);
    return out;
  }

  ops::PagedRows rows_of(const std::vector<PagedPiece>& pieces) {
    ops::PagedRows rows;
    std::vector<int32_t> tables, sequences, places;
    rows.starts = {0};
    for (size_t i = 0; i < pieces.size(); ++i) {
      const PagedPiece& p = pieces[i];
      std::vector<int32_t> table = tables_[p.sequence];
      for (size_t block = 0; block < table.size(); ++block) {  // what nobody sees any more is given back
        const int64_t first = static_cast<int64_t>(block) * block_tokens_, last = first + block_tokens_ - 1;
        if (ops::next_seeing(s_.pattern, s_.window, first, last, p.before) == ops::kNoPlace)
          table[block] = -1;
      }
      tables.insert(tables.end(), table.begin(), table.end());
      for (int64_t r = 0; r < p.count; ++r) {
        sequences.push_back(static_cast<int32_t>(i));
        places.push_back(static_cast<int32_t>(p.before + r));
      }
      rows.starts.push_back(static_cast<int32_t>(places.size()));
      rows.lengths.push_back(static_cast<int32_t>(p.before + p.count));
    }
    const auto n = static_cast<int64_t>(places.size());
    rows.block_tables = ops::to_device(ctx_, tables, {static_cast<int64_t>(pieces.size()), width_});
    rows.sequences = ops::to_device(ctx_, sequences, {n});
    rows.places = ops::to_device(ctx_, places, {n});
    return rows;
  }

  const std::vector<int32_t>& table(size_t sequence) const { return tables_[sequence]; }

  /// Another block for the `i`-th of a sequence.
  void replace(size_t sequence, size_t i, int32_t block) { tables_[sequence][i] = block; }

  ops::KeyValueBlocks blocks;

 private:
  int64_t blocks_of(int64_t length) const { return (length + block_tokens_ - 1) / block_tokens_; }
  static Tensor bytes_of(const Tensor& t) {
    return Tensor::borrow(t.raw(), {t.bytes()}, DType::u8, t.device());
  }

  /// Their columns of the pieces' rows, NaN beside them.
  ops::Columns gather(const std::vector<PagedPiece>& pieces, ops::Columns (PagedSequence::*columns)() const) {
    std::vector<float> values;
    int64_t rows = 0;
    for (const PagedPiece& p : pieces) {
      const ops::Columns c = (sequences_[p.sequence].*columns)();
      const std::vector<float>& all = sequences_[p.sequence].values;
      for (int64_t r = p.before; r < p.before + p.count; ++r, ++rows) {
        const auto begin = all.begin() + r * c.stride() + c.begin;
        values.insert(values.end(), begin, begin + c.count);
      }
    }
    const int64_t width = rows == 0 ? 0 : static_cast<int64_t>(values.size()) / rows;
    return widened(ctx_, make_tensor(ctx_, {rows, width}, sequences_[0].qkv.dtype(), values), 3, 2);
  }

  Context& ctx_;
  ops::PagedShape s_;
  const std::vector<PagedSequence>& sequences_;
  int64_t block_tokens_, width_ = 0;
  std::vector<std::vector<int32_t>> tables_;
};

}  // namespace trireme::test
