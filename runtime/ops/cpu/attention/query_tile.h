// Some queries of one key/value head against its keys and values, in a fixed order of places, which training
// and the paged cache share: the bits of a query's output depend on the query and on the keys and values it
// sees, and on neither the other queries nor how keys come in pieces.
#pragma once

#include <array>
#include <cmath>
#include <limits>

#include "runtime/ops/cpu/attention/attention_kernels.h"
#include "runtime/ops/cpu/attention/attention_rows.h"
#include "runtime/ops/cpu/attention/attention_tiles.h"
#include "runtime/ops/cpu/attention/sparse_keys.h"

namespace trireme::ops::cpu {

/// First score() with all keys that are seen, then weigh() for each query, then add_values() with all the
/// values, in order of place, then finish() for each query. Under a pattern the groups of keys that no query
/// sees are left out, and places are those of the others side by side; what is left out, as what is hidden,
/// changes no bit.
class QueryTile {
 public:
  using KeyRange = attention_tiles::KeyRange;
  using Tile = attention_tiles::Tile;
  using Scratch = attention_tiles::Scratch;
  static constexpr int64_t kMostRows = attention_tiles::kBlock;

  /// Of at most `most_rows` queries, kMostRows or fewer, that see keys within a range of `most_keys` places;
  /// takes attention_tile_floats().
  QueryTile(int64_t most_rows, int64_t head_dim, int64_t most_keys, Scratch& scratch)
      : kernels_(attention_kernels()), head_dim_(head_dim) {
    const int64_t stride = score_stride(most_keys + kLanes), width = padded_head(head_dim);
    scores_ = {scratch.take(most_rows * stride), stride};
    queries_ = {scratch.take(most_rows * head_dim), head_dim};
    out_ = {scratch.take(most_rows * width), width};
  }
  /// Columns of a head's outputs, and of values that are to be read in whole vectors.
  static int64_t padded_head(int64_t head_dim) { return aligned_end(head_dim); }

  /// Begins with other queries, which are to be written to query(i) and given their keys by see().
  void begin(int64_t rows) {
    rows_ = rows;
    masks_.fill(nullptr);
    attention_tiles::set_zero(out_, rows, out_.stride);
  }
  float* query(int64_t i) const { return queries_.row(i); }
  /// In order of i; neither end falls from one query to the next.
  void see(int64_t i, const KeyRange& keys) {
    if (i == 0) origin_ = aligned_begin(keys.begin);
    add_range(i, keys);
  }
  /// Under a pattern, all queries; the masks outlive the tile's use.
  void see(int64_t i, const SparseRow& row) {
    origin_ = 0;
    masks_[static_cast<size_t>(i)] = row.masks;
    add_range(i, row.keys);
  }
  /// From the first to the last key that one of the queries sees.
  KeyRange seen() const {
    KeyRange all = groups_[0];
    for (int64_t row = kGroup; row < rows_; row += kGroup) all = together(all, group_range(row));
    return all;
  }

  /// Keys at the places `within`, of groups the first of which begins at `place`; all begin at multiples of
  /// kTokenGroup.
  template <class B>
  void score(const TokenGroups<B>& keys, int64_t place, const KeyRange& within) const {
    for_each_piece(within, [&](int64_t row, int64_t rows, const KeyRange& seen) {
      const int64_t first = aligned_begin(seen.begin);
      kernels_.of(B()).score({rows, queries_.row(row), queries_.stride, keys, first - place,
                              aligned_end(seen.end) - place, head_dim_, at(row, first), scores_.stride});
    });
  }
  /// Multiplies the scores of these keys by a factor for each of them, or their weights after weigh().
  void scale(const float* factors, int64_t place, int64_t count) const {
    for_each_group(place, count, [&](int64_t row, int64_t rows, const KeyRange& keys) {
      for (int64_t i = row; i < row + rows; ++i) {
        attention_rows::multiply_by(at(i, keys.begin), factors + keys.begin - place, keys.size());
      }
    });
  }

  /// Turns the scores of query i into exponents; returns the log of their sum.
  float weigh(int64_t i, float soft_cap) {
    const KeyRange own = range(i), all = group_range(i);
    const int64_t begin = aligned_begin(own.begin);
    if (own.size() == 0) {
      if (all.size() > 0) std::fill_n(at(i, all.begin), all.size(), 0.0f);
      inverse_sums_[static_cast<size_t>(i)] = 0;
      return -std::numeric_limits<float>::infinity();
    }
    float* row = at(i, begin);
    float max = 0;
    if (soft_cap > 0) attention_rows::soft_cap(row, own.end - begin, soft_cap);
    if (const uint16_t* masks = masks_[static_cast<size_t>(i)]) {
      attention_rows::hide(row, masks + begin / kLanes, (aligned_end(own.end) - begin) / kLanes,
                           -std::numeric_limits<float>::infinity());
    }
    const float sum = attention_rows::exponentials(row, own.begin - begin, own.end - begin, max);
    std::fill(at(i, all.begin), at(i, own.begin), 0.0f);
    std::fill(at(i, own.end), at(i, std::max(own.end, all.end)), 0.0f);
    inverse_sums_[static_cast<size_t>(i)] = 1.0f / sum;
    return max + std::log(sum);
  }

