#include "runtime/io/safetensors/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "runtime/io/digest/file_signs.h"
#include "runtime/io/json/strict_json.h"

namespace trireme {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "tensors are stored as they lie in memory");

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's own library
constexpr size_t kHeaderAlignment = 64;
constexpr int kMaxDepth = 4;
constexpr std::string_view kMetadata = "__metadata__";
constexpr std::array<std::pair<DType, std::string_view>, 9> kDTypeNames = {{{DType::f32, "F32"},
                                                                            {DType::bf16, "BF16"},
                                                                            {DType::f16, "F16"},
                                                                            {DType::f64, "F64"},
                                                                            {DType::i32, "I32"},
                                                                            {DType::i64, "I64"},
                                                                            {DType::u8, "U8"},
                                                                            {DType::f8e4m3, "F8_E4M3"},
                                                                            {DType::f8e5m2, "F8_E5M2"}}};

/// Signed bytes, which nothing computes with.
constexpr std::string_view kSignedBytes = "I8";

std::string_view stored_name(DType dtype, bool is_signed = false) {
  if (is_signed) return kSignedBytes;
  return std::ranges::find(kDTypeNames, dtype, [](const auto& pair) { return pair.first; })->second;
}

int64_t bytes_of(const TensorSpec& spec) {
  return spec.shape.numel() * static_cast<int64_t>(size_of(spec.dtype));
}

/// The tensors' bytes as one block, and the header before it.
struct Parts {
  std::string_view header;
  std::span<const std::byte> data;
};

Parts split(const MappedFile& file) {
  const auto bytes = file.bytes();
  if (bytes.size() < kLengthBytes) {
    throw_bad_input("{} is not a safetensors file: it has {} bytes and needs {} for the length of its header",
                    file.path(), bytes.size(), kLengthBytes);
  }
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  const size_t rest = bytes.size() - kLengthBytes;
  if (length > kMaxHeaderBytes || length > rest) {
    const std::string_view other = signature_of(file.text());
    if (!other.empty()) throw_bad_input("{} is not a safetensors file: it is {}", file.path(), other);
    throw_bad_input(
        "{} is truncated or not a safetensors file: its header should have {} bytes, {} follow (limit {})",
        file.path(), length, rest, kMaxHeaderBytes);
  }
  return {file.text().substr(kLengthBytes, length), bytes.subspan(kLengthBytes + length)};
}

/// Equal names and nesting that could exhaust the stack when a value is printed are errors.
json parse_header(std::string_view text, const std::string& path) {
  json header = parse_strict_json(text, kMaxDepth, path);
  if (!header.is_object()) {
    throw_bad_input("{}: the header is not an object but a JSON {}", path, header.type_name());
  }
  return header;
}

/// A member of one tensor's entry, with messages that name file and tensor.
class Entry {
 public:
  Entry(const json& value, const std::string& path, const std::string& name)
      : value_(value), where_(fmt::format("{}: tensor \"{}\"", path, name)) {
    if (!value.is_object())
      throw_bad_input("{} is described by {} instead of an object", where_, value.dump());
  }

  const std::string& where() const { return where_; }

  DType dtype() const {
    const json& value = member("dtype");
    for (const auto& [dtype, name] : kDTypeNames) {
      if (value == name) return dtype;
    }
    if (is_signed()) return DType::u8;
    std::vector<std::string_view> known;
    for (const auto& [dtype, name] : kDTypeNames) known.push_back(name);
    known.push_back(kSignedBytes);
    throw_bad_input("{} has dtype {}; supported are {}", where_, value.dump(), fmt::join(known, ", "));
  }

  bool is_signed() const { return member("dtype") == kSignedBytes; }

  std::vector<int64_t> integers(const char* key) const {
    const json& value = member(key);
    if (!value.is_array()) throw_bad_input("{}: {} is {} instead of a list", where_, key, value.dump());
    std::vector<int64_t> numbers;
    for (const json& number : value) {
      if (!number.is_number_unsigned() || number.get<uint64_t>() > uint64_t{INT64_MAX}) {
        throw_bad_input("{}: {} {} must hold only sizes", where_, key, value.dump());
      }
      numbers.push_back(number.get<int64_t>());
    }
    return numbers;
  }

 private:
  const json& member(const char* key) const {
    const auto found = value_.find(key);
    if (found == value_.end()) throw_bad_input("{} has no {}", where_, key);
    return *found;
  }

  const json& value_;
  std::string where_;
};

/// dims times the size of an element; nothing where that does not fit into 63 bits.
std::optional<int64_t> bytes_of(std::span<const int64_t> dims, DType dtype) {
  auto bytes = static_cast<int64_t>(size_of(dtype));
  for (const int64_t dim : dims) {
    if (__builtin_mul_overflow(bytes, dim, &bytes)) return std::nullopt;
  }
  return bytes;
}

std::vector<int64_t> read_offsets(const Entry& entry, std::span<const std::byte> data) {
  std::vector<int64_t> offsets = entry.integers("data_offsets");
  if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > std::ssize(data)) {
    throw_bad_input("{} has data_offsets [{}]; they must be a begin and an end within the {} bytes of data",
                    entry.where(), fmt::join(offsets, ", "), data.size());
  }
  return offsets;
}

std::span<const std::byte> between(std::span<const std::byte> data, const std::vector<int64_t>& offsets) {
  return data.subspan(static_cast<size_t>(offsets[0]), static_cast<size_t>(offsets[1] - offsets[0]));
}

