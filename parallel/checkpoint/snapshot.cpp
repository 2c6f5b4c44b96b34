#include "parallel/checkpoint/snapshot.h"

#include <algorithm>
#include <unordered_map>

#include "runtime/base/error.h"
#include "runtime/io/files/durable_file.h"
#include "runtime/io/safetensors/sharded_safetensors.h"

namespace trireme {

namespace {

// Copied and hashed while they are in the cache.
constexpr int64_t kChunkBytes = int64_t{1} << 18;
constexpr int64_t kWriteBytes = int64_t{8} << 20;

std::string head_of(const PlannedFile& file, const std::vector<Slice>& slices) {
  std::vector<TensorSpec> specs;
  std::vector<std::pair<std::string, Shape>> offsets;
  for (const size_t i : file.slices) {
    specs.push_back({slices[i].name, slices[i].dtype, slices[i].box.extent});
    offsets.emplace_back(slices[i].name, slices[i].box.offset);
  }
  return safetensors_head(specs, sharding_metadata(offsets));
}

/// Copies a slice and returns its hash; adds its elements to `proof`.
Hash128 copy_slice(const SliceSource& source, std::span<std::byte> to, ProofHash& proof) {
  Xxh3Stream stream;
  const auto element = static_cast<int64_t>(size_of(source.slice.dtype));
  for (int64_t at = 0; at < std::ssize(to); at += kChunkBytes) {
    const auto chunk =
        to.subspan(static_cast<size_t>(at), static_cast<size_t>(std::min(kChunkBytes, std::ssize(to) - at)));
    source.copy(at, chunk);
    stream.update(chunk);
    proof.add(source.slice, at / element, chunk);
  }
  return stream.digest();
}

}  // namespace

ProofHash proof_of(std::span<const SliceSource> sources) {
  ProofHash proof;
  std::vector<std::byte> chunk;
  for (const SliceSource& source : sources) {
    const int64_t bytes = source.slice.bytes();
    for (int64_t at = 0; at < bytes; at += kChunkBytes) {
      chunk.resize(static_cast<size_t>(std::min(kChunkBytes, bytes - at)));
      source.copy(at, chunk);
      proof.add(source.slice, at / static_cast<int64_t>(size_of(source.slice.dtype)), chunk);
    }
  }
  return proof;
}

std::vector<PlannedFile> plan_files(int rank, const std::vector<Slice>& slices) {
  std::vector<PlannedFile> files;
  std::unordered_map<std::string_view, size_t> seen;
  for (size_t i = 0; i < slices.size(); ++i) {
    TRIREME_CHECK(slices[i].box.numel() > 0, "{} is empty", to_string(slices[i]));
    const size_t number = seen[slices[i].name]++;
    if (number == files.size()) {
      const std::string part = number == 0 ? "" : fmt::format("-part{}", number);
      files.push_back({fmt::format("rank-{:05}{}.safetensors", rank, part), {}, {}});
    }
    files[number].slices.push_back(i);
  }
  for (PlannedFile& file : files) {
    // Readers that want aligned elements get them when wider types come first.
    std::ranges::stable_sort(file.slices, std::ranges::greater(),
                             [&](size_t i) { return size_of(slices[i].dtype); });
    file.head = head_of(file, slices);
  }
  return files;
}

void Snapshot::take(int rank, std::span<const SliceSource> sources) {
  std::vector<Slice> slices;
  size_ = 0;
  for (const SliceSource& source : sources) {
    slices.push_back(source.slice);
    size_ += source.slice.bytes();
  }
  if (size_ > capacity_) {
    memory_.reset();
    memory_ = std::make_unique_for_overwrite<std::byte[]>(static_cast<size_t>(size_));
    capacity_ = size_;
  }
  files_ = plan_files(rank, slices);
  stored_ = {};
  place_.clear();
  proof_ = {};
  int64_t place = 0;
  for (const PlannedFile& file : files_) {
    place_.push_back(place);
    const auto head_bytes = static_cast<int64_t>(file.head.size());
    StoredFile stored{file.name, head_bytes, head_bytes, xxh3_128(file.head)};
    for (const size_t i : file.slices) {
      const int64_t bytes = slices[i].bytes();
      const std::span<std::byte> to(memory_.get() + place, static_cast<size_t>(bytes));
      stored_.slices.push_back(
          {slices[i], stored_.files.size(), stored.bytes, copy_slice(sources[i], to, proof_)});
      stored.bytes += bytes;
      place += bytes;
    }
    stored_.files.push_back(std::move(stored));
  }
}

StoredFiles Snapshot::write(FileCalls& calls, const std::string& directory) const {
  for (size_t i = 0; i < files_.size(); ++i) {
    DurableFile file(calls, directory + "/" + files_[i].name);
    file.write(files_[i].head);
    const int64_t bytes = stored_.files[i].bytes - stored_.files[i].head_bytes;
    for (int64_t at = 0; at < bytes; at += kWriteBytes)
      file.write(std::span<const std::byte>(memory_.get() + place_[i] + at,
                                            static_cast<size_t>(std::min(kWriteBytes, bytes - at))));
    file.sync();
    file.close();
  }
  return stored_;
}

}  // namespace trireme
