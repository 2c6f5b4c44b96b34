// A cache in blocks that holds whole sequences, and what attention to it should be, in double precision.
#pragma once

#include <algorithm>
#include <numeric>

#include "runtime/ops/attention/paged_attention.h"
#include "tests/runtime/ops/op_test.h"

namespace trireme::test::paged_device {

using ops::CacheType;
using ops::Columns;
using ops::KeyValueBlocks;
using ops::PagedRows;
using ops::PagedShape;

/// How many tokens a sequence has, and how many of the last of them are rows of the batch.
struct SequenceOf {
  int32_t length, rows;
};

struct PagedCase {
  std::string name;
  PagedShape shape;
  int64_t block_tokens;
  CacheType type;
  std::vector<SequenceOf> sequences;
};

/// A cache that holds whole sequences, whose keys and values are known.
class Cache {
 public:
  Cache(Context& ctx, const PagedCase& c, DType dtype, uint64_t seed) : ctx_(ctx), c_(c), dtype_(dtype) {
    int64_t width = 1, num_blocks = 1;
    for (const SequenceOf& s : c.sequences) {
      const int64_t blocks = (s.length + c.block_tokens - 1) / c.block_tokens;
      width = std::max(width, blocks);
      num_blocks += blocks;
    }
    // Block 0 is nobody's at first; the others are taken from the last one down, sequences in turn.
    auto next = static_cast<int32_t>(num_blocks);
    for (const SequenceOf& s : c.sequences) {
      std::vector<int32_t> table(static_cast<size_t>(width), -1);
      for (int64_t i = 0; i < s.length; i += c.block_tokens) {
        table[static_cast<size_t>(i / c.block_tokens)] = --next;
      }
      tables_.push_back(std::move(table));
    }
    const int64_t kv_width = c.shape.num_kv_heads * c.shape.head_dim,
                  q_width = c.shape.num_heads * c.shape.head_dim;
    for (const SequenceOf& s : c.sequences) {
      keys_.push_back(random_tensor(ctx, {s.length, kv_width}, dtype, ++seed));
      values_.push_back(random_tensor(ctx, {s.length, kv_width}, dtype, ++seed));
      queries_.push_back(random_tensor(ctx, {s.length, q_width}, dtype, ++seed, 2));
    }
    blocks_ = make_key_value_blocks(ctx, num_blocks, c.shape.num_kv_heads, c.shape.head_dim, c.block_tokens,
                                    dtype, c.type);
    fill_with_ones();
    for (size_t i = 0; i < c.sequences.size(); ++i) store(i);
  }

  /// Rows [first, first + count) of the sequences named, as one batch.
  struct Part {
    size_t sequence;
    int32_t first, count;
  };
  Tensor attend(const std::vector<Part>& parts) const {
    const PagedRows rows = rows_of(parts);
    std::vector<Tensor> queries;
    for (const Part& p : parts) queries.push_back(queries_[p.sequence].slice(p.first, p.first + p.count));
    const Tensor q = below_each_other(queries);
    const Tensor out = Tensor::empty(ctx_, q.shape(), dtype_);
    // 16-byte vectors reach the rows where they can.
    paged_attention(ctx_, c_.shape, rows, widened(ctx_, q, 8, 16), blocks_, out);
    return out;
  }

  /// What the rows of a sequence should be, in double precision.
  std::vector<double> expected(const Part& part) const;

  /// Copies the sequence's last block to block 0, and uses that.
  void move_last_block(size_t sequence) {
    int32_t& last =
        tables_[sequence][static_cast<size_t>((c_.sequences[sequence].length - 1) / c_.block_tokens)];
    copy_blocks(ctx_, blocks_, {last}, {0});
    last = 0;
  }

