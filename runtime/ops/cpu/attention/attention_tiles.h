// What the forward and the backward pass of attention share: tasks with scratch memory, a head's rows as
// floats, the causal mask.
#pragma once

#include <algorithm>

#include "runtime/ops/attention/attention.h"
#include "runtime/ops/cpu/gemm/onednn.h"
#include "runtime/ops/cpu/support.h"
#include "runtime/ops/scratch_sizes.h"

namespace trireme::ops::cpu::attention_tiles {

/// Queries of a block.
inline constexpr int64_t kBlock = kAttentionBlock;

/// Keys [begin, end).
struct KeyRange {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
  /// The same, counted from key `first` on.
  KeyRange from(int64_t first) const { return {begin - first, end - first}; }
};

/// Which keys query `i` of sequence b sees. Neither end falls from one query to the next.
inline KeyRange visible_keys(const AttentionShape& s, int64_t b, int64_t i) {
  if (!s.causal) return {0, s.kv_len};
  const auto clamp = [&s](int64_t key) { return std::clamp<int64_t>(key, 0, s.kv_len); };
  const int64_t behind = i + 1 + s.kv_len - s.q_len + s.shift, end = clamp(behind);
  int64_t begin = s.window > 0 ? clamp(behind - s.window) : 0;
  if (s.first_key)
    begin = std::max(begin, clamp(s.first_key.data<int32_t>()[b * s.q_len + i] - s.first_place));
  return {std::min(begin, end), end};
}
/// From the first to the last key that one of the queries [begin, begin + count) sees.
inline KeyRange visible_keys(const AttentionShape& s, int64_t b, int64_t begin, int64_t count) {
  return {visible_keys(s, b, begin).begin, visible_keys(s, b, begin + count - 1).end};
}
/// That first keys do not fall and are as a pattern needs them, on which memory safety rests.
inline void expect_rising_first_keys(const AttentionShape& s) {
  if (!s.first_key) return;
  const auto* first = s.first_key.data<int32_t>();
  for (int64_t n = 0; n < s.batch * s.q_len; ++n) {
    const int32_t before = n % s.q_len == 0 ? 0 : first[n - 1];
    TRIREME_CHECK(first[n] >= before, "attention: first_key is {} behind {}, at query {} of sequence {}",
                  first[n], before, n % s.q_len, n / s.q_len);
    const int64_t place = s.places(0).query_place + n % s.q_len;
    TRIREME_CHECK(!s.pattern || n % s.q_len == 0 || first[n] == before || first[n] == place,
                  "attention: first_key is {} behind {}, at query {} of sequence {}, whose place is {}",
                  first[n], before, n % s.q_len, n / s.q_len, place);
  }
}
inline KeyLimits limits_of(const AttentionShape& s) { return {s.kv_len, s.window, s.pattern}; }

/// Rows of floats, `stride` apart.
struct Tile {
  float* data;
  int64_t stride;

  float* row(int64_t i) const { return data + i * stride; }
  Tile from(int64_t i) const { return {row(i), stride}; }
};

/// Rows [row, row + count) of one head: the head_dim columns from `column` on of a matrix of any compute
/// type.
class HeadRows {
 public:
  HeadRows(const Tensor& matrix, int64_t row, int64_t count, int64_t column, int64_t head_dim)
      : matrix_(matrix), begin_(row * matrix.dim(1) + column), count_(count), head_dim_(head_dim) {}

  /// The rows to compute on: where they lie if they are floats, else room for them in `scratch`.
  Tile tile(float* scratch) const {
    if (matrix_.dtype() == DType::f32) return {matrix_.data<float>() + begin_, matrix_.dim(1)};
    return {scratch, head_dim_};
  }
  /// The same with the rows' values in it.
  Tile load(float* scratch) const {
    const Tile to = tile(scratch);
    for_each_half_row([&](const auto* row, int64_t i) { convert_range(row, to.row(i), head_dim_); });
    return to;
  }
  /// Brings back what was written to tile(scratch).
  void store(const Tile& from) const {
    for_each_half_row([&](auto* row, int64_t i) { convert_range(from.row(i), row, head_dim_); });
  }
  /// Copies the values to rows of `width` floats, zeros behind the head's own.
  void copy(const Tile& to, int64_t width) const {
    with_compute_type(matrix_.dtype(), [&]<class T>(T) {
      constexpr int64_t kAhead = 8, kLine = 64 / sizeof(T);  // rows; short pieces, which no machine foresees
      for (int64_t i = 0; i < count_; ++i) {
        for (int64_t j = 0; j < head_dim_; j += kLine)
          __builtin_prefetch(at<T>(i) + kAhead * matrix_.dim(1) + j);
        convert_range(at<T>(i), to.row(i), head_dim_);
        std::fill(to.row(i) + head_dim_, to.row(i) + width, 0.0f);
      }
    });
  }
  /// Writes row i.
  void write(int64_t i, const float* from) const {
    with_compute_type(matrix_.dtype(), [&]<class T>(T) { convert_range(from, at<T>(i), head_dim_); });
  }

 private:
  template <class T>
  T* at(int64_t i) const {
    return matrix_.data<T>() + begin_ + i * matrix_.dim(1);
  }
  template <class F>
  void for_each_half_row(F&& f) const {
    if (matrix_.dtype() == DType::f32) return;
    with_compute_type(matrix_.dtype(), [&]<class T>(T) {
      for (int64_t i = 0; i < count_; ++i) f(at<T>(i), i);
    });
  }

  const Tensor& matrix_;
  int64_t begin_, count_, head_dim_;
};

/// c[m,n] = alpha * op(a)[m,k] · op(b)[k,n] + beta * c.
inline void product(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
                    const Tile& a, const Tile& b, float beta, const Tile& c) {
  onednn::sgemm(transpose_a, transpose_b, m, n, k, alpha, a.data, a.stride, b.data, b.stride, beta, c.data,
                c.stride);
}

inline void set_zero(const Tile& tile, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) std::fill_n(tile.row(i), columns, 0.0f);
}

/// Calls task(t, scratch) for every t in [0, num_tasks) on the context's threads, each with scratch_floats
/// floats of its own. Products inside a task run on its thread alone.
template <class Task>
void run_tasks(Context& ctx, int64_t num_tasks, int64_t scratch_floats, Task&& task) {
  const int64_t workers = std::min<int64_t>(ctx.num_threads(), num_tasks);
  const Tensor scratch = Tensor::empty(ctx, {workers, scratch_floats}, DType::f32, MemoryCategory::buffers);
  run_in_team(static_cast<int>(workers), num_tasks, [&](int64_t t, int64_t worker) {
    const onednn::ThreadCount one(1);
    task(t, scratch.data<float>() + worker * scratch_floats);
  });
}

/// Hands out pieces of a task's scratch memory, or adds up what is needed when it starts from nothing.
class Scratch {
 public:
  explicit Scratch(float* begin = nullptr) : begin_(begin) {}
  float* take(int64_t floats) {
    float* piece = begin_ == nullptr ? nullptr : begin_ + taken_;
    taken_ += scratch_piece(floats);
    return piece;
  }
  int64_t taken() const { return taken_; }

 private:
  float* begin_;
  int64_t taken_ = 0;
};

}  // namespace trireme::ops::cpu::attention_tiles
