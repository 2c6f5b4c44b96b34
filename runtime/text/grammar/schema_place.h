// Where in a JSON schema one is, for messages.
#pragma once

#include <string>

#include "runtime/base/error.h"

namespace trireme {

/// The way to a part of the schema; parents outlive it.
struct SchemaPlace {
  const SchemaPlace* parent = nullptr;
  std::string key;  ///< of the parent's value: a name, or the number of an item
  int depth = 0;

  SchemaPlace at(std::string name) const { return {this, std::move(name), depth + 1}; }
  /// As a JSON pointer in the form of a fragment (RFC 6901): "#/properties/a~1b"; long ones are cut.
  std::string pointer() const;
};

/// UserError(bad_input): "the JSON schema at #/properties/a: ...".
template <class... Args>
[[noreturn]] void refuse_schema(const SchemaPlace& place, fmt::format_string<Args...> format,
                                Args&&... args) {
  throw_bad_input("the JSON schema at {}: {}", place.pointer(),
                  fmt::format(format, std::forward<Args>(args)...));
}

/// At most so many bytes of what a client sent, whole characters.
std::string shortened(const std::string& text, size_t most = 100);

}  // namespace trireme
