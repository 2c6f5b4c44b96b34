// Arguments of calls, filters and tests.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/text/jinja/value.h"

namespace trireme::jinja {

struct Arguments {
  std::vector<Value> values = {};
  std::vector<std::pair<std::string, Value>> named = {};

  Arguments without_first() const { return {{values.begin() + 1, values.end()}, named}; }
};

/// Arguments by the names of parameters, as Python binds them.
class Bound {
 public:
  /// `what` is what is called, for messages; `required` of the names, from the left, must be given.
  /// TemplateError for others than these names, too many, and those given twice.
  Bound(std::string_view what, const Arguments& arguments, std::span<const std::string_view> names,
        size_t required);

  /// Null when it was not given.
  const Value* operator[](size_t i) const { return values_[i]; }
  // TemplateError when an argument is given and of another type.
  std::string string(size_t i, std::string_view otherwise) const;
  int64_t integer(size_t i, int64_t otherwise) const;
  bool flag(size_t i, bool otherwise) const;
  /// Neither given nor None.
  bool has(size_t i) const { return values_[i] != nullptr && !values_[i]->is<None>(); }

 private:
  std::string what_;
  std::span<const std::string_view> names_;
  std::vector<const Value*> values_;
};

}  // namespace trireme::jinja
