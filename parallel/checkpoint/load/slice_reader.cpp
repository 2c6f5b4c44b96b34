#include "parallel/checkpoint/load/slice_reader.h"

#include <algorithm>
#include <utility>

#include "parallel/checkpoint/format/slice_file.h"
#include "parallel/checkpoint/vote.h"

namespace trireme {

SliceReader::SliceReader(std::string directory, const StoredFiles& stored, std::vector<size_t> slices)
    : directory_(std::move(directory)),
      stored_(stored),
      slices_(std::move(slices)),
      is_checked_(stored.files.size()) {
  thread_ = std::thread([this] { run(); });
}

SliceReader::~SliceReader() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

std::vector<std::byte> SliceReader::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !pieces_.empty(); });
  std::vector<std::byte> piece = std::move(pieces_.front());
  pieces_.pop_front();
  lock.unlock();
  changed_.notify_all();
  return piece;
}

void SliceReader::give_back(std::vector<std::byte> piece) {
  const std::lock_guard lock(mutex_);
  spare_.push_back(std::move(piece));
}

std::string SliceReader::failure() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return is_done_; });
  return failure_;
}

/// False where nobody wants it any more.
bool SliceReader::put(std::vector<std::byte>& piece) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ends_ || pieces_.size() < kMostAhead; });
  if (ends_) return false;
  pieces_.push_back(std::move(piece));
  piece.clear();
  if (!spare_.empty()) {
    piece = std::move(spare_.back());
    spare_.pop_back();
  }
  lock.unlock();
  changed_.notify_all();
  return true;
}

void SliceReader::read(const StoredSlice& slice) {
  const int64_t bytes = slice.slice.bytes();
  int64_t done = 0;
  bool is_wanted = true;
  const std::string failure = failure_of([&] {
    const SliceFile file(directory_, stored_.files[slice.file]);
    if (!is_checked_[slice.file]) file.check_head();
    is_checked_[slice.file] = true;
    file.read_slice(slice, buffer_, [&](int64_t, std::span<const std::byte> piece) {
      done += std::ssize(piece);
      return is_wanted = put(buffer_);
    });
  });
  while (done < bytes && is_wanted) {
    buffer_.assign(static_cast<size_t>(std::min(SliceFile::kPieceBytes, bytes - done)), std::byte{0});
    done += std::ssize(buffer_);
    is_wanted = put(buffer_);
  }
  const std::lock_guard lock(mutex_);
  if (failure_.empty()) failure_ = failure;
}

void SliceReader::run() {
  for (const size_t i : slices_) {
    read(stored_.slices[i]);
    const std::lock_guard lock(mutex_);
    if (ends_) return;
  }
  {
    const std::lock_guard lock(mutex_);
    is_done_ = true;
  }
  changed_.notify_all();
}

}  // namespace trireme
