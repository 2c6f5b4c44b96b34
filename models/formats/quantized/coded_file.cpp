#include "models/formats/quantized/coded_file.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/base/error.h"

namespace trireme {

namespace {

constexpr size_t kLengthBytes = 8, kAlignment = 8;
/// Of each tensor: its name of a type may be longer than that of a wider one.
constexpr size_t kSpare = 8;

size_t room_for(const std::vector<TensorSpec>& most, const TextMap& metadata) {
  const size_t bytes = safetensors_head(most, metadata).size() + most.size() * kSpare;
  return (bytes + 63) / 64 * 64;
}

}  // namespace

CodedFileWriter::CodedFileWriter(const std::string& path, const std::vector<TensorSpec>& most,
                                 TextMap metadata)
    : file_(path), metadata_(std::move(metadata)), room_(room_for(most, metadata_)) {
  file_.write(std::string(room_, ' '));
}

void CodedFileWriter::add(const TensorSpec& spec, std::span<const std::byte> bytes) {
  TRIREME_CHECK(spec.shape.numel() * static_cast<int64_t>(size_of(spec.dtype)) == std::ssize(bytes),
                "{} bytes for {}", bytes.size(), spec.name);
  if (bytes.size() % kAlignment == 0) return put(spec, bytes);
  waiting_.emplace_back(spec, std::vector<std::byte>(bytes.begin(), bytes.end()));
}

void CodedFileWriter::put(const TensorSpec& spec, std::span<const std::byte> bytes) {
  written_.push_back(spec);
  file_.write(bytes);
}

void CodedFileWriter::commit() {
  std::ranges::stable_sort(waiting_, std::ranges::greater(),
                           [](const auto& tensor) { return size_of(tensor.first.dtype); });
  for (const auto& [spec, bytes] : waiting_) put(spec, bytes);
  std::string head = safetensors_head(written_, metadata_);
  TRIREME_CHECK(head.size() <= room_, "a header of {} bytes, room for {}", head.size(), room_);
  head.append(room_ - head.size(), ' ');
  const uint64_t length = room_ - kLengthBytes;
  std::memcpy(head.data(), &length, sizeof length);
  file_.rewrite(0, std::as_bytes(std::span(head)));
  file_.commit();
}

}  // namespace trireme
