// KeyPattern: sparse attention, which keys a causal query sees beside those of its window, and how kernels go
// through them. Functions are constexpr, for kernels on devices too.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string>

namespace trireme::ops {

/// Places count from the first token of the query's document (AttentionShape::first_key, or the sequence's
/// beginning). A query at place i sees keys at places j <= i where one of these holds; several may be on:
///   window w:          i - j < w (AttentionShape::window; beside a pattern 0 means that there is none)
///   itself:            i == j
///   sinks s:           j < s (StreamingLLM, Xiao et al., arXiv 2309.17453; places stay what they are)
///   stride t, n keys:  (i - j) % t == 0 and (i - j) / t <= n; n 0: all of them (the strided pattern of
///                      Child et al., arXiv 1904.10509, equation for A^(2), bounded)
///   block b:           i / b == j / b, and of the `reach` blocks before (0: of all) the last `summary`
///   places
///                      (their "fixed" pattern; summary == b: whole blocks, which is block-sparse attention)
///   globals:           one of i and j is among them (global tokens, arXiv 2004.05150)
/// With bounded n and reach the work for n tokens is O(n (w + s + n keys + b + reach * summary + globals)).
struct KeyPattern {
  static constexpr int kMostGlobals = 16;
  static constexpr int64_t kMost = int64_t{1} << 30;  ///< of each number: no product of two overflows

  int64_t sinks = 0;
  int64_t stride = 0, stride_keys = 0;
  int64_t block = 0, summary = 0, reach = 0;
  int64_t num_globals = 0;
  std::array<int32_t, kMostGlobals> globals = {};  ///< ascending places; 0 behind the first num_globals

  constexpr explicit operator bool() const { return sinks > 0 || stride > 0 || block > 0 || num_globals > 0; }
  friend bool operator==(const KeyPattern&, const KeyPattern&) = default;