  /// The same of values, of each `columns` columns, which are those from `first` on of the head's; all of
  /// them may be as many as padded_head() says.
  template <class B>
  void add_values(const TokenGroups<B>& values, int64_t place, const KeyRange& within, int64_t first,
                  int64_t columns) const {
    for_each_piece(within, [&](int64_t row, int64_t rows, const KeyRange& seen) {
      kernels_.of(B()).add_values({rows, at(row, seen.begin), scores_.stride, values, seen.begin - place,
                                   seen.end - place, columns, out_.row(row) + first, out_.stride});
    });
  }
  /// The output of query i, once all values have been added.
  const float* finish(int64_t i) const {
    attention_rows::multiply(out_.row(i), head_dim_, inverse_sums_[static_cast<size_t>(i)]);
    return out_.row(i);
  }

 private:
  static constexpr int64_t kLanes = kTokenGroup;
  static_assert(kLanes == attention_rows::kLanes);
  // Queries that are multiplied together by what one of them sees: fewer waste less beside the diagonal.
  static constexpr int64_t kGroup = 16;
  static constexpr int64_t kPieceGroups = 4;

  static int64_t aligned_begin(int64_t n) { return n / kLanes * kLanes; }
  static int64_t aligned_end(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }
  const KeyRange& range(int64_t i) const { return seen_[static_cast<size_t>(i)]; }
  const KeyRange& group_range(int64_t i) const { return groups_[static_cast<size_t>(i / kGroup)]; }
  static KeyRange together(const KeyRange& a, const KeyRange& b) {
    if (a.size() == 0 || b.size() == 0) return a.size() == 0 ? b : a;
    return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
  }
  void add_range(int64_t i, const KeyRange& keys) {
    seen_[static_cast<size_t>(i)] = keys;
    KeyRange& group = groups_[static_cast<size_t>(i / kGroup)];
    group = i % kGroup == 0 ? keys : together(group, keys);
  }
  float* at(int64_t i, int64_t place) const { return scores_.row(i) + place - origin_; }

  // The same for some groups after the other, which the innermost cache has room for.
  template <class Body>
  void for_each_piece(const KeyRange& within, Body&& body) const {
    constexpr int64_t kPiece = kPieceGroups * kTokenGroup;
    const KeyRange all = seen();
    const int64_t end = std::min(all.end, within.end);
    for (int64_t first = std::max(aligned_begin(all.begin), within.begin); first < end; first += kPiece) {
      for_each_group(first, std::min(kPiece, within.end - first), body);
    }
  }

  // Calls body(first row, rows, keys) for the groups that see keys in [place, place + count), with those.
  template <class Body>
  void for_each_group(int64_t place, int64_t count, Body&& body) const {
    for (int64_t row = 0; row < rows_; row += kGroup) {
      const KeyRange& all = group_range(row);
      const KeyRange keys{std::max(all.begin, place), std::min(all.end, place + count)};
      if (keys.begin >= keys.end) continue;
      const int64_t rows = std::min(kGroup, rows_ - row);
      if (masks_[0] == nullptr)
        body(row, rows, keys);
      else
        for_each_run(row, rows, keys, body);
    }
  }

  // The same under a pattern, with the keys of groups of which one of the rows sees some.
  template <class Body>
  void for_each_run(int64_t row, int64_t rows, const KeyRange& keys, Body&& body) const {
    const auto is_seen = [&](int64_t key) {
      uint32_t any = 0;
      for (int64_t i = row; i < row + rows; ++i) any |= masks_[static_cast<size_t>(i)][key / kLanes];
      return any != 0;
    };
    for (int64_t key = aligned_begin(keys.begin); key < keys.end; key += kLanes) {
      if (!is_seen(key)) continue;
      const int64_t begin = std::max(key, keys.begin);
      while (key + kLanes < keys.end && is_seen(key + kLanes)) key += kLanes;
      body(row, rows, KeyRange{begin, std::min(key + kLanes, keys.end)});
    }
  }

  const AttentionKernels& kernels_;
  int64_t head_dim_, rows_ = 0, origin_ = 0;
  Tile scores_, queries_, out_;
  std::array<KeyRange, kMostRows> seen_{};
  std::array<KeyRange, (kMostRows + kGroup - 1) / kGroup> groups_{};  // what the queries of each see
  std::array<const uint16_t*, kMostRows> masks_{};
  std::array<float, kMostRows> inverse_sums_{};
};

}  // namespace trireme::ops::cpu
