#include "parallel/checkpoint/save/share_slices.h"

#include <algorithm>
#include <numeric>

#include "runtime/base/error.h"

namespace trireme {

namespace {

/// How many of `total` bytes each holder gets, so that the fullest has as little as can be.
std::vector<int64_t> even_shares(int64_t total, int num_holders, std::span<const int64_t> before) {
  const auto count = static_cast<size_t>(num_holders);
  std::vector<int64_t> filled(count);
  std::ranges::copy(before, filled.begin());
  std::vector<int64_t> sorted = filled;
  std::ranges::sort(sorted);
  // The level to which the emptiest are filled.
  int64_t level = 0, extra = 0;
  for (int64_t used = 1, sum = 0; used <= num_holders; ++used) {
    sum += sorted[static_cast<size_t>(used - 1)];
    level = (total + sum) / used;
    extra = (total + sum) % used;
    if (used == num_holders || level <= sorted[static_cast<size_t>(used)]) break;
  }
  std::vector<int64_t> shares(count);
  for (size_t i = 0; i < count; ++i) {
    if (filled[i] > level) continue;
    shares[i] = level - filled[i] + (extra > 0 ? 1 : 0);
    extra -= extra > 0 ? 1 : 0;
  }
  return shares;
}

/// The dim along which a slice is cut, and how many bytes an index of it has.
struct Rows {
  int dim = 0;
  int64_t count = 1, bytes = 0, elements = 0;

  explicit Rows(const Slice& slice) {
    const Shape& extent = slice.box.extent;
    while (dim + 1 < extent.rank() && extent[dim] == 1) ++dim;
    if (extent.rank() > 0) count = extent[dim];
    elements = count == 0 ? 0 : extent.numel() / count;
    bytes = elements * static_cast<int64_t>(size_of(slice.dtype));
  }
  /// The row at which a cut at byte `at` of the slice is made: the nearest.
  int64_t cut(int64_t at) const {
    if (bytes == 0 || at <= 0) return 0;
    return std::min(count, (at + bytes / 2) / bytes);
  }
};

Box rows_of(const Slice& slice, int dim, int64_t begin, int64_t end) {
  if (slice.box.extent.rank() == 0) return slice.box;
  int64_t offset[Shape::kMaxRank] = {}, extent[Shape::kMaxRank] = {};
  const auto rank = static_cast<size_t>(slice.box.extent.rank());
  std::ranges::copy(slice.box.offset.dims(), offset);
  std::ranges::copy(slice.box.extent.dims(), extent);
  offset[dim] += begin;
  extent[dim] = end - begin;
  return {Shape(std::span<const int64_t>(offset, rank)), Shape(std::span<const int64_t>(extent, rank))};
}

}  // namespace

std::vector<SharedPart> share_slices(std::span<const Slice> slices, int holder, int num_holders,
                                     std::span<const int64_t> bytes_before) {
  TRIREME_CHECK(holder >= 0 && holder < num_holders, "holder {} of {}", holder, num_holders);
  TRIREME_CHECK(bytes_before.empty() || std::ssize(bytes_before) == num_holders, "{} loads of {} holders",
                bytes_before.size(), num_holders);
  int64_t total = 0;
  for (const Slice& slice : slices) total += slice.bytes();
  const std::vector<int64_t> shares = even_shares(total, num_holders, bytes_before);
  // All slices in a row, cut where the shares end.
  const int64_t begin = std::accumulate(shares.begin(), shares.begin() + holder, int64_t{0});
  const int64_t end = begin + shares[static_cast<size_t>(holder)];
  std::vector<SharedPart> parts;
  int64_t at = 0;
  for (size_t i = 0; i < slices.size(); ++i) {
    const Rows rows(slices[i]);
    const int64_t bytes = slices[i].bytes();
    const int64_t first = rows.cut(begin - at), last = rows.cut(end - at);
    if (bytes > 0 && first < last)
      parts.push_back({i, rows_of(slices[i], rows.dim, first, last), first * rows.elements});
    at += bytes;
  }
  return parts;
}

}  // namespace trireme
