#include "models/formats/gguf_encoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include "models/formats/gguf_tensors.h"
#include "models/formats/mapped_weights.h"
#include "runtime/base/error.h"
#include "runtime/io/gguf/gguf_elements.h"
#include "runtime/ops/packed/coded_blocks.h"

namespace trireme {

namespace {

bool is_blocks(GgufType type) { return info_of(type).block_elements > 1; }

/// Of those that hold codes.
std::optional<ops::BlockType> block_of_codes(GgufType type) {
  if (type == GgufType::q8_0) return ops::BlockType::q8_0;
  if (type == GgufType::q4_0) return ops::BlockType::q4_0;
  if (type == GgufType::q4_1) return ops::BlockType::q4_1;
  return std::nullopt;
}

int64_t bytes_of(GgufType type, int64_t elements) {
  const GgufTypeInfo& info = info_of(type);
  return elements / info.block_elements * info.block_bytes;
}

}  // namespace

GgufEncoder::GgufEncoder(const ModelConfig& config, std::string_view architecture, GgufFileType type,
                         GgufContent content)
    : map_(gguf_tensor_map(config, architecture)),
      types_(gguf_types(map_, config.num_layers, config.moe.num_experts, type, content.codes)),
      content_(std::move(content)) {
  for (const StoredTensorShape& tensor : map_.tensors)
    columns_[tensor.name] = tensor.shape.rank() == 0 ? 1 : tensor.shape[-1];
}

GgufEncoder::Rows GgufEncoder::rows_of(const std::string& parameter, GgufType type,
                                       std::span<const float> values) const {
  const int64_t columns = columns_.find(map_.places.find(parameter)->second.tensor)->second;
  Rows rows{std::vector<std::byte>(static_cast<size_t>(bytes_of(type, std::ssize(values)))),
            bytes_of(type, columns), false};
  const auto blocks = block_of_codes(type);
  if (blocks && content_.codes.matrix) {
    const auto matrix = content_.codes.matrix(parameter);
    if (matrix && matrix->inputs == columns && ops::can_encode_coded(*blocks, *matrix)) {
      ops::encode_coded(*blocks, *matrix, rows.bytes);
      rows.is_from_codes = true;
      return rows;
    }
  }
  std::vector<float> importance;
  if (content_.importance) importance = content_.importance(parameter);
  if (!encode_gguf(type, columns, values, importance, rows.bytes, content_.num_threads)) {
    throw_bad_input("{} of GGUF cannot hold {}: a value is not finite or beyond {:.2g}; f32 can",
                    info_of(type).name, parameter, largest_in_gguf(type));
  }
  return rows;
}

void GgufEncoder::compare(const std::string& parameter, GgufType type, const Rows& rows,
                          std::span<const float> values, GgufCodesReport& report) const {
  if (!content_.codes.spec || !content_.codes.spec(parameter)) return;
  ++(rows.is_from_codes ? report.kept : report.rounded);
  std::vector<float> decoded(values.size());
  decode_gguf(type, rows.bytes, decoded);
  float change = 0, largest = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    change = std::max(change, std::abs(decoded[i] - values[i]));
    largest = std::max(largest, std::abs(values[i]));
  }
  const double part = change == 0 ? 0 : static_cast<double>(change) / static_cast<double>(largest);
  if (part <= report.largest) return;
  report.largest = part;
  report.name = parameter;
}

void GgufEncoder::put(const StoredTensorShape& tensor, const std::string& parameter,
                      std::span<std::byte> into, GgufCodesReport& report) const {
  const StoredPlace& place = map_.places.find(parameter)->second;
  TRIREME_CHECK(!place.transposed && place.added == 0, "{} in blocks", parameter);
  const GgufType type = type_of(tensor.name);
  const std::vector<float> values = content_.values(parameter);
  const Rows rows = rows_of(parameter, type, values);
  compare(parameter, type, rows, values, report);
  const int64_t first = place.index < 0 ? 0 : place.index * tensor.shape[1];
  const int64_t count = rows.row_bytes == 0 ? 0 : std::ssize(rows.bytes) / rows.row_bytes;
  for (int64_t row = 0; row < count; ++row) {
    const int64_t at = (first + place.rows.stored_row(row)) * rows.row_bytes;
    TRIREME_CHECK(at >= 0 && at + rows.row_bytes <= std::ssize(into), "{}: row {} is outside", parameter,
                  row);
    std::memcpy(into.data() + at, rows.bytes.data() + row * rows.row_bytes,
                static_cast<size_t>(rows.row_bytes));
  }
}

std::vector<std::byte> GgufEncoder::stored(const StoredTensorShape& tensor, GgufCodesReport& report) const {
  const GgufType type = type_of(tensor.name);
  std::vector<std::byte> bytes(static_cast<size_t>(bytes_of(type, tensor.shape.numel())));
  if (is_blocks(type)) {
    for (const std::string& name : parameters_in(map_, tensor.name)) put(tensor, name, bytes, report);
  } else {
    TRIREME_CHECK(encode_gguf(type, assemble(map_, tensor, content_.values), bytes), "{}", tensor.name);
  }
  return bytes;
}

std::vector<float> GgufEncoder::decoded(const std::string& parameter) const {
  const StoredPlace& place = map_.places.find(parameter)->second;
  const GgufType type = type_of(place.tensor);
  std::vector<float> values = content_.values(parameter);
  if (is_blocks(type)) {
    decode_gguf(type, rows_of(parameter, type, values).bytes, values);
    return values;
  }
  std::vector<std::byte> bytes(static_cast<size_t>(bytes_of(type, std::ssize(values))));
  if (encode_gguf(type, values, bytes)) decode_gguf(type, bytes, values);
  return values;
}

}  // namespace trireme
