// Parts of tensors as fp32.
#include <algorithm>
#include <array>

#include "runtime/base/error.h"
#include "runtime/base/integers.h"
#include "runtime/base/parallel_for.h"
#include "runtime/io/gguf/gguf.h"
#include "runtime/io/gguf/gguf_elements.h"

namespace trireme {

namespace {

constexpr int64_t kLongestBlock = 256;
constexpr int64_t kGrainElements = 1 << 16;

/// One row's blocks, of which some columns are wanted.
class RowDecoder {
 public:
  RowDecoder(const GgufTensor& tensor, GgufRange columns)
      : tensor_(tensor),
        columns_(columns),
        block_(tensor.type->block_elements),
        row_bytes_(static_cast<size_t>(tensor.columns() / block_ * tensor.type->block_bytes)) {}

  void decode(int64_t row, float* values) const {
    // Whole blocks go to their place; of those at the ends a part is copied.
    const int64_t first_whole = std::min(round_up(columns_.begin, block_), columns_.end);
    const int64_t last_whole = std::max(columns_.end / block_ * block_, first_whole);
    part(row, {columns_.begin, first_whole}, values);
    if (last_whole > first_whole) {
      decode_gguf(type(), blocks(row, first_whole / block_, last_whole / block_),
                  {values + (first_whole - columns_.begin), static_cast<size_t>(last_whole - first_whole)});
    }
    part(row, {last_whole, columns_.end}, values + (last_whole - columns_.begin));
  }

 private:
  GgufType type() const { return static_cast<GgufType>(tensor_.type->id); }

  std::span<const std::byte> blocks(int64_t row, int64_t begin, int64_t end) const {
    const auto bytes = static_cast<size_t>(tensor_.type->block_bytes);
    return tensor_.bytes.subspan(static_cast<size_t>(row) * row_bytes_ + static_cast<size_t>(begin) * bytes,
                                 static_cast<size_t>(end - begin) * bytes);
  }

  void part(int64_t row, GgufRange columns, float* values) const {
    if (columns.size() <= 0) return;
    std::array<float, kLongestBlock> scratch;
    const int64_t block = columns.begin / block_;
    decode_gguf(type(), blocks(row, block, block + 1), {scratch.data(), static_cast<size_t>(block_)});
    std::copy_n(scratch.data() + (columns.begin - block * block_), columns.size(), values);
  }

  const GgufTensor& tensor_;
  GgufRange columns_;
  int64_t block_;
  size_t row_bytes_;
};

bool is_within(GgufRange range, int64_t size) {
  return range.begin >= 0 && range.begin <= range.end && range.end <= size;
}

}  // namespace

void GgufReader::read(std::string_view name, GgufRange rows, std::optional<GgufRange> columns,
                      std::span<float> values, int num_threads) const {
  const GgufTensor& tensor = at(name);
  if (!tensor.type->is_readable) {
    throw_bad_input("{}: tensor \"{}\" is of type {}; {} can be read", path(), name, tensor.type->name,
                    readable_gguf_types());
  }
  const GgufRange chosen = columns.value_or(GgufRange{0, tensor.columns()});
  TRIREME_CHECK(is_within(rows, tensor.rows()) && is_within(chosen, tensor.columns()) &&
                    std::ssize(values) == rows.size() * chosen.size(),
                "rows {} to {}, columns {} to {} of {} into {} values", rows.begin, rows.end, chosen.begin,
                chosen.end, to_string(tensor.shape), values.size());
  if (values.empty()) return;
  const RowDecoder decoder(tensor, chosen);
  parallel_for(num_threads, rows.size(), std::max<int64_t>(kGrainElements / chosen.size(), 1),
               [&](int64_t begin, int64_t end) {
                 for (int64_t row = begin; row < end; ++row)
                   decoder.decode(rows.begin + row, values.data() + row * chosen.size());
               });
}

}  // namespace trireme