  constexpr bool is_global(int64_t place) const {
    for (int64_t g = 0; g < num_globals; ++g) {
      if (globals[static_cast<size_t>(g)] == place) return true;
    }
    return false;
  }
  /// Where the keys begin that a query at place i sees without a gap up to itself; may be below 0.
  constexpr int64_t near(int64_t window, int64_t i) const {
    const int64_t of_window = i - (window > 0 ? window - 1 : 0);
    const int64_t of_block = block > 0 ? i / block * block : i;
    return of_window < of_block ? of_window : of_block;
  }
};

/// What is wrong with a pattern, in words; empty: nothing is.
std::string why_not(const KeyPattern& pattern);

inline constexpr int64_t kNoPlace = std::numeric_limits<int64_t>::max();

/// Whether a query at place i sees the key at place j, both from the beginning of their document. Without a
/// pattern those of the window, 0: all before it.
constexpr bool sees(const KeyPattern& p, int64_t window, int64_t i, int64_t j) {
  if (j < 0 || j > i) return false;
  if (!p) return window == 0 || i - j < window;
  if (j >= p.near(window, i) || j < p.sinks) return true;
  if (p.stride > 0 && (i - j) % p.stride == 0 && (p.stride_keys == 0 || (i - j) / p.stride <= p.stride_keys))
    return true;
  if (p.block > 0 && j % p.block >= p.block - p.summary &&
      (p.reach == 0 || i / p.block - j / p.block <= p.reach))
    return true;
  return p.is_global(i) || p.is_global(j);
}

/// The first place from `from` on of a key that one of the queries at places [i0, i1] sees, or kNoPlace.
/// 0 <= i0 <= i1. Exact, in O(globals).
constexpr int64_t next_seen(const KeyPattern& p, int64_t window, int64_t i0, int64_t i1, int64_t from) {
  if (from > i1) return kNoPlace;
  if (from < 0) from = 0;
  const int64_t near = !p && window == 0 ? 0 : p.near(window, i0);
  if (from >= near || from < p.sinks) return from;
  int64_t next = near;
  const auto take = [&next, from](int64_t place) {
    if (place < from) place = from;
    if (place < next) next = place;
  };
  if (p.stride > 0) {
    const int64_t most = (i1 - from) / p.stride;
    take(i0 - (p.stride_keys > 0 && p.stride_keys < most ? p.stride_keys : most) * p.stride);
  }
  if (p.summary > 0) {
    const int64_t oldest = p.reach > 0 ? i0 / p.block - p.reach : 0, own = from / p.block;
    const int64_t of = own > oldest ? own : oldest;
    if (of < i1 / p.block) take((of + 1) * p.block - p.summary);
  }
  for (int64_t n = 0; n < p.num_globals; ++n) {
    const int64_t g = p.globals[static_cast<size_t>(n)];
    if (g > i1) break;
    if (g >= i0) return from;  // a query that sees all
    if (g >= from) take(g);
  }
  return next;
}

/// The first place from `from` on of a query that sees one of the keys at places [j0, j1], or kNoPlace.
/// 0 <= j0 <= j1. Exact, in O(globals): kNoPlace says that no later query ever sees one of them.
constexpr int64_t next_seeing(const KeyPattern& p, int64_t window, int64_t j0, int64_t j1, int64_t from) {
  if (from < j0) from = j0;
  if (!p && window == 0) return from;
  int64_t last = j1 + (window > 0 ? window - 1 : 0);  // of those that see one without a gap behind it
  if (p.block > 0 && last < (j1 / p.block + 1) * p.block - 1) last = (j1 / p.block + 1) * p.block - 1;
  if (from <= last || j0 < p.sinks) return from;
  int64_t next = kNoPlace;
  if (p.stride > 0) {
    const int64_t steps = (from - j1 + p.stride - 1) / p.stride, place = j0 + steps * p.stride;
    if (p.stride_keys == 0 || steps <= p.stride_keys) next = place > from ? place : from;
  }
  if (p.summary > 0) {
    const int64_t of = j1 % p.block >= p.block - p.summary ? j1 / p.block : j1 / p.block - 1;
    if (of >= j0 / p.block && (p.reach == 0 || from < (of + 1 + p.reach) * p.block)) return from;
  }
  for (int64_t n = 0; n < p.num_globals; ++n) {
    const int64_t g = p.globals[static_cast<size_t>(n)];
    if (j0 <= g && g <= j1) return from;
    if (g >= from) return g < next ? g : next;
  }
  return next;
}

/// Bits [begin, end) of 64, those outside left out.
constexpr uint64_t bits_between(int64_t begin, int64_t end) {
  if (begin < 0) begin = 0;
  if (end > 64) end = 64;
  return begin < end ? ~uint64_t{0} >> (64 - (end - begin)) << begin : 0;
}

/// sees() of a query at place i for 64 keys: bit k is that of the key at place first + k.
constexpr uint64_t seen_mask(const KeyPattern& p, int64_t window, int64_t i, int64_t first) {
  const uint64_t past = bits_between(-first, i - first + 1);
  if (past == 0 || (!p && window == 0) || p.is_global(i)) return past;
  uint64_t mask = bits_between(p.near(window, i) - first, 64) | bits_between(0, p.sinks - first);
  const int64_t begin = first < 0 ? 0 : first, last = first + 63 < i ? first + 63 : i;
  if (p.stride > 0) {
    int64_t k = (i - last + p.stride - 1) / p.stride;
    for (int64_t j = i - k * p.stride; j >= begin && (p.stride_keys == 0 || k <= p.stride_keys);
         ++k, j -= p.stride) {
      mask |= uint64_t{1} << (j - first);
    }
  }
  if (p.summary > 0) {
    const int64_t oldest = p.reach > 0 ? i / p.block - p.reach : 0, own = begin / p.block;
    for (int64_t b = own > oldest ? own : oldest; b * p.block <= last; ++b) {
      mask |= bits_between((b + 1) * p.block - p.summary - first, (b + 1) * p.block - first);
    }
  }
  for (int64_t n = 0; n < p.num_globals; ++n) {
    const int64_t g = p.globals[static_cast<size_t>(n)] - first;
    mask |= bits_between(g, g + 1);
  }
  return mask & past;
}

/// Where the queries and keys of one sequence lie. Of the documents in it the first may have begun before
/// query 0; each other one begins at the place of its first query (AttentionShape::first_key).
struct KeyPlaces {
  KeyPattern pattern;
  int64_t window = 0;
  int64_t num_queries = 0, num_keys = 0;
  int64_t query_place = 0;             ///< in the row, of query 0
  int64_t key_place = 0;               ///< of key 0
  const int32_t* first_key = nullptr;  ///< [num_queries] places in the row, or null: 0 for all

