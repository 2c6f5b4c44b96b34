// Every field that a request may have: honoured, without effect by definition, or refused with the reason.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <nlohmann/json.hpp>

namespace trireme::launch {

enum class Endpoint : uint8_t { completions = 1, chat = 2, tokenize = 4, detokenize = 8 };

enum class FieldUse : uint8_t {
  honoured,
  inert,   ///< says something about the client, not about the text
  refused  ///< but for values that ask for nothing
};

struct KnownField {
  std::string_view name;
  uint8_t endpoints;  ///< a sum of Endpoint
  FieldUse use;
  std::string_view reason = {};  ///< refused: why, and what works instead
  std::string_view neutral =
      {};  ///< refused: a JSON list of the values that ask for nothing; null always does
};

/// Of all endpoints, in the order of the page (docs/serving-fields.md).
std::span<const KnownField> known_fields();

/// ApiError (400) for a field that is not known, naming the one that may be meant, and for one that is
/// refused.
void check_fields(Endpoint endpoint, const nlohmann::ordered_json& body);

/// The same of an object within: `names` are all that it may have.
void check_members(const nlohmann::ordered_json& object, std::string_view where,
                   std::span<const std::string_view> names);

}  // namespace trireme::launch
