#include "runtime/io/gguf/gguf_head.h"

#include <algorithm>
#include <concepts>
#include <optional>

#include "runtime/io/json/utf8.h"

namespace trireme {

namespace {

constexpr uint32_t kGgufMagic = 0x46554747;  // "GGUF"
constexpr uint32_t kMostDims = 4;
constexpr size_t kLongestName = 64, kLongestKey = 65535;
// What an entry takes at least: of a value its key's length, type and one byte; of a tensor its name's
// length, number of dims, type and offset.
constexpr size_t kLeastValueBytes = 8 + 4 + 1, kLeastTensorBytes = 8 + 4 + 4 + 8;

template <class T>
T read_scalar(GgufCursor& cursor, const std::string& what) {
  if constexpr (std::same_as<T, std::string>) {
    return std::string(cursor.string(what));
  } else if constexpr (std::same_as<T, bool>) {
    const auto byte = cursor.number<uint8_t>(what);
    if (byte > 1) cursor.fail("{} is {}; a flag is 0 or 1", what, byte);
    return byte == 1;
  } else {
    return cursor.number<T>(what);
  }
}

template <class T>
GgufValue read_list(GgufCursor& cursor, const std::string& what) {
  constexpr size_t kLeast = std::same_as<T, std::string> ? 8 : sizeof(T);
  const uint64_t count = cursor.count(fmt::format("the length of {}", what), kLeast);
  std::vector<T> list;
  list.reserve(count);
  for (uint64_t i = 0; i < count; ++i) list.push_back(read_scalar<T>(cursor, what));
  return list;
}

/// Calls `with` with a value of the scalar type of this number; false when there is none.
template <class With>
bool with_value_type(uint32_t type, With&& with) {
  const auto is = [&]<class... T>(std::type_identity<T>... types) {
    return ((type == kGgufValueType<T> ? (with(types), true) : false) || ...);
  };
  return is(std::type_identity<uint8_t>{}, std::type_identity<int8_t>{}, std::type_identity<uint16_t>{},
            std::type_identity<int16_t>{}, std::type_identity<uint32_t>{}, std::type_identity<int32_t>{},
            std::type_identity<float>{}, std::type_identity<bool>{}, std::type_identity<std::string>{},
            std::type_identity<uint64_t>{}, std::type_identity<int64_t>{}, std::type_identity<double>{});
}

GgufValue read_list_of_any(GgufCursor& cursor, const std::string& what) {
  const auto type = cursor.number<uint32_t>("the type of a list");
  if (type == kGgufListType) cursor.fail("{} is a list of lists, which no model's file has", what);
  GgufValue value;
  if (!with_value_type(type, [&]<class T>(std::type_identity<T>) { value = read_list<T>(cursor, what); })) {
    cursor.fail("{} is a list of values of type {}; the format has 0 to 12", what, type);
  }
  return value;
}

/// A name that can be shown and compared.
std::string read_name(GgufCursor& cursor, std::string_view what, size_t longest) {
  const std::string_view name = cursor.string(what);
  if (name.empty() || name.size() > longest) {
    cursor.fail("{} has {} bytes; it must have 1 to {}", what, name.size(), longest);
  }
  if (find_utf8_error(name) || name.find('\0') != std::string_view::npos) {
    cursor.fail("{} is not UTF-8 text", what);
  }
  return std::string(name);
}

/// nullopt where the bytes do not fit into 63 bits.
std::optional<int64_t> bytes_of_rows(const std::vector<int64_t>& dims, const GgufTypeInfo& type) {
  int64_t bytes = type.block_bytes;
  for (size_t i = 0; i < dims.size(); ++i) {
    const int64_t factor = i + 1 == dims.size() ? dims[i] / type.block_elements : dims[i];
    if (__builtin_mul_overflow(bytes, factor, &bytes)) return std::nullopt;
  }
  return bytes;
}

std::vector<int64_t> read_dims(GgufCursor& cursor, const std::string& what) {
  const auto rank = cursor.number<uint32_t>("a number of dims");
  if (rank > kMostDims) cursor.fail("{} has {} dims; at most {} work", what, rank, kMostDims);
  std::vector<int64_t> dims(rank);
  int64_t elements = 1;
  for (uint32_t i = 0; i < rank; ++i) {
    const auto dim = cursor.number<uint64_t>("a dim");
    if (dim > uint64_t{INT64_MAX} ||
        __builtin_mul_overflow(elements, std::max<int64_t>(static_cast<int64_t>(dim), 1), &elements)) {
      cursor.fail("{}: dim {} is {}, which makes more than 2^63 elements", what, i, dim);
    }
    dims[rank - 1 - i] = static_cast<int64_t>(dim);  // innermost first in the file
  }
  return dims;
}

}  // namespace

GgufCounts read_gguf_counts(GgufCursor& cursor) {
  const auto magic = cursor.number<uint32_t>("the signature");
  if (magic != kGgufMagic) {
    cursor.fail("this is not a GGUF file: it begins with {:#010x} instead of {:#010x}", magic, kGgufMagic);
  }
  const auto version = cursor.number<uint32_t>("the version");
  if (version == __builtin_bswap32(2) || version == __builtin_bswap32(3)) {
    cursor.fail("the file is big-endian; convert it to little endian (gguf_convert_endian.py of llama.cpp)");
  }
  if (version != 2 && version != 3) {
    cursor.fail("the file has version {} of GGUF; 2 and 3 can be read: convert the model again", version);
  }
  const auto tensors = cursor.number<uint64_t>("the number of tensors");
  const auto values = cursor.count("the number of metadata values", kLeastValueBytes);
  cursor.check_count(tensors, "the number of tensors", kLeastTensorBytes);
  return {version, tensors, values};
}

std::pair<std::string, GgufValue> read_gguf_value(GgufCursor& cursor) {
  std::string key = read_name(cursor, "a key", kLongestKey);
  const std::string what = fmt::format("\"{}\"", key);
  const auto type = cursor.number<uint32_t>(what);
  if (type == kGgufListType) return {std::move(key), read_list_of_any(cursor, what)};
  GgufValue value;
  if (!with_value_type(type, [&]<class T>(std::type_identity<T>) { value = read_scalar<T>(cursor, what); })) {
    cursor.fail("{} has a value of type {}; the format has 0 to 12", what, type);
  }
  return {std::move(key), std::move(value)};
}

GgufTensorHead read_gguf_tensor(GgufCursor& cursor) {
  std::string name = read_name(cursor, "a tensor's name", kLongestName);
  const std::string what = fmt::format("tensor \"{}\"", name);
  const std::vector<int64_t> dims = read_dims(cursor, what);
  const auto id = cursor.number<uint32_t>("a tensor's type");
  const GgufTypeInfo* type = find_gguf_type(id);
  if (type == nullptr) cursor.fail("{} has type {}, which ggml does not have", what, id);
  const int64_t row = dims.empty() ? 1 : dims.back();
  if (row % type->block_elements != 0) {
    cursor.fail("{} has rows of {} elements; {} has blocks of {}", what, row, type->name,
                type->block_elements);
  }
  const std::optional<int64_t> bytes = bytes_of_rows(dims, *type);
  if (!bytes) cursor.fail("{} of shape {} has more than 2^63 bytes", what, to_string(Shape(dims)));
  const auto offset = cursor.number<uint64_t>("a tensor's offset");
  return {std::move(name), type, Shape(dims), offset, *bytes};
}

}  // namespace trireme
