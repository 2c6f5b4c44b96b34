#include "models/formats/quantized/stored_sparse.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "runtime/base/error.h"
#include "runtime/base/integers.h"

namespace trireme {

namespace {

const StoredTensor& sparse_values_of(const StoredTensors& tensors, const std::string& path,
                                     const std::string& name, bool are_codes) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw_bad_input("{}: tensor \"{}\" is missing", path, name);
  const StoredTensor& values = found->second;
  const bool fits = values.shape.rank() == 1 && (are_codes ? values.dtype == DType::u8 && values.is_signed
                                                           : is_compute_type(values.dtype));
  if (!fits)
    throw_bad_input("{}: tensor \"{}\" is {} {}; numbers of {} in a row were expected", path, name,
                    to_string(values.dtype), to_string(values.shape), are_codes ? "i8" : "f32, bf16 or f16");
  return values;
}

int64_t count_bits(std::span<const std::byte> bytes) {
  int64_t bits = 0;
  size_t at = 0;
  for (uint64_t word; at + sizeof word <= bytes.size(); at += sizeof word) {
    std::memcpy(&word, bytes.data() + at, sizeof word);
    bits += std::popcount(word);
  }
  for (; at < bytes.size(); ++at) bits += std::popcount(static_cast<uint8_t>(bytes[at]));
  return bits;
}

/// The first `bits` (fewer than 8) of a byte.
std::byte first_bits(std::byte byte, int64_t bits) { return byte & static_cast<std::byte>((1 << bits) - 1); }

}  // namespace

StoredSparse::StoredSparse(const StoredTensors& tensors, const std::string& path, const std::string& module,
                           bool are_codes)
    : where_(fmt::format("{}: tensor \"{}\"", path, part_name(module, kMask))) {
  for (const std::string_view other : {kWeight, kPacked}) {
    if (tensors.contains(part_name(module, other)))
      throw_bad_input("{} is there, and \"{}\" too", where_, part_name(module, other));
  }
  const StoredTensor& shape = tensor_of(tensors, path, part_name(module, kShape), DType::i64, {2});
  outputs_ = int64_at(shape, 0);
  inputs_ = int64_at(shape, 1);
  const auto found = tensors.find(part_name(module, kMask));
  if (found == tensors.end()) throw_bad_input("{} is missing", where_);
  mask_ = &found->second;
  const bool fits = mask_->dtype == DType::u8 && !mask_->is_signed && mask_->shape.rank() == 2 &&
                    mask_->shape[0] == outputs_ && inputs_ >= 0 && inputs_ <= 8 * mask_->shape[1] &&
                    ceil_of(inputs_, int64_t{8}) == mask_->shape[1];
  if (!fits)
    throw_bad_input("{} is {} {}; u8 [{}, {} / 8] was expected, as \"{}\" says", where_,
                    to_string(mask_->dtype), to_string(mask_->shape), outputs_, inputs_,
                    part_name(module, kShape));
  values_ = &sparse_values_of(tensors, path, part_name(module, kValues), are_codes);
}

const std::vector<int64_t>& StoredSparse::begins() const {
  const std::lock_guard lock(mutex_);
  if (!begins_.empty()) return begins_;
  std::vector<int64_t> begins{0};
  const auto row_bytes = static_cast<size_t>(mask_->shape[1]);
  for (int64_t row = 0; row < outputs_; ++row) {
    const auto bytes = mask_->bytes.subspan(static_cast<size_t>(row) * row_bytes, row_bytes);
    if (inputs_ % 8 != 0 && first_bits(bytes.back(), inputs_ % 8) != bytes.back())
      throw_bad_input("{} has bits beyond the {} inputs in row {}", where_, inputs_, row);
    begins.push_back(begins.back() + count_bits(bytes));
  }
  if (begins.back() != values_->shape[0])
    throw_bad_input("{} has {} bits that are set, for {} values", where_, begins.back(), values_->shape[0]);
  begins_ = std::move(begins);
  return begins_;
}

int64_t StoredSparse::bits_before(int64_t row, int64_t column) const {
  const auto bytes = mask_->bytes.subspan(static_cast<size_t>(row * mask_->shape[1]));
  const auto whole = static_cast<size_t>(column / 8);
  const int64_t bits = count_bits(bytes.first(whole));
  if (column % 8 == 0) return bits;
  return bits + std::popcount(static_cast<uint8_t>(first_bits(bytes[whole], column % 8)));
}

template <class Take>
void StoredSparse::for_each_value(Part rows, Part columns, const Take& take) const {
  const std::vector<int64_t>& begins = this->begins();
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const std::byte* mask = mask_->bytes.data() + row * mask_->shape[1];
    int64_t value = begins[static_cast<size_t>(row)] + bits_before(row, columns.begin);
    const int64_t first = (row - rows.begin) * columns.size() - columns.begin;
    for (int64_t i = columns.begin; i < columns.end; ++i) {
      if ((mask[i / 8] >> (i % 8) & std::byte{1}) != std::byte{0}) take(first + i, value++);
    }
  }
}

void StoredSparse::read(Part rows, Part columns, std::span<float> to) const {
  std::ranges::fill(to, 0.0f);
  for_each_value(rows, columns,
                 [&](int64_t at, int64_t value) { to[static_cast<size_t>(at)] = float_at(*values_, value); });
}

void StoredSparse::codes(Part rows, Part columns, uint8_t zero, std::span<uint8_t> to) const {
  std::ranges::fill(to, zero);
  for_each_value(rows, columns, [&](int64_t at, int64_t value) {
    to[static_cast<size_t>(at)] =
        static_cast<uint8_t>(static_cast<uint8_t>(values_->bytes[static_cast<size_t>(value)]) + zero);
  });
}

std::vector<std::string> sparse_modules(const StoredTensors& tensors, const std::string& path) {
  std::vector<std::string> modules;
  for (const auto& [name, tensor] : tensors) {
    for (const auto& [end, other] : {std::pair{kMask, kValues}, std::pair{kValues, kMask}}) {
      if (!name.ends_with(end)) continue;
      const std::string module = name.substr(0, name.size() - end.size());
      if (!tensors.contains(part_name(module, other)))
        throw_bad_input("{}: tensor \"{}\" is missing, and \"{}\" is there", path, part_name(module, other),
                        name);
      if (end == kMask) modules.push_back(module);
    }
  }
  return modules;
}

}  // namespace trireme
