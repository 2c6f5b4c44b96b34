// Bytes as tokens: any file will do.
#pragma once

#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme {

/// Ids 0 to 255 are the byte values, 256 is the end of a text.
class ByteTokenizer final : public Tokenizer {
 public:
  using Tokenizer::encode;
  std::string_view kind() const override { return "byte"; }
  int64_t vocab_size() const override { return 257; }
  std::vector<int32_t> encode(std::string_view text, const TextOrigin& origin) const override;
  std::optional<int32_t> end_of_text() const override { return 256; }
  size_t find_cut(std::string_view text, size_t limit) const override;
  std::string to_json() const override;

 private:
  void append_token(std::string& out, int32_t id) const override;
};

}  // namespace trireme
