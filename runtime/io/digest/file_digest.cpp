#include "runtime/io/digest/file_digest.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <unistd.h>

#include "runtime/base/error.h"
#include "runtime/base/philox.h"
#include "runtime/io/files/file.h"

namespace trireme {

namespace {

constexpr int64_t kBlockBytes = 16 << 10;
constexpr int64_t kBlocksBetween = 64;
constexpr int64_t kWholeBytes = 1 << 20;

uint64_t hash_of(int fd, int64_t begin, int64_t bytes, const std::string& path) {
  std::string block(static_cast<size_t>(bytes), '\0');
  size_t have = 0;
  while (have < block.size()) {
    const ssize_t got =
        ::pread(fd, block.data() + have, block.size() - have, begin + static_cast<int64_t>(have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_bad_input("cannot read {}: {}", path, std::strerror(errno));
    if (got == 0) throw_bad_input("{} shrank while it was read", path);
    have += static_cast<size_t>(got);
  }
  return hash_name(block);
}

}  // namespace

FileDigest digest_file(const std::string& path) {
  const FileDescriptor file = open_for_reading(path);
  const int64_t size = regular_file_size(file.get(), path);
  if (size <= kWholeBytes) return {size, hash_of(file.get(), 0, size, path)};
  constexpr int64_t kGaps = kBlocksBetween + 1;  // between head and tail
  const int64_t last = size - kBlockBytes;
  FileDigest digest{size, 0};
  for (int64_t i = 0; i <= kGaps; ++i) {
    const int64_t begin = last / kGaps * i + last % kGaps * i / kGaps;
    digest.hash = (digest.hash ^ hash_of(file.get(), begin, kBlockBytes, path)) * 0x9e3779b97f4a7c15ull;
  }
  return digest;
}

std::string to_string(const FileDigest& digest) {
  return fmt::format("{} bytes, hash {:016x}", digest.bytes, digest.hash);
}

}  // namespace trireme
