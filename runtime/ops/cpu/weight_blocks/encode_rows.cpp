#include <algorithm>
#include <limits>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/base/parallel_for.h"
#include "runtime/ops/cpu/weight_blocks/encoders.h"
#include "runtime/ops/weight_blocks.h"

namespace trireme::ops {

namespace {

constexpr int64_t kGrainElements = 1 << 15;
constexpr float kLargestHalf = 65504.0f;
/// Of the mean: inputs that never count are to be near their values all the same.
constexpr double kLeastWeight = 1e-4;

std::vector<float> weights_of(std::span<const float> importance, int64_t columns) {
  std::vector<float> weights(static_cast<size_t>(columns), 1.0f);
  TRIREME_CHECK(importance.empty() || std::ssize(importance) == columns, "{} numbers for {} columns",
                importance.size(), columns);
  double sum = 0;
  for (const float one : importance) {
    TRIREME_CHECK(one >= 0 && one <= std::numeric_limits<float>::max(), "an importance of {}", one);
    sum += static_cast<double>(one);
  }
  if (!(sum > 0)) return weights;
  const double mean = sum / static_cast<double>(columns);
  for (size_t i = 0; i < weights.size(); ++i)
    weights[i] = static_cast<float>(std::max(static_cast<double>(importance[i]) / mean, kLeastWeight));
  return weights;
}

void encode_row(BlockType type, const float* x, const float* weights, int64_t columns, uint8_t* out) {
  const BlockLayout layout = layout_of(type);
  const int64_t blocks = columns / layout.elements;
  switch (type) {
    case BlockType::q8_0:
      return encode_q8_0({x, static_cast<size_t>(columns)},
                         {reinterpret_cast<std::byte*>(out), static_cast<size_t>(blocks * layout.bytes)});
    case BlockType::q4_0:
      return cpu::encode_row_q4_0(x, blocks, out);
    case BlockType::q4_1:
      return cpu::encode_row_q4_1(x, weights, blocks, out);
    case BlockType::q4_k:
      return cpu::encode_row_q4_k(x, weights, blocks, out);
    case BlockType::q6_k:
      return cpu::encode_row_q6_k(x, weights, blocks, out);
  }
}

}  // namespace

float largest_in(BlockType type) {
  switch (type) {
    case BlockType::q8_0:
      return 127.0f * kLargestHalf;
    case BlockType::q4_0:
      return 8.0f * kLargestHalf;
    case BlockType::q4_1:
      return kLargestHalf;
    case BlockType::q4_k:
      return 63.0f * kLargestHalf;
    case BlockType::q6_k:
      return 31.0f * 127.0f * kLargestHalf;
  }
  return 0;
}

void encode_rows(BlockType type, int64_t columns, std::span<const float> values,
                 std::span<const float> importance, std::span<std::byte> blocks, int num_threads) {
  const BlockLayout layout = layout_of(type);
  TRIREME_CHECK(columns >= 0 && columns % layout.elements == 0, "{} columns in blocks of {}", columns,
                layout.elements);
  const int64_t rows = columns == 0 ? 0 : std::ssize(values) / columns;
  const int64_t row_bytes = columns / layout.elements * layout.bytes;
  TRIREME_CHECK(std::ssize(values) == rows * columns && std::ssize(blocks) == rows * row_bytes,
                "{} bytes of blocks for {} values in rows of {}", blocks.size(), values.size(), columns);
  const std::vector<float> weights = weights_of(importance, columns);
  parallel_for(num_threads, rows, std::max<int64_t>(kGrainElements / std::max<int64_t>(columns, 1), 1),
               [&](int64_t begin, int64_t end) {
                 for (int64_t row = begin; row < end; ++row)
                   encode_row(type, values.data() + row * columns, weights.data(), columns,
                              reinterpret_cast<uint8_t*>(blocks.data()) + row * row_bytes);
               });
}

}  // namespace trireme::ops