StoredTensor read_entry(const Entry& entry, std::span<const std::byte> data) {
  const DType dtype = entry.dtype();
  const std::vector<int64_t> dims = entry.integers("shape");
  const std::vector<int64_t> offsets = read_offsets(entry, data);
  if (dims.size() > Shape::kMaxRank) {
    throw_bad_input("{} has {} dims; at most {} work", entry.where(), dims.size(), Shape::kMaxRank);
  }
  const std::optional<int64_t> bytes = bytes_of(dims, dtype);
  if (bytes != offsets[1] - offsets[0]) {
    throw_bad_input("{}: shape [{}] of {} is {} bytes, its data_offsets [{}, {}] are {}", entry.where(),
                    fmt::join(dims, ", "), stored_name(dtype), bytes ? fmt::to_string(*bytes) : "over 2^63",
                    offsets[0], offsets[1], offsets[1] - offsets[0]);
  }
  return {dtype, Shape(dims), between(data, offsets), entry.is_signed()};
}

TextMap read_metadata(const json& value, const std::string& path) {
  TextMap metadata;
  if (!value.is_object()) throw_bad_input("{}: {} is not an object", path, kMetadata);
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) throw_bad_input("{}: {} has \"{}\", which is not a string", path, kMetadata, key);
    metadata.emplace(key, text.get<std::string>());
  }
  return metadata;
}

using Ranges = std::vector<std::pair<std::span<const std::byte>, std::string>>;

void check_tiling(Ranges ranges, std::span<const std::byte> data, const std::string& path) {
  std::ranges::sort(ranges, {},
                    [](const auto& range) { return std::pair(range.first.data(), range.first.size()); });
  const std::byte* end = data.data();
  for (const auto& [bytes, name] : ranges) {
    if (bytes.data() != end) {
      throw_bad_input("{}: tensor \"{}\" begins at byte {} of the data, expected {}: {}", path, name,
                      bytes.data() - data.data(), end - data.data(),
                      bytes.data() < end ? "it overlaps another" : "there is a gap");
    }
    end = bytes.data() + bytes.size();
  }
  if (end != data.data() + data.size()) {
    throw_bad_input("{} has {} bytes of data; its tensors end at byte {}", path, data.size(),
                    end - data.data());
  }
}

std::string make_header(const std::vector<TensorSpec>& tensors, const TextMap& metadata) {
  json header = json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  int64_t offset = 0;
  for (const TensorSpec& spec : tensors) {
    TRIREME_CHECK(spec.name != kMetadata && !header.contains(spec.name), "tensor {} twice", spec.name);
    const int64_t end = offset + bytes_of(spec);
    header[spec.name] = {{"dtype", stored_name(spec.dtype, spec.is_signed)},
                         {"shape", spec.shape.dims()},
                         {"data_offsets", {offset, end}}};
    offset = end;
  }
  // Metadata may quote a path that is not UTF-8.
  std::string text = header.dump(-1, ' ', false, json::error_handler_t::replace);
  const size_t used = (kLengthBytes + text.size()) % kHeaderAlignment;
  if (used != 0) text.append(kHeaderAlignment - used, ' ');
  TRIREME_CHECK(text.size() <= kMaxHeaderBytes, "a header of {} bytes", text.size());
  return text;
}

}  // namespace

std::string safetensors_head(const std::vector<TensorSpec>& tensors, const TextMap& metadata) {
  const std::string header = make_header(tensors, metadata);
  const uint64_t length = header.size();
  std::string head(kLengthBytes, '\0');
  std::memcpy(head.data(), &length, kLengthBytes);
  return head + header;
}

SafetensorsReader::SafetensorsReader(std::string path,
                                     const std::function<bool(std::string_view)>& passes_over)
    : file_(std::move(path)) {
  const Parts parts = split(file_);
  const json header = parse_header(parts.header, file_.path());
  Ranges ranges;
  for (const auto& [name, value] : header.items()) {
    if (name == kMetadata) {
      metadata_ = read_metadata(value, file_.path());
      continue;
    }
    const Entry entry(value, file_.path(), name);
    if (passes_over && passes_over(name)) {
      ranges.emplace_back(between(parts.data, read_offsets(entry, parts.data)), name);
    } else {
      ranges.emplace_back(tensors_.emplace(name, read_entry(entry, parts.data)).first->second.bytes, name);
    }
  }
  check_tiling(std::move(ranges), parts.data, file_.path());
}

const StoredTensor& SafetensorsReader::at(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    throw_bad_input("{} has no tensor \"{}\" among its {}", file_.path(), name, tensors_.size());
  }
  return found->second;
}

SafetensorsWriter::SafetensorsWriter(std::string path, std::vector<TensorSpec> tensors,
                                     const TextMap& metadata)
    : file_(std::move(path)), tensors_(std::move(tensors)) {
  file_.write(safetensors_head(tensors_, metadata));
  skip_complete();
}

void SafetensorsWriter::write(std::string_view name, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  TRIREME_CHECK(current_ < tensors_.size() && tensors_[current_].name == name, "tensor {} out of order",
                name);
  written_ += std::ssize(bytes);
  TRIREME_CHECK(written_ <= bytes_of(tensors_[current_]), "{} bytes for tensor {} of {}", written_, name,
                bytes_of(tensors_[current_]));
  file_.write(bytes);
  skip_complete();
}

void SafetensorsWriter::commit() {
  TRIREME_CHECK(current_ == tensors_.size(), "tensor {} is not complete", tensors_[current_].name);
  file_.commit();
}

void SafetensorsWriter::skip_complete() {
  while (current_ < tensors_.size() && written_ == bytes_of(tensors_[current_])) ++current_, written_ = 0;
}

}  // namespace trireme
