// Splits a template into text and tokens, as Jinja does with trim_blocks and lstrip_blocks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::jinja {

/// Line and column (in bytes) of a template, from 1.
struct Place {
  int line = 1, column = 1;
};

enum class TokenKind : uint8_t {
  data,            ///< text between tags
  variable_begin,  ///< {{
  variable_end,
  block_begin,  ///< {%
  block_end,
  name,
  string,  ///< `text` is what the literal means
  integer,
  real,
  symbol,  ///< an operator or a bracket
  end
};

struct Token {
  TokenKind kind;
  std::string text;
  Place place;

  bool is(std::string_view symbol) const { return kind == TokenKind::symbol && text == symbol; }
  bool is_name(std::string_view name) const { return kind == TokenKind::name && text == name; }
};

/// `name` is the template's, for messages. UserError(bad_input) "NAME:LINE:COLUMN: ..." for what is no
/// template. Ends with a token `end`.
std::vector<Token> tokenize(std::string_view source, const std::string& name);

/// Throws the UserError(bad_input) "NAME:LINE:COLUMN: MESSAGE".
[[noreturn]] void fail_at(const std::string& name, Place place, const std::string& message);

}  // namespace trireme::jinja
