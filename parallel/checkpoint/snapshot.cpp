#include "parallel/checkpoint/snapshot.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "parallel/checkpoint/vote.h"
#include "runtime/base/error.h"
#include "runtime/device/cpu/cpu_device.h"
#include "runtime/device/cuda/cuda_device.h"
#include "runtime/io/files/durable_file.h"

namespace trireme {

namespace {

// Copied and hashed while they are in the cache.
constexpr int64_t kChunkBytes = int64_t{1} << 18;
// Of a device, whose copies each cost the host a call.
constexpr int64_t kDeviceCopyBytes = int64_t{16} << 20;
constexpr int64_t kWriteBytes = int64_t{8} << 20;

int64_t rounded_up(int64_t bytes) {
  constexpr auto kBlock = static_cast<int64_t>(DurableFile::kBlockBytes);
  return (bytes + kBlock - 1) / kBlock * kBlock;
}

}  // namespace

Snapshot::Snapshot(Device device)
    : source_(device.type == DeviceType::cpu ? cpu::make_memory_source()
                                             : cuda::make_pinned_memory_source(device.index)),
      copies_(device.type == DeviceType::cpu ? cpu::make_compute_stream()
                                             : cuda::make_compute_stream(device.index)) {}

void Snapshot::reserve(int64_t bytes) {
  if (bytes <= capacity_) return;
  memory_.reset();
  capacity_ = 0;
  const size_t size = static_cast<size_t>(bytes) + DurableFile::kBlockBytes;
  auto* const pointer = static_cast<std::byte*>(source_->allocate(size));
  if (pointer == nullptr)
    throw_environment("{} has no {} bytes for a copy of the state", source_->name(), bytes);
  memory_ = {pointer, [this, size](std::byte* p) { source_->release(p, size); }};
  capacity_ = bytes;
}

void Snapshot::lay_out(int rank) {
  std::vector<Slice> slices;
  for (const SliceSource& source : sources_) slices.push_back(source.slice);
  files_ = plan_files(rank, slices);
  size_ = 0;
  for (const PlannedFile& file : files_) {
    StoredFile stored{file.name, std::ssize(file.head), std::ssize(file.head), xxh3_128(file.head)};
    for (const size_t i : file.slices) {
      part_.stored.slices.push_back({slices[i], part_.stored.files.size(), stored.bytes, {}});
      stored.bytes += slices[i].bytes();
    }
    size_ += rounded_up(stored.bytes);
    part_.stored.files.push_back(std::move(stored));
  }
}

void Snapshot::cut_into_pieces() {
  const auto address = static_cast<int64_t>(reinterpret_cast<uintptr_t>(memory_.get()));
  std::byte* place = memory_.get() + (rounded_up(address) - address);
  const int64_t most = is_on_host() ? kChunkBytes : kDeviceCopyBytes;
  for (size_t f = 0; f < files_.size(); ++f) {
    const StoredFile& stored = part_.stored.files[f];
    const std::span<std::byte> image(place, static_cast<size_t>(stored.bytes));
    std::memcpy(image.data(), files_[f].head.data(), files_[f].head.size());
    int64_t at = stored.head_bytes;
    for (const size_t i : files_[f].slices) {
      const int64_t bytes = sources_[i].slice.bytes();
      for (int64_t from = 0; from < bytes; from += most) {
        const auto size = static_cast<size_t>(std::min(most, bytes - from));
        pieces_.push_back({i, from, image.subspan(static_cast<size_t>(at + from), size)});
      }
      at += bytes;
    }
    images_.push_back(image);
    place += rounded_up(stored.bytes);
  }
}

void Snapshot::begin(int rank, std::vector<SliceSource> sources, Stream& compute) {
  sources_ = std::move(sources);
  part_ = {};
  pieces_.clear();
  images_.clear();
  submitted_.clear();
  claimed_ = copied_ = awaited_ = 0;
  is_hashed_ = false;
  failure_.clear();
  is_released_ = true;  // where this begins nothing
  lay_out(rank);
  reserve(size_);
  cut_into_pieces();
  if (!is_on_host()) submit(compute);
  is_released_ = false;
}

void Snapshot::submit(Stream& compute) {
  copies_->wait(*compute.record());
  int64_t bytes = 0;
  for (size_t i = 0; i < pieces_.size(); ++i) {
    const Piece& piece = pieces_[i];
    sources_[piece.slice].copy(*copies_, piece.begin, piece.to);
    bytes += std::ssize(piece.to);
    if (bytes < kDeviceCopyBytes && i + 1 < pieces_.size()) continue;
    submitted_.push_back({i + 1, copies_->record()});
    bytes = 0;
  }
  claimed_ = pieces_.size();
}

void Snapshot::note_failure(std::string words) {
  if (words.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    if (failure_.empty()) failure_ = std::move(words);
  }
  changed_.notify_all();
}

void Snapshot::copy(size_t piece) {
  const Piece& p = pieces_[piece];
  note_failure(failure_of([&] { sources_[p.slice].copy(*copies_, p.begin, p.to); }));
  note_copied(piece);
}

bool Snapshot::claim(size_t piece) {
  const std::lock_guard lock(mutex_);
  if (claimed_ != piece) return false;
  ++claimed_;
  return true;
}

/// Wakes nobody for less than is waited for.
void Snapshot::note_copied(size_t piece) {
  bool is_awaited = false;
  {
    const std::lock_guard lock(mutex_);
    pieces_[piece].is_copied = true;
    while (copied_ < pieces_.size() && pieces_[copied_].is_copied) ++copied_;
    is_awaited = copied_ >= awaited_;
    if (is_awaited) awaited_ = pieces_.size();
  }
  if (is_awaited) changed_.notify_all();
}

/// For who holds the lock, and is woken when it is so.
bool Snapshot::has_copied(size_t count) {
  if (copied_ < count) awaited_ = std::min(awaited_, count);
  return copied_ >= count;
}

void Snapshot::wait_for(size_t piece) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return has_copied(piece + 1); });
}

