// SparsePanels: panels of a packed weight without their zeros.
//
// The panels are those of the dense weight (float_layout.h, integers/panels.h), line by line: what kernels
// multiply with is the dense panel again, or a part of it, that was expanded into memory of the thread's
// caches. So sums have the bits of the dense weight's. (A negative zero becomes a positive one, which no sum
// that begins with zero shows.)
//
// Data begin with a directory: i64 how many values there are, how many panels, where the values of each panel
// begin, and where those of the last end (multiples of 64). Then comes of each panel what is no line
// (scales), as it is, and the masks of its lines; then of each panel the values. So masks and values are two
// streams that go on from panel to panel, which a processor foresees.
#pragma once

#include <functional>

#include "runtime/ops/cpu/packed/sparse/expand_lines.h"
#include "runtime/ops/packed/packed_weight.h"

namespace trireme::ops::cpu {

/// What of a dense panel is lines: after `head` bytes chunks of `chunk_bytes`, of which the first
/// `chunk_head` are none; the last chunk perhaps shorter. All are multiples of 64.
struct PanelShape {
  LineElements elements;
  int64_t head = 0, chunk_head = 0, chunk_bytes = 0;
  int64_t bytes = 0;  ///< of the dense panel

  int64_t chunks() const { return (bytes - head + chunk_bytes - 1) / chunk_bytes; }
  int64_t plain_bytes() const { return head + chunks() * chunk_head; }
  int64_t lines() const { return (bytes - plain_bytes()) / kLineBytes; }
  /// Of a sparse panel: what is no line, and masks with what fills them up.
  int64_t head_bytes() const;
};

/// Fills a dense panel; from several threads, and may throw.
using FillPanel = std::function<void(int64_t panel, std::byte* to)>;

/// Packs `panels` panels without their zeros; none where less than `least_zeros` of the `weights` numbers are
/// zeros.
Tensor pack_sparse(Context& ctx, const PanelShape& shape, int64_t panels, int64_t weights,
                   const FillPanel& fill, double least_zeros);

/// Where the next line's mask and values are.
struct LineStream {
  const std::byte *masks, *values;
};

/// Reads one panel, its lines from the first on.
class SparsePanel {
 public:
  SparsePanel(const Tensor& data, const PanelShape& shape, int64_t panel);

  /// The whole dense panel.
  void expand(std::byte* to);
  /// The next lines.
  void expand_lines(int64_t lines, std::byte* to);
  /// For who expands lines himself; and what is none.
  LineStream& stream() { return stream_; }
  const LineStream& stream() const { return stream_; }
  const std::byte* plain() const { return plain_; }

 private:
  PanelShape shape_;
  const std::byte* plain_;
  LineStream stream_;
};

/// Values that are stored.
int64_t stored_values(const Tensor& sparse);

}  // namespace trireme::ops::cpu
