// Megatron-LM's indexed data set (megatron/core/datasets/indexed_dataset.py): a .bin of tokens and an .idx
// with magic, version, dtype code, number of sequences, number of document bounds, int32 lengths, int64 byte
// offsets, int64 document bounds.
#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/data/tokens/token_format.h"

namespace trireme {
namespace {

constexpr std::string_view kMagic{"MMIDIDX\0\0", 9};
constexpr size_t kHeaderBytes = 9 + 8 + 1 + 8 + 8;

class IndexReader {
 public:
  IndexReader(const MappedFile& data, const MappedFile& index) : data_(data), index_(index) {}

  TokenLayout layout() {
    read_header();
    check_documents();
    TokenLayout out;
    out.format = TokenFormat::megatron;
    out.type = type_;
    if (num_bounds_ > 0) out.num_documents = static_cast<int64_t>(num_bounds_) - 1;
    const int64_t width = bytes_of(type_);
    int64_t expected_offset = -1;
    for (uint64_t s = 0; s < num_sequences_; ++s) {
      const auto length = load<int32_t>(kHeaderBytes + s * sizeof(int32_t));
      const auto offset = load<int64_t>(offsets_begin() + s * sizeof(int64_t));
      check_sequence(s, length, offset, width);
      if (length == 0) continue;
      if (offset != expected_offset) out.runs.push_back({out.num_tokens, offset});
      out.num_tokens += length;
      expected_offset = offset + length * width;
    }
    if (out.runs.empty()) out.runs.push_back({0, 0});
    check_whole(out.num_tokens, width);
    check_tiling(out, width);
    return out;
  }

 private:
  template <class T>
  T load(size_t offset) const {
    T value;
    std::memcpy(&value, index_.bytes().data() + offset, sizeof value);
    return value;
  }
  size_t offsets_begin() const { return kHeaderBytes + num_sequences_ * sizeof(int32_t); }
  size_t documents_begin() const { return offsets_begin() + num_sequences_ * sizeof(int64_t); }

  void read_header() {
    const std::string& path = index_.path();
    if (index_.size() < kHeaderBytes) {
      throw_bad_input("{} is {} bytes long, too short for the header of {} bytes of a Megatron index", path,
                      index_.size(), kHeaderBytes);
    }
    if (!index_.text().starts_with(kMagic))
      throw_bad_input("{} is not a Megatron index: it does not begin with MMIDIDX", path);
    if (const auto version = load<uint64_t>(9); version != 1) {
      throw_bad_input("{}: version {} of the Megatron index is not supported; 1 is", path, version);
    }
    type_ = type_of_code(load<uint8_t>(17));
    num_sequences_ = load<uint64_t>(18);
    num_bounds_ = load<uint64_t>(26);
    const uint64_t body = index_.size() - kHeaderBytes;
    constexpr uint64_t kPerSequence = sizeof(int32_t) + sizeof(int64_t);
    if (num_sequences_ > body / kPerSequence || num_bounds_ > body / sizeof(int64_t) ||
        num_sequences_ * kPerSequence + num_bounds_ * sizeof(int64_t) != body) {
      throw_bad_input(
          "{}: the header says {} sequences and {} document bounds, which take {} and {} bytes each; the "
          "file has {} bytes for them",
          path, num_sequences_, num_bounds_, kPerSequence, sizeof(int64_t), body);
    }
  }

  TokenType type_of_code(uint8_t code) const {
    switch (code) {
      case 1:
        return TokenType::u8;
      case 3:
        return TokenType::i16;
      case 4:
        return TokenType::i32;
      case 5:
        return TokenType::i64;
      case 8:
        return TokenType::u16;
      default:
        throw_bad_input(
            "{}: the dtype code {} holds no token ids; 1 (uint8), 3 (int16), 4 (int32), 5 (int64) and 8 "
            "(uint16) do",
            index_.path(), code);
    }
  }

  void check_sequence(uint64_t s, int32_t length, int64_t offset, int64_t width) const {
    const auto data_bytes = static_cast<int64_t>(data_.size());
    if (length < 0) throw_bad_input("{}: sequence {} has length {}", index_.path(), s, length);
    if (offset < 0 || offset > data_bytes || length > (data_bytes - offset) / width) {
      throw_bad_input(
          "{}: sequence {} ({} tokens of {} bytes from byte {}) does not lie within {}, which is {} bytes "
          "long",
          index_.path(), s, length, width, offset, data_.path(), data_bytes);
    }
    if (offset % width != 0) {
      throw_bad_input("{}: sequence {} begins at byte {} of {}, inside a token of {} bytes", index_.path(), s,
                      offset, data_.path(), width);
    }
  }

  void check_documents() const {
    int64_t previous = 0;
    for (uint64_t d = 0; d < num_bounds_; ++d) {
      const auto bound = load<int64_t>(documents_begin() + d * sizeof(int64_t));
      const bool is_last = d + 1 == num_bounds_;
      if (bound < previous || (d == 0 && bound != 0) || bound > static_cast<int64_t>(num_sequences_) ||
          (is_last && bound != static_cast<int64_t>(num_sequences_))) {
        throw_bad_input("{}: document bound {} is {}; bounds rise from 0 to the {} sequences", index_.path(),
                        d, bound, num_sequences_);
      }
      previous = bound;
    }
  }

  // An index made for this very file describes all of it, once: as many bytes, and each of them.
  void check_tiling(const TokenLayout& layout, int64_t width) const {
    std::vector<std::pair<int64_t, int64_t>> ranges;  // byte offset, end
    for (size_t r = 0; r < layout.runs.size(); ++r) {
      const int64_t end = r + 1 < layout.runs.size() ? layout.runs[r + 1].first_token : layout.num_tokens;
      const int64_t begin = layout.runs[r].byte_offset;
      ranges.emplace_back(begin, begin + (end - layout.runs[r].first_token) * width);
    }
    std::ranges::sort(ranges);
    int64_t due = 0;
    for (const auto& [begin, end] : ranges) {
      if (begin != due) {
        throw_bad_input("{}: sequences {} at byte {} of {}; an index describes each token once",
                        index_.path(), begin < due ? "overlap" : "leave a gap", std::min(begin, due),
                        data_.path());
      }
      due = end;
    }
  }

  void check_whole(int64_t num_tokens, int64_t width) const {
    if (num_tokens * width == static_cast<int64_t>(data_.size())) return;
    throw_bad_input("{} describes {} tokens of {} bytes, but {} is {} bytes long", index_.path(), num_tokens,
                    width, data_.path(), data_.size());
  }

  const MappedFile& data_;
  const MappedFile& index_;
  TokenType type_ = TokenType::u16;
  uint64_t num_sequences_ = 0, num_bounds_ = 0;
};

}  // namespace

TokenLayout read_megatron_layout(const MappedFile& data, const MappedFile& index) {
  return IndexReader(data, index).layout();
}

}  // namespace trireme
