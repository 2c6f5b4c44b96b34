// What the attention kernels share: where heads lie, and which keys a query sees.
#pragma once

#include "runtime/ops/attention/attention.h"
#include "runtime/ops/cuda/launch.cuh"

namespace trireme::ops::cuda {

/// AttentionShape as kernels take it.
struct KernelShape {
  int64_t batch, q_len, kv_len, num_heads, num_kv_heads, head_dim, window, shift, first_place;
  float scale, soft_cap;
  bool causal;
  const int32_t* first_key;  // [batch, q_len], or null
  bool is_sparse;            // under a pattern, which has the window to itself
  int64_t sparse_window;
  KeyPattern pattern;

  KernelShape(const AttentionShape& s)
      : batch(s.batch),
        q_len(s.q_len),
        kv_len(s.kv_len),
        num_heads(s.num_heads),
        num_kv_heads(s.num_kv_heads),
        head_dim(s.head_dim),
        window(s.pattern ? 0 : s.window),
        shift(s.shift),
        first_place(s.first_place),
        scale(s.scale),
        soft_cap(s.soft_cap),
        causal(s.causal),
        first_key(s.first_key ? s.first_key.data<int32_t>() : nullptr),
        is_sparse(s.pattern),
        sparse_window(s.window),
        pattern(s.pattern) {}

  /// The first key of query i of a sequence as the index of a key here, which may be none of the block.
  __device__ int64_t first_key_of(int64_t b, int64_t i) const {
    return first_key[b * q_len + i] - first_place;
  }
};

/// The rows of one head in one sequence.
template <class T>
struct HeadRows {
  T* first;
  int64_t stride, rows;
  __device__ T* operator[](int64_t row) const { return first + row * stride; }
};

/// A matrix whose rows are B sequences of `len` rows and whose columns hold heads side by side.
template <class T>
struct Heads {
  T* data;
  int64_t stride, len;

  Heads(const Columns& c, int64_t length)
      : data(c.matrix.data<T>() + c.begin), stride(c.stride()), len(length) {}
  Heads(const Tensor& t, int64_t length) : data(t.data<T>()), stride(t.dim(1)), len(length) {}
  __device__ HeadRows<T> of(int64_t batch, int64_t head, int64_t head_dim) const {
    return {data + batch * len * stride + head * head_dim, stride, len};
  }
};

template <class T>
struct AttentionInputs {
  KernelShape shape;
  Heads<T> q, k, v;

  AttentionInputs(const AttentionShape& s, const Columns& queries, const Columns& keys, const Columns& values)
      : shape(s), q(queries, s.q_len), k(keys, s.kv_len), v(values, s.kv_len) {}
  __device__ int64_t kv_head(int64_t head) const { return head / (shape.num_heads / shape.num_kv_heads); }
};

template <class T>
struct AttentionGradients {
  Heads<T> dout, dq, dk, dv;
  const float *lse, *delta;  // [B,H,q_len]; delta is the dot product of a row of out and its gradient

  AttentionGradients(const AttentionShape& s, const Tensor& gradient, const Columns& queries,
                     const Columns& keys, const Columns& values, const Tensor& sums, const Tensor& products)
      : dout(gradient, s.q_len),
        dq(queries, s.q_len),
        dk(keys, s.kv_len),
        dv(values, s.kv_len),
        lse(sums.data<float>()),
        delta(products.data<float>()) {}
};

/// Rows [begin, end): keys or queries.
struct RowRange {
  int64_t begin, end;
  __device__ bool has(int64_t row) const { return begin <= row && row < end; }
};

__device__ inline int64_t clamp(int64_t x, int64_t most) { return x < 0 ? 0 : x < most ? x : most; }

/// At the place of which key query 0 lies.
__device__ inline int64_t place_of_queries(const KernelShape& s) { return s.kv_len - s.q_len + s.shift; }

/// From the first to the last key that query `i` of sequence b sees, but for a pattern; none beyond the last
/// query.
__device__ inline RowRange visible_keys(const KernelShape& s, int64_t b, int64_t i) {
  if (i >= s.q_len) return {0, 0};
  if (!s.causal) return {0, s.kv_len};
  const int64_t behind = i + place_of_queries(s) + 1, end = clamp(behind, s.kv_len);
  int64_t begin = s.window > 0 ? clamp(behind - s.window, s.kv_len) : 0;
  if (s.first_key != nullptr) {
    const int64_t first = clamp(s.first_key_of(b, i), s.kv_len);
    begin = begin < first ? first : begin;
  }
  return {begin < end ? begin : end, end};
}
/// The same of the queries [begin, begin + count) together.
__device__ inline RowRange visible_keys_of(const KernelShape& s, int64_t b, int64_t begin, int64_t count) {
  const int64_t last = begin + count < s.q_len ? begin + count - 1 : s.q_len - 1;
  return {visible_keys(s, b, begin).begin, visible_keys(s, b, last).end};
}
/// From where the places of a pattern count for query i, as the index of a key here.
__device__ inline int64_t document_of(const KernelShape& s, int64_t b, int64_t i) {
  return s.first_key != nullptr ? s.first_key_of(b, i) : -s.first_place;
}
/// Whether query i of sequence b sees key j, which is one.
__device__ inline bool is_seen(const KernelShape& s, int64_t b, int64_t i, int64_t j) {
  if (!visible_keys(s, b, i).has(j)) return false;
  if (!s.is_sparse) return true;
  const int64_t document = document_of(s, b, i);
  return sees(s.pattern, s.sparse_window, i + place_of_queries(s) - document, j - document);
}
/// How many of a sequence's queries have their first key before key `end`: the first ones, for first keys do
/// not fall.
__device__ inline int64_t queries_that_begin_before(const KernelShape& s, int64_t b, int64_t end) {
  int64_t from = 0, to = s.q_len;
  while (from < to) {
    const int64_t middle = (from + to) / 2;
    if (s.first_key_of(b, middle) < end)
      from = middle + 1;
    else
      to = middle;
  }
  return from;
}
/// The same, but for a pattern, of queries of sequence b that see a key of [begin, begin + count).
__device__ inline RowRange queries_that_see(const KernelShape& s, int64_t b, int64_t begin, int64_t count) {
  if (!s.causal) return {0, s.q_len};
  const int64_t end = begin + count < s.kv_len ? begin + count : s.kv_len, place = place_of_queries(s);
  int64_t last = s.window > 0 ? clamp(end - 1 + s.window - place, s.q_len) : s.q_len;
  if (s.first_key != nullptr) {
    const int64_t most = queries_that_begin_before(s, b, end);
    last = most < last ? most : last;
  }
  return {clamp(begin - place, s.q_len), last};
}

/// Where the tiles of the other side lie of which a tile of keys or queries sees, or is seen by, something:
/// `Width` rows each, in `range`. Under a pattern those between them are left out, but for tiles that have to
/// do with more than one document: of these there are as few as documents.
template <int Width>
struct OtherTiles {
  RowRange range;

