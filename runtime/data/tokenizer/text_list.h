// Many short texts in little memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/error.h"

namespace trireme {

/// Texts one behind the other, 4 bytes each beside their own. Those of a vocabulary: as strings they take 32
/// bytes each at least.
class TextList {
 public:
  size_t size() const { return ends_.size(); }
  bool empty() const { return ends_.empty(); }
  /// Valid until the next push_back.
  std::string_view operator[](size_t i) const {
    const size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(bytes_).substr(begin, ends_[i] - begin);
  }
  void reserve(size_t texts, size_t bytes) {
    ends_.reserve(texts);
    bytes_.reserve(bytes);
  }
  void push_back(std::string_view text) {
    if (text.size() > UINT32_MAX - bytes_.size())
      throw_bad_input("tokens of more than 4 GiB together are not supported");
    bytes_ += text;
    ends_.push_back(static_cast<uint32_t>(bytes_.size()));
  }
  void clear() { *this = TextList(); }

 private:
  std::string bytes_;
  std::vector<uint32_t> ends_;
};

}  // namespace trireme
