#include "runtime/io/gguf/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "runtime/base/error.h"
#include "runtime/base/integers.h"
#include "runtime/io/digest/file_signs.h"
#include "runtime/io/gguf/gguf_head.h"

namespace trireme {

namespace {

static_assert(std::endian::native == std::endian::little, "numbers are stored as they lie in memory");

/// Tensors lie one after the other, each at the next multiple of the alignment.
void check_places(std::vector<GgufTensorHead> tensors, uint64_t alignment, size_t data_bytes,
                  const std::string& path) {
  std::ranges::stable_sort(tensors, [](const GgufTensorHead& a, const GgufTensorHead& b) {
    return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
  });
  uint64_t end = 0;
  for (const GgufTensorHead& tensor : tensors) {
    const uint64_t expected = round_up(end, alignment);
    if (tensor.offset != expected) {
      throw_bad_input("{}: tensor \"{}\" begins at byte {} of the data, expected {}: {}", path, tensor.name,
                      tensor.offset, expected,
                      tensor.offset % alignment != 0
                          ? fmt::format("that is no multiple of the alignment {}", alignment)
                      : tensor.offset < expected ? "it overlaps another"
                                                 : "there is a gap");
    }
    if (static_cast<uint64_t>(tensor.bytes) > data_bytes ||
        tensor.offset > data_bytes - static_cast<uint64_t>(tensor.bytes)) {
      throw_bad_input("{} is truncated: tensor \"{}\" should have bytes {} to {} of the data, which has {}",
                      path, tensor.name, tensor.offset, tensor.offset + static_cast<uint64_t>(tensor.bytes),
                      data_bytes);
    }
    end = tensor.offset + static_cast<uint64_t>(tensor.bytes);
  }
  if (data_bytes > round_up(end, alignment)) {
    throw_bad_input("{} has {} bytes of data; its tensors end at byte {}", path, data_bytes, end);
  }
}

int64_t alignment_in(const GgufValue* value, const std::string& path) {
  constexpr int64_t kDefault = 32;
  if (value == nullptr) return kDefault;
  const uint32_t* alignment = std::get_if<uint32_t>(value);
  if (alignment == nullptr || !std::has_single_bit(*alignment)) {
    throw_bad_input("{}: general.alignment is {} ({}); it must be a u32 that is a power of two", path,
                    value_text(*value, 40), type_text(*value));
  }
  return *alignment;
}

}  // namespace

GgufReader::GgufReader(std::string path) : file_(std::move(path)) {
  const std::string_view other = signature_of(file_.text());
  if (!other.empty() && !file_.text().starts_with("GGUF")) {
    throw_bad_input("{} is not a GGUF file: it is {}", file_.path(), other);
  }
  read_head();
}

void GgufReader::read_head() {
  GgufCursor cursor(file_.text(), file_.path());
  const GgufCounts counts = read_gguf_counts(cursor);
  version_ = counts.version;
  for (uint64_t i = 0; i < counts.values; ++i) {
    metadata_.push_back(read_gguf_value(cursor));
    if (!places_.emplace(metadata_.back().first, metadata_.size() - 1).second) {
      cursor.fail("the key \"{}\" is there twice", metadata_.back().first);
    }
  }
  alignment_ = alignment_in(find("general.alignment"), path());
  std::vector<GgufTensorHead> heads;
  for (uint64_t i = 0; i < counts.tensors; ++i) {
    heads.push_back(read_gguf_tensor(cursor));
    if (!tensors_.emplace(heads.back().name, GgufTensor{heads.back().type, heads.back().shape, {}}).second) {
      cursor.fail("the tensor \"{}\" is there twice", heads.back().name);
    }
    order_.push_back(heads.back().name);
  }
  // A file without tensors may end before the alignment.
  const size_t begin = std::min(round_up(cursor.place(), static_cast<size_t>(alignment_)), file_.size());
  const auto data = file_.bytes().subspan(begin);
  check_places(heads, static_cast<uint64_t>(alignment_), data.size(), path());
  for (const GgufTensorHead& head : heads) {
    tensors_.find(head.name)->second.bytes = data.subspan(head.offset, static_cast<size_t>(head.bytes));
  }
}

const GgufValue* GgufReader::find(std::string_view key) const {
  const auto found = places_.find(key);
  return found == places_.end() ? nullptr : &metadata_[found->second].second;
}

const std::string& GgufReader::text(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) throw_bad_input("{} has no \"{}\" in its metadata", path(), key);
  const std::string* text = std::get_if<std::string>(value);
  if (text == nullptr) throw_bad_input("{}: \"{}\" is a {}, not a string", path(), key, type_text(*value));
  return *text;
}

int64_t GgufReader::integer(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) throw_bad_input("{} has no \"{}\" in its metadata", path(), key);
  return std::visit(
      [&]<class T>(const T& held) -> int64_t {
        if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
          if (std::in_range<int64_t>(held)) return static_cast<int64_t>(held);
        }
        throw_bad_input("{}: \"{}\" is {} ({}), not a whole number below 2^63", path(), key,
                        value_text(*value, 40), type_text(*value));
      },
      *value);
}

double GgufReader::real(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value != nullptr && std::holds_alternative<float>(*value)) return std::get<float>(*value);
  if (value != nullptr && std::holds_alternative<double>(*value)) return std::get<double>(*value);
  return static_cast<double>(integer(key));
}

const GgufTensor& GgufReader::at(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    throw_bad_input("{} has no tensor \"{}\" among its {}", path(), name, tensors_.size());
  }
  return found->second;
}

}  // namespace trireme