  __device__ int64_t first() const { return from(range.begin); }
  __device__ int64_t next(int64_t begin) const { return from(begin + Width); }
  __device__ bool has(int64_t begin) const { return begin < range.end; }

 protected:
  const KernelShape& shape_;
  bool is_of_keys_, skips_ = false;
  int64_t first_ = 0, last_ = 0;  // places of the rows that look for others
  int64_t place_ = 0;             // of row 0 of the others

  __device__ OtherTiles(const KernelShape& s, const RowRange& all, bool is_of_keys)
      : range(all), shape_(s), is_of_keys_(is_of_keys) {}
  __device__ void look(int64_t first, int64_t last, int64_t place) {
    skips_ = true;
    first_ = first < 0 ? 0 : first;
    last_ = last;
    place_ = place;
  }

 private:
  __device__ int64_t from(int64_t begin) const {
    if (!skips_ || begin >= range.end) return begin;
    const int64_t next =
        is_of_keys_ ? next_seen(shape_.pattern, shape_.sparse_window, first_, last_, begin + place_)
                    : next_seeing(shape_.pattern, shape_.sparse_window, first_, last_, begin + place_);
    return next == kNoPlace || next - place_ >= range.end ? range.end
                                                          : (next - place_ < begin ? begin : next - place_);
  }
};

/// Of the queries [begin, begin + count), which are not all beyond the last one.
template <bool kPlain, int Width>
struct KeyTiles : OtherTiles<Width> {
  __device__ KeyTiles(const KernelShape& s, int64_t b, int64_t begin, int64_t count)
      : OtherTiles<Width>(s, visible_keys_of(s, b, begin, count), true) {
    if (kPlain) this->range.begin = 0;
    if (kPlain || !s.is_sparse) return;
    const int64_t last = begin + count < s.q_len ? begin + count - 1 : s.q_len - 1;
    const int64_t document = document_of(s, b, begin), place = place_of_queries(s) - document;
    if (document == document_of(s, b, last)) this->look(begin + place, last + place, -document);
  }
};

/// Of the keys [begin, begin + count).
template <bool kPlain, int Width>
struct QueryTiles : OtherTiles<Width> {
  __device__ QueryTiles(const KernelShape& s, int64_t b, int64_t begin, int64_t count)
      : OtherTiles<Width>(s, queries_that_see(s, b, begin, count), false) {
    if (kPlain) this->range.end = s.q_len;
    if (kPlain || !s.is_sparse || this->range.begin >= this->range.end) return;
    const int64_t last = begin + count < s.kv_len ? begin + count - 1 : s.kv_len - 1;
    const int64_t document = document_of(s, b, this->range.begin);
    if (document != document_of(s, b, this->range.end - 1)) return;
    this->look(begin - document, last - document, place_of_queries(s) - document);
  }
};

__device__ inline float minus_infinity() { return __uint_as_float(0xff800000u); }

/// Which tile of which head a block of the grid works on: the last tiles first, for under a causal mask they
/// have the most to do and would otherwise run alone at the end.
struct TilePlace {
  int64_t batch, head, begin;

  __device__ TilePlace(int64_t batches, int64_t heads, int64_t num_tiles, int64_t rows_a_tile,
                       bool last_first) {
    const auto of_tile = static_cast<unsigned>(batches * heads), of_batch = static_cast<unsigned>(heads);
    const int64_t tile = blockIdx.x / of_tile;
    batch = blockIdx.x % of_tile / of_batch;
    head = blockIdx.x % of_batch;
    begin = (last_first ? num_tiles - 1 - tile : tile) * rows_a_tile;
  }
};

/// Kernels on tensor cores: bf16 and fp16 with the heads that attention_tiles.cuh names. False where they do
/// not serve the case.
bool attention_on_tensor_cores(Context& ctx, const AttentionShape& s, const Columns& q, const Columns& k,
                               const Columns& v, const Tensor& out, const Tensor& lse);
bool attention_backward_on_tensor_cores(Context& ctx, const AttentionShape& s, const Columns& q,
                                        const Columns& k, const Columns& v, const Tensor& lse,
                                        const Tensor& delta, const Tensor& dout, const Columns& dq,
                                        const Columns& dk, const Columns& dv);

}  // namespace trireme::ops::cuda
