#include "runtime/io/gguf/gguf_writer.h"

#include <bit>
#include <concepts>
#include <set>
#include <type_traits>
#include <utility>

#include "runtime/base/error.h"
#include "runtime/base/integers.h"
#include "runtime/io/gguf/gguf_elements.h"

namespace trireme {

namespace {

constexpr uint32_t kWrittenVersion = 3;
constexpr size_t kLongestWrittenName = 63;
constexpr int64_t kDefaultAlignment = 32;

template <class T>
void put(std::string& out, T value) {
  static_assert(std::is_arithmetic_v<T>);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void put_string(std::string& out, std::string_view text) {
  put<uint64_t>(out, text.size());
  out += text;
}
template <class T>
void put_scalar(std::string& out, const T& value) {
  if constexpr (std::same_as<T, std::string>) {
    put_string(out, value);
  } else if constexpr (std::same_as<T, bool>) {
    put<uint8_t>(out, value ? 1 : 0);
  } else {
    put(out, value);
  }
}

void put_value(std::string& out, const GgufValue& value) {
  std::visit(
      [&]<class T>(const T& held) {
        if constexpr (kGgufValueType<T> != ~0u) {
          put<uint32_t>(out, kGgufValueType<T>);
          put_scalar<T>(out, held);
        } else {
          using Element = typename T::value_type;
          put<uint32_t>(out, kGgufListType);
          put<uint32_t>(out, kGgufValueType<Element>);
          put<uint64_t>(out, held.size());
          for (const auto& element : held) put_scalar<Element>(out, element);
        }
      },
      value);
}

int64_t written_bytes(const GgufSpec& spec) {
  const GgufTypeInfo& info = info_of(spec.type);
  return spec.shape.numel() / info.block_elements * info.block_bytes;
}

int64_t alignment_of(const GgufMetadata& metadata) {
  for (const auto& [key, value] : metadata) {
    if (key != "general.alignment") continue;
    TRIREME_CHECK(std::holds_alternative<uint32_t>(value) && std::has_single_bit(std::get<uint32_t>(value)),
                  "an alignment of {}", value_text(value, 40));
    return std::get<uint32_t>(value);
  }
  return kDefaultAlignment;
}

void pad(std::string& out, int64_t alignment) {
  out.resize(round_up(out.size(), static_cast<size_t>(alignment)), '\0');
}

void put_tensor(std::string& out, const GgufSpec& spec, int64_t offset) {
  const GgufTypeInfo& info = info_of(spec.type);
  const int rank = spec.shape.rank();
  TRIREME_CHECK(!spec.name.empty() && spec.name.size() <= kLongestWrittenName, "tensor \"{}\" in GGUF",
                spec.name);
  TRIREME_CHECK(rank <= 4 && (rank == 0 ? 1 : spec.shape[-1]) % info.block_elements == 0,
                "tensor {} {} as {}", spec.name, to_string(spec.shape), info.name);
  put_string(out, spec.name);
  put(out, static_cast<uint32_t>(rank));
  for (int i = rank - 1; i >= 0; --i) put(out, static_cast<uint64_t>(spec.shape[i]));
  put(out, info.id);
  put(out, static_cast<uint64_t>(offset));
}

}  // namespace

std::string gguf_head(const std::vector<GgufSpec>& tensors, const GgufMetadata& metadata) {
  const int64_t alignment = alignment_of(metadata);
  std::string head = "GGUF";
  put(head, kWrittenVersion);
  put<uint64_t>(head, tensors.size());
  put<uint64_t>(head, metadata.size());
  std::set<std::string_view> names;
  for (const auto& [key, value] : metadata) {
    TRIREME_CHECK(!key.empty() && names.insert(key).second, "key \"{}\" twice", key);
    put_string(head, key);
    put_value(head, value);
  }
  names.clear();
  int64_t offset = 0;
  for (const GgufSpec& spec : tensors) {
    TRIREME_CHECK(names.insert(spec.name).second, "tensor {} twice", spec.name);
    put_tensor(head, spec, offset);
    offset = round_up(offset + written_bytes(spec), alignment);
  }
  pad(head, alignment);
  return head;
}

GgufWriter::GgufWriter(std::string path, std::vector<GgufSpec> tensors, const GgufMetadata& metadata)
    : file_(std::move(path)), tensors_(std::move(tensors)), alignment_(alignment_of(metadata)) {
  file_.write(gguf_head(tensors_, metadata));
  skip_complete();
}

void GgufWriter::write(std::string_view name, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  TRIREME_CHECK(current_ < tensors_.size() && tensors_[current_].name == name, "tensor {} out of order",
                name);
  written_ += std::ssize(bytes);
  TRIREME_CHECK(written_ <= written_bytes(tensors_[current_]), "{} bytes for tensor {} of {}", written_, name,
                written_bytes(tensors_[current_]));
  file_.write(bytes);
  skip_complete();
}

void GgufWriter::write_values(std::string_view name, std::span<const float> values) {
  if (values.empty()) return;
  TRIREME_CHECK(current_ < tensors_.size() && tensors_[current_].name == name, "tensor {} out of order",
                name);
  const GgufTypeInfo& info = info_of(tensors_[current_].type);
  TRIREME_CHECK(std::ssize(values) % info.block_elements == 0, "{} values in blocks of {}", values.size(),
                info.block_elements);
  std::vector<std::byte> stored(
      static_cast<size_t>(std::ssize(values) / info.block_elements * info.block_bytes));
  if (!encode_gguf(tensors_[current_].type, values, stored)) {
    throw_bad_input("{}: {} cannot hold tensor \"{}\": a value is not finite or beyond {:.2g}; f32 can",
                    file_.path(), info.name, name, largest_in_gguf(tensors_[current_].type));
  }
  write(name, stored);
}

void GgufWriter::commit() {
  TRIREME_CHECK(current_ == tensors_.size(), "tensor {} is not complete", tensors_[current_].name);
  file_.commit();
}

void GgufWriter::skip_complete() {
  while (current_ < tensors_.size() && written_ == written_bytes(tensors_[current_])) {
    // The last one is padded too, as ggml does.
    const std::string padding(static_cast<size_t>(round_up(written_, alignment_) - written_), '\0');
    if (!padding.empty()) file_.write(padding);
    ++current_, written_ = 0;
  }
}

}  // namespace trireme
