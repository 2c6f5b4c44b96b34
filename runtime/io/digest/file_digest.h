// What a file holds, in a few bytes: to compare the copies of it that ranks read.
#pragma once

#include <cstdint>
#include <string>

namespace trireme {

struct FileDigest {
  int64_t bytes = 0;
  uint64_t hash = 0;

  friend bool operator==(const FileDigest&, const FileDigest&) = default;
};

/// The size, and a hash of head, tail and 64 blocks of 16 KiB that lie evenly between them (of a file of up
/// to 1 MiB, of all). Reads a megabyte of a file of any size; not made to withstand somebody who wants two
/// files to look alike. UserError (bad_input) when `path` is no regular file that can be read.
FileDigest digest_file(const std::string& path);

/// "4812 bytes, hash 1f2e3d4c5b6a7988".
std::string to_string(const FileDigest& digest);

}  // namespace trireme