void Snapshot::obtain(size_t piece, size_t& submitted) {
  if (claim(piece)) return copy(piece);
  if (submitted == submitted_.size()) return wait_for(piece);  // release() copies it
  const Submitted& copies = submitted_[submitted];
  note_failure(failure_of([&] { copies.done->synchronize(); }));
  note_copied(piece);
  if (piece + 1 == copies.end) ++submitted;
}

void Snapshot::hash() {
  note_failure(failure_of([&] { hash_pieces(); }));
  {
    const std::lock_guard lock(mutex_);
    is_hashed_ = true;
  }
  changed_.notify_all();
}

void Snapshot::hash_piece(size_t piece, size_t& submitted, Xxh3Stream& stream, ProofHash& proof) {
  const Piece& p = pieces_[piece];
  const SliceSource& source = sources_[p.slice];
  const auto element = static_cast<int64_t>(size_of(source.slice.dtype));
  if (is_on_host() && source.memory != nullptr && claim(piece)) {
    // In one pass, and XXH3 of what that has left in the cache; release() waits for both.
    const std::span<const std::byte> from(source.memory + p.begin, p.to.size());
    note_failure(failure_of([&] { proof.add_copied(source.slice, p.begin / element, from, p.to.data()); }));
    stream.update(from);
    return note_copied(piece);
  }
  obtain(piece, submitted);
  for (int64_t at = 0; at < std::ssize(p.to); at += kChunkBytes) {
    const auto size = static_cast<size_t>(std::min(kChunkBytes, std::ssize(p.to) - at));
    const auto chunk = p.to.subspan(static_cast<size_t>(at), size);
    stream.update(chunk);
    proof.add(source.slice, (p.begin + at) / element, chunk);
  }
}

void Snapshot::hash_pieces() {
  ProofHash proof;
  std::vector<Hash128> hashes;
  Xxh3Stream stream;
  size_t submitted = 0;
  for (size_t i = 0; i < pieces_.size(); ++i) {
    hash_piece(i, submitted, stream, proof);
    if (i + 1 < pieces_.size() && pieces_[i + 1].begin > 0) continue;  // more of this slice
    hashes.push_back(stream.digest());
    stream.reset();
  }
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < hashes.size(); ++i) part_.stored.slices[i].hash = hashes[i];
  part_.proof = proof;
}

void Snapshot::release(Stream& compute) {
  if (std::exchange(is_released_, true)) return;
  if (!is_on_host()) {
    if (!submitted_.empty()) compute.wait(*submitted_.back().done);
    return;
  }
  while (true) {
    size_t piece = 0;
    {
      const std::lock_guard lock(mutex_);
      if (claimed_ == pieces_.size()) break;
      piece = claimed_++;
    }
    copy(piece);
  }
  if (!pieces_.empty()) wait_for(pieces_.size() - 1);
}

void Snapshot::wait_for_bytes(const std::byte* end) {
  // The first piece that is not before it.
  const auto behind = std::ranges::partition_point(
      pieces_, [&](const std::byte* begin) { return begin < end; },
      [](const Piece& p) { return p.to.data(); });
  std::unique_lock lock(mutex_);
  const auto count = static_cast<size_t>(behind - pieces_.begin());
  changed_.wait(lock, [&] { return !failure_.empty() || has_copied(count); });
  if (!failure_.empty()) throw EnvironmentError(failure_);
}

WrittenPart Snapshot::write(FileCalls& calls, const std::string& directory) {
  for (size_t i = 0; i < files_.size(); ++i) {
    DurableFile file(calls, directory + "/" + files_[i].name);
    const std::span<const std::byte> image = images_[i];
    for (int64_t at = 0; at < std::ssize(image); at += kWriteBytes) {
      const auto size = static_cast<size_t>(std::min(kWriteBytes, std::ssize(image) - at));
      const auto bytes = image.subspan(static_cast<size_t>(at), size);
      wait_for_bytes(bytes.data() + bytes.size());
      file.write(bytes);
    }
    file.sync();
    file.close();
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return is_hashed_; });
  if (!failure_.empty()) throw EnvironmentError(failure_);
  return part_;
}

void Snapshot::take(int rank, std::vector<SliceSource> sources) {
  begin(rank, std::move(sources), *copies_);
  hash();
}

}  // namespace trireme
