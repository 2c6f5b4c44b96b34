// What data.tokenizer may name.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/base/enum_names.h"

namespace trireme {

enum class TokenizerKind : uint8_t {
  byte,
  chars,  ///< the characters of the text at hand
  bpe,    ///< trained on it
  file,   ///< one that was saved: any other name is its path
};

inline std::span<const EnumName<TokenizerKind>> names_of(TokenizerKind) {
  using enum TokenizerKind;
  static constexpr EnumName<TokenizerKind> kNames[] = {{byte, "byte"}, {chars, "char"}, {bpe, "bpe"}};
  return kNames;
}

inline TokenizerKind tokenizer_kind(std::string_view spec) {
  return parse_enum<TokenizerKind>(spec).value_or(TokenizerKind::file);
}
/// Whether it is made from the text that it is for.
constexpr bool is_made_from_text(TokenizerKind kind) {
  return kind == TokenizerKind::chars || kind == TokenizerKind::bpe;
}

}  // namespace trireme