  constexpr int64_t first_of(int64_t query) const { return first_key == nullptr ? 0 : first_key[query]; }
  constexpr bool sees_key(int64_t query, int64_t key) const {
    const int64_t first = first_of(query);
    return sees(pattern, window, query_place + query - first, key_place + key - first);
  }
  /// seen_mask() for the 64 keys from `key` on; those that there are not are not seen.
  constexpr uint64_t mask_of(int64_t query, int64_t key) const {
    const int64_t first = first_of(query);
    return seen_mask(pattern, window, query_place + query - first, key_place + key - first) &
           bits_between(-key, num_keys - key);
  }
};

/// Goes through the tiles of `size` keys, which begin at its multiples, that queries [begin, end) see; no
/// other tile is looked at, nor returned. O(queries + tiles * globals).
class SeenTiles {
 public:
  constexpr SeenTiles(const KeyPlaces& places, int64_t begin, int64_t end, int64_t size)
      : s_(places),
        next_query_(begin),
        end_(end < places.num_queries ? end : places.num_queries),
        size_(size) {
    next_document();
  }

  /// The first key of the next tile, or kNoPlace. Ascending.
  constexpr int64_t next() {
    for (; has_document_; next_document()) {
      if (last_ < 0) continue;
      const int64_t offset = s_.key_place - first_;
      const int64_t place = next_seen(s_.pattern, s_.window, i0_, last_, from_ + offset);
      if (place == kNoPlace || place - offset >= s_.num_keys) continue;
      const int64_t tile = (place - offset) / size_ * size_;
      from_ = tile + size_;
      return tile;
    }
    return kNoPlace;
  }

 private:
  constexpr void next_document() {
    has_document_ = next_query_ < end_;
    if (!has_document_) return;
    first_ = s_.first_of(next_query_);
    i0_ = s_.query_place + next_query_ - first_;
    if (i0_ < 0) i0_ = 0;
    if (s_.first_key == nullptr) next_query_ = end_;
    while (next_query_ < end_ && s_.first_of(next_query_) == first_) ++next_query_;
    last_ = s_.query_place + next_query_ - 1 - first_;
  }

  const KeyPlaces& s_;
  int64_t next_query_, end_, size_;
  int64_t first_ = 0, i0_ = 0, last_ = -1;  // of the document, and its queries' places
  int64_t from_ = 0;
  bool has_document_ = false;
};

/// Goes through the tiles of `size` queries, which begin at its multiples, that see one of the keys
/// [begin, end). O(tiles * (globals + log queries)), and as much for each document that has such keys.
class SeeingTiles {
 public:
  constexpr SeeingTiles(const KeyPlaces& places, int64_t begin, int64_t end, int64_t size)
      : s_(places), begin_(begin), last_((end < places.num_keys ? end : places.num_keys) - 1), size_(size) {
    const int64_t first = s_.key_place + begin_ - s_.query_place;  // no earlier query sees them
    from_ = first > 0 ? first : 0;
  }

  /// The first query of the next tile, or kNoPlace. Ascending.
  constexpr int64_t next() {
    while (from_ < s_.num_queries) {
      const int64_t first = s_.first_of(from_);
      int64_t j0 = s_.key_place + begin_ - first, j1 = s_.key_place + last_ - first;
      if (j1 < 0 || last_ < begin_) break;
      if (j0 < 0) j0 = 0;
      const int64_t place = next_seeing(s_.pattern, s_.window, j0, j1, s_.query_place + from_ - first);
      const int64_t end = end_of_document(first);
      if (place == kNoPlace || place + first - s_.query_place >= end) {
        from_ = end;
        continue;
      }
      const int64_t tile = (place + first - s_.query_place) / size_ * size_;
      from_ = tile + size_;
      return tile;
    }
    return kNoPlace;
  }

 private:
  // Behind the last query whose document begins at `first`.
  constexpr int64_t end_of_document(int64_t first) const {
    if (s_.first_key == nullptr) return s_.num_queries;
    int64_t from = from_, to = s_.num_queries;
    while (from < to) {
      const int64_t middle = from + (to - from) / 2;
      if (s_.first_key[middle] <= first)
        from = middle + 1;
      else
        to = middle;
    }
    return from;
  }

  const KeyPlaces& s_;
  int64_t begin_, last_, size_, from_ = 0;
};

/// How many keys of those at places [begin, end) a query at place i sees.
int64_t count_seen(const KeyPattern& pattern, int64_t window, int64_t i, int64_t begin, int64_t end);

/// No more groups of `group` keys than so many are seen by `queries` queries that follow each other, among
/// num_keys keys: what a kernel takes memory for. Bounded by the pattern where that bounds it and has no
/// globals.
int64_t most_groups_seen(const KeyPattern& pattern, int64_t window, int64_t queries, int64_t num_keys,
                         int64_t group);

}  // namespace trireme::ops
