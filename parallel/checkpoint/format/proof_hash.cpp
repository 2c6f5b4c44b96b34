#include "parallel/checkpoint/format/proof_hash.h"

#include <cstdint>
#include <vector>

#include "parallel/checkpoint/format/cut_range.h"
#include "runtime/base/error.h"

namespace trireme {

void ProofHash::add(const Slice& slice, int64_t begin, std::span<const std::byte> bytes) {
  const size_t element = size_of(slice.dtype);
  // Elements of files may lie anywhere.
  std::vector<std::byte> aligned;
  if (reinterpret_cast<uintptr_t>(bytes.data()) % element != 0) {
    aligned.assign(bytes.begin(), bytes.end());
    bytes = aligned;
  }
  add_copied(slice, begin, bytes, nullptr);
}

void ProofHash::add_copied(const Slice& slice, int64_t begin, std::span<const std::byte> bytes,
                           std::byte* to) {
  const size_t element = size_of(slice.dtype);
  const auto count = static_cast<int64_t>(bytes.size() / element);
  const ops::ElementHashKey key(slice.name);
  for (const BoxOfRun& part : cut_range(slice.box, begin, begin + count)) {
    for_each_run(part.box, slice.shape, [&](int64_t index, int64_t place, int64_t length) {
      const auto at = static_cast<size_t>(part.begin + place) * element;
      const auto run = bytes.subspan(at, static_cast<size_t>(length) * element);
      sum_ += to == nullptr ? ops::hash_elements(key, index, run, element)
                            : ops::copy_and_hash_elements(key, index, run, element, to + at);
    });
  }
}

std::string to_string(const ProofHash& proof) {
  return fmt::format("{:016x}{:016x}", proof.sum().high, proof.sum().low);
}

}  // namespace trireme
