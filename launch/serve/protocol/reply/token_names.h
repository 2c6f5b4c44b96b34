// What replies call a token.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme::launch {

class TokenNames {
 public:
  explicit TokenNames(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  /// The bytes that the token decodes to by itself, special ones too; none of ids beyond the tokenizer's.
  std::string bytes(int32_t token) const;
  /// Its text; "bytes:\xe2\x82" (these characters) where it is a part of one; by_id() where it has none.
  std::string name(int32_t token) const { return name_of(token, bytes(token)); }
  static std::string name_of(int32_t token, const std::string& bytes);
  /// "token_id:7"
  static std::string by_id(int32_t token);

 private:
  const Tokenizer& tokenizer_;
};

}  // namespace trireme::launch
