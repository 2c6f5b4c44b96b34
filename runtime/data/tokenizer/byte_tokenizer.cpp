#include "runtime/data/tokenizer/byte_tokenizer.h"

#include <algorithm>

namespace trireme {

std::vector<int32_t> ByteTokenizer::encode(std::string_view text, const TextOrigin&) const {
  std::vector<int32_t> ids(text.size());
  std::transform(text.begin(), text.end(), ids.begin(), [](char c) { return static_cast<uint8_t>(c); });
  return ids;
}

void ByteTokenizer::append_token(std::string& out, int32_t id) const {
  if (id < 256) out.push_back(static_cast<char>(id));
}

size_t ByteTokenizer::find_cut(std::string_view text, size_t limit) const {
  return std::min(limit, text.size());
}

std::string ByteTokenizer::to_json() const { return "{\"type\":\"trireme-byte\",\"version\":1}\n"; }

}  // namespace trireme
