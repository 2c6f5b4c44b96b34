// The rules of JSON (RFC 8259) that all grammars share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/grammar/program_builder.h"

namespace trireme {

/// Bounds within which a model cannot go on forever.
struct JsonBounds {
  static constexpr int kSpaces = 2;        ///< in a row; or
  static constexpr int kLineEnds = 2;      ///< with or without a carriage return, and then
  static constexpr int kIndentation = 64;  ///< spaces and tabs
  static constexpr int kDigits = 20;       ///< before and after the point of a number
  static constexpr int kExponentDigits = 2;
  static constexpr uint32_t kNesting = 64;  ///< of objects and arrays that no schema describes
};

/// Rules, by their first states; the same ones in every builder that begins with make_json_rules().
struct JsonRules {
  uint32_t space;           ///< nothing, or white space
  uint32_t string;          ///< any, with any escapes
  uint32_t counted_string;  ///< the same; the counter is of its code points
  uint32_t canonical_key;   ///< a string with the escapes of json_spelling() alone
  uint32_t number, natural_number, integer, natural_integer;
  uint32_t boolean, null;
  uint32_t value, object, array;  ///< any; the counter's room is how deep objects and arrays may still nest
  uint32_t canonical_begin;       ///< of canonical_key, behind the quotation mark
};

JsonRules make_json_rules(ProgramBuilder& builder);

/// The string in quotation marks, with \" \\ \b \f \n \r \t, \u00xx for other control characters, and no
/// other escapes. `text` is UTF-8.
std::string json_spelling(std::string_view text);

/// A canonical string but none of `names`, behind its quotation mark; they are UTF-8.
uint32_t key_beside(ProgramBuilder& builder, const JsonRules& rules, const std::vector<std::string>& names,
                    uint32_t next);

}  // namespace trireme