 private:
  /// Numbers that would show where they are taken for keys.
  void fill_with_ones() {
    for (const Tensor& t : {blocks_.keys, blocks_.values, blocks_.key_scales, blocks_.value_scales}) {
      if (!t) continue;
      const std::vector<std::byte> bytes(static_cast<size_t>(t.bytes()), std::byte{0x41});
      copy_memory(t, t.raw(), bytes.data());
    }
  }
  Tensor below_each_other(const std::vector<Tensor>& parts) const {
    std::vector<float> all;
    for (const Tensor& t : parts) {
      const auto values = to_vector(t);
      all.insert(all.end(), values.begin(), values.end());
    }
    const int64_t width = parts.front().dim(1);
    return make_tensor(ctx_, {static_cast<int64_t>(all.size()) / width, width}, dtype_, all);
  }
  PagedRows rows_of(const std::vector<Part>& parts) const {
    PagedRows rows;
    std::vector<int32_t> tables, sequences, places;
    rows.starts = {0};
    for (const Part& p : parts) {
      const auto number = static_cast<int32_t>(rows.lengths.size());
      std::vector<int32_t> table = tables_[p.sequence];
      // What no row sees may be somebody else's.
      for (int64_t i = 0; is_stored_ && i < std::ssize(table); ++i) {
        const int64_t seeing = ops::next_seeing(c_.shape.pattern, c_.shape.window, i * c_.block_tokens,
                                                (i + 1) * c_.block_tokens - 1, p.first);
        if (seeing >= p.first + p.count) table[static_cast<size_t>(i)] = -1;
      }
      tables.insert(tables.end(), table.begin(), table.end());
      for (int32_t i = 0; i < p.count; ++i) {
        sequences.push_back(number);
        places.push_back(p.first + i);
      }
      rows.starts.push_back(rows.starts.back() + p.count);
      rows.lengths.push_back(p.first + p.count);
    }
    const auto n = static_cast<int64_t>(parts.size());
    rows.block_tables = make_indices(ctx_, tables).view({n, static_cast<int64_t>(tables.size()) / n});
    rows.sequences = make_indices(ctx_, sequences);
    rows.places = make_indices(ctx_, places);
    return rows;
  }
  void store(size_t sequence) {
    is_stored_ = false;
    const PagedRows rows = rows_of({{sequence, 0, c_.sequences[sequence].length}});
    store_keys_values(ctx_, rows, widened(ctx_, keys_[sequence], 3, 1),
                      widened(ctx_, values_[sequence], 8, 0), blocks_);
    is_stored_ = true;
  }
  /// Keys or values as the cache has them.
  std::vector<double> stored(const Tensor& t) const {
    const auto exact = to_vector(t);
    std::vector<double> values(exact.begin(), exact.end());
    if (c_.type == CacheType::plain) return values;
    const auto d = static_cast<size_t>(c_.shape.head_dim);
    for (size_t row = 0; row < values.size(); row += d) {
      double largest = 0;
      for (size_t i = row; i < row + d; ++i) largest = std::max(largest, std::abs(values[i]));
      for (size_t i = row; i < row + d; ++i)
        values[i] = std::nearbyint(values[i] / largest * 127) * largest / 127;
    }
    return values;
  }

  Context& ctx_;
  const PagedCase& c_;
  DType dtype_;
  KeyValueBlocks blocks_;
  std::vector<std::vector<int32_t>> tables_;
  std::vector<Tensor> keys_, values_, queries_;
  bool is_stored_ = false;
};

inline std::vector<double> Cache::expected(const Part& part) const {
  const PagedShape& s = c_.shape;
  const auto keys = stored(keys_[part.sequence]), values = stored(values_[part.sequence]);
  const auto queries = to_vector(queries_[part.sequence]);
  const int64_t d = s.head_dim, width = s.num_kv_heads * d;
  std::vector<double> out;
  for (int64_t place = part.first; place < part.first + part.count; ++place) {
    std::vector<int64_t> seen;
    for (int64_t key = 0; key <= place; ++key) {
      if (ops::sees(s.pattern, s.window, place, key)) seen.push_back(key);
    }
    for (int64_t head = 0; head < s.num_heads; ++head) {
      const int64_t of_kv = head / (s.num_heads / s.num_kv_heads) * d;
      std::vector<double> weights;
      for (const int64_t key : seen) {
        double dot = 0;
        for (int64_t i = 0; i < d; ++i) {
          dot += static_cast<double>(queries[static_cast<size_t>((place * s.num_heads + head) * d + i)]) *
                 keys[static_cast<size_t>(key * width + of_kv + i)];
        }
        const double score = dot * static_cast<double>(s.scale), cap = static_cast<double>(s.soft_cap);
        weights.push_back(std::exp(cap > 0 ? cap * std::tanh(score / cap) : score));
      }
      const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
      for (int64_t i = 0; i < d; ++i) {
        double sum = 0;
        for (size_t n = 0; n < seen.size(); ++n)
          sum += weights[n] * values[static_cast<size_t>(seen[n] * width + of_kv + i)];
        out.push_back(sum / total);
      }
    }
  }
  return out;
}

}  // namespace trireme::test::paged_device
