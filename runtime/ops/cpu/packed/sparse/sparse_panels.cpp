#include "runtime/ops/cpu/packed/sparse/sparse_panels.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "runtime/base/integers.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

/// Appends the elements of lines that are no zeros, and marks them.
template <class Element>
void compress_lines(const std::byte* from, int64_t lines, uint8_t zero, std::byte* masks,
                    std::vector<std::byte>& values) {
  constexpr auto kPerLine = kLineBytes / static_cast<int64_t>(sizeof(Element));
  std::byte kept[kLineBytes];
  for (int64_t line = 0; line < lines; ++line, from += kLineBytes, masks += kPerLine / 8) {
    uint64_t mask = 0;
    size_t bytes = 0;
    for (int64_t i = 0; i < kPerLine; ++i) {
      Element element;
      std::memcpy(&element, from + i * static_cast<int64_t>(sizeof element), sizeof element);
      // Of floats either zero.
      const bool is_zero = sizeof element == 1 ? element == zero : static_cast<Element>(element << 1) == 0;
      if (is_zero) continue;
      mask |= uint64_t{1} << i;
      std::memcpy(kept + bytes, &element, sizeof element);
      bytes += sizeof element;
    }
    std::memcpy(masks, &mask, kPerLine / 8);
    values.insert(values.end(), kept, kept + bytes);
  }
}

void compress(const PanelShape& shape, const std::byte* from, int64_t lines, std::byte* masks,
              std::vector<std::byte>& values) {
  const LineElements& elements = shape.elements;
  if (elements.bytes == 1) return compress_lines<uint8_t>(from, lines, elements.zero, masks, values);
  if (elements.bytes == 2) return compress_lines<uint16_t>(from, lines, elements.zero, masks, values);
  compress_lines<uint32_t>(from, lines, elements.zero, masks, values);
}

/// Calls part(place in the panel, bytes that are no lines, lines behind them) one after the other.
template <class Call>
void for_each_chunk(const PanelShape& shape, const Call& call) {
  if (shape.head > 0) call(int64_t{0}, shape.head, int64_t{0});
  for (int64_t at = shape.head; at < shape.bytes; at += shape.chunk_bytes) {
    const int64_t end = std::min(shape.bytes, at + shape.chunk_bytes);
    call(at, shape.chunk_head, (end - at - shape.chunk_head) / kLineBytes);
  }
}

/// A panel's head, and its values.
struct Compressed {
  std::vector<std::byte> head, values;
};

Compressed compressed(const PanelShape& shape, const std::vector<std::byte>& dense) {
  Compressed to{std::vector<std::byte>(static_cast<size_t>(shape.head_bytes())), {}};
  to.values.reserve(dense.size() / 2);
  std::byte *plain = to.head.data(), *masks = plain + shape.plain_bytes();
  for_each_chunk(shape, [&](int64_t at, int64_t bytes, int64_t lines) {
    plain = std::copy_n(dense.data() + at, bytes, plain);
    compress(shape, dense.data() + at + bytes, lines, masks, to.values);
    masks += lines * shape.elements.mask_bytes();
  });
  return to;
}

/// Entries of the directory before the panels' places.
constexpr int64_t kEntriesBefore = 2;
int64_t directory_bytes(int64_t panels) {
  return round_up((kEntriesBefore + panels + 1) * int64_t{8}, kLineBytes);
}
int64_t directory_entry(const std::byte* data, int64_t index) {
  int64_t entry;
  std::memcpy(&entry, data + 8 * index, sizeof entry);
  return entry;
}

}  // namespace

int64_t PanelShape::head_bytes() const {
  return plain_bytes() + round_up(lines() * elements.mask_bytes(), kLineBytes);
}

Tensor pack_sparse(Context& ctx, const PanelShape& shape, int64_t panels, int64_t weights,
                   const FillPanel& fill, double least_zeros) {
  std::vector<Compressed> parts(static_cast<size_t>(panels));
  run_in_team(ctx.num_threads(), panels, [&](int64_t p, int64_t) {
    // Places of no output stay zeros.
    std::vector<std::byte> dense(static_cast<size_t>(shape.bytes), std::byte{shape.elements.zero});
    fill(p, dense.data());
    parts[static_cast<size_t>(p)] = compressed(shape, dense);
  });
  const int64_t heads = directory_bytes(panels);
  std::vector<int64_t> directory{0, panels, heads + panels * shape.head_bytes()};
  for (const Compressed& part : parts) {
    directory[0] += std::ssize(part.values) / shape.elements.bytes;
    directory.push_back(directory.back() + round_up(std::ssize(part.values), kLineBytes));
  }
  if (static_cast<double>(directory[0]) > (1 - least_zeros) * static_cast<double>(weights)) return {};
  const Tensor data =
      Tensor::empty(ctx, {directory.back() + kReadBeyond}, DType::u8, MemoryCategory::weights);
  auto* to = static_cast<std::byte*>(data.raw());
  std::memset(to, 0, static_cast<size_t>(heads));
  std::memcpy(to, directory.data(), 8 * directory.size());
  run_in_team(ctx.num_threads(), panels, [&](int64_t p, int64_t) {
    Compressed& part = parts[static_cast<size_t>(p)];
    std::ranges::copy(part.head, to + heads + p * shape.head_bytes());
    const auto place = static_cast<size_t>(kEntriesBefore + p);
    std::byte* end = std::ranges::copy(part.values, to + directory[place]).out;
    std::fill(end, to + directory[place + 1], std::byte{0});
    part = {};
  });
  std::memset(to + directory.back(), 0, kReadBeyond);
  return data;
}

SparsePanel::SparsePanel(const Tensor& data, const PanelShape& shape, int64_t panel) : shape_(shape) {
  const auto* begin = static_cast<const std::byte*>(data.raw());
  plain_ = begin + directory_bytes(directory_entry(begin, 1)) + panel * shape.head_bytes();
  stream_.masks = plain_ + shape.plain_bytes();
  stream_.values = begin + directory_entry(begin, kEntriesBefore + panel);
}

void SparsePanel::expand_lines(int64_t lines, std::byte* to) {
  const ExpandLines kernel = expand_kernels().of(shape_.elements);
  stream_.values = kernel(stream_.masks, stream_.values, lines, shape_.elements.zero, to);
  stream_.masks += lines * shape_.elements.mask_bytes();
}

void SparsePanel::expand(std::byte* to) {
  for_each_chunk(shape_, [&](int64_t at, int64_t bytes, int64_t lines) {
    std::memcpy(to + at, plain_, static_cast<size_t>(bytes));
    plain_ += bytes;
    expand_lines(lines, to + at + bytes);
  });
}

int64_t stored_values(const Tensor& sparse) {
  return directory_entry(static_cast<const std::byte*>(sparse.raw()), 0);
}

}  // namespace trireme::ops::cpu
