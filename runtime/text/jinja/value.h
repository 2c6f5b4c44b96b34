// Values of templates: Python's, as far as templates see them. None can be changed once made but namespaces.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/text/jinja/budget.h"

namespace trireme::jinja {

class Value;
struct Macro;      // evaluator.h
struct Namespace;  // evaluator.h

struct Undefined {
  std::shared_ptr<const std::string> what;  ///< "'x' is undefined", for messages
};
struct None {};

/// Lists look alike but print, compare and iterate differently: a generator can be walked once, and is true
/// and without length as Python's are.
enum class ListKind : uint8_t { list, tuple, range, view, generator };

struct List {
  ListKind kind = ListKind::list;
  std::vector<Value> items;
  int depth = 1;              ///< of lists and dicts inside each other
  mutable size_t walked = 0;  ///< elements of a generator that are gone
};

struct Dict {
  std::vector<std::pair<Value, Value>> items;      ///< in the order of insertion
  std::unordered_map<std::string, size_t> places;  ///< by key_of()
  int depth = 1;

  /// Null when there is no such key.
  const Value* find(std::string_view key) const;
  const Value* find(const Value& key) const;
  /// Replaces the value of a key that is there.
  void set(Value key, Value value);
};

/// A string. Markup is what the filter "safe" made: what is joined to it with + is escaped for HTML, which
/// templates that use it thoughtlessly were trained on.
struct Text {
  std::string text;
  bool is_markup = false;
};

struct Method {
  std::shared_ptr<const Value> self;
  std::string name;
};
/// A function that every template has: "range", "dict", "namespace", "raise_exception", "strftime_now".
struct Function {
  std::string name;
};

/// Values hold at most so many lists and dicts inside each other.
inline constexpr int kMostDepth = 100;

class Value {
 public:
  Value() : held_(Undefined{}) {}
  Value(None) : held_(None{}) {}
  Value(bool flag) : held_(flag) {}
  Value(int64_t number) : held_(number) {}
  Value(int number) : held_(int64_t{number}) {}
  Value(double number) : held_(number) {}
  Value(std::string text) : Value(Text{std::move(text)}) {}
  Value(Text text) : held_(std::make_shared<const Text>(std::move(text))) {}
  Value(std::string_view text) : Value(std::string(text)) {}
  Value(const char* text) : Value(std::string(text)) {}
  Value(Undefined undefined) : held_(std::move(undefined)) {}
  Value(Namespace* space) : held_(space) {}
  Value(const Macro* macro) : held_(macro) {}
  Value(Function function) : held_(std::make_shared<const Function>(std::move(function))) {}
  Value(Method method) : held_(std::make_shared<const Method>(std::move(method))) {}
  Value(Dict dict);

  template <class T>
  bool is() const {
    return std::holds_alternative<T>(held_);
  }
  bool is_string() const { return is<std::shared_ptr<const Text>>(); }
  bool is_markup() const { return is_string() && std::get<std::shared_ptr<const Text>>(held_)->is_markup; }
  bool is_list() const { return is<std::shared_ptr<const List>>(); }
  bool is_list(ListKind kind) const { return is_list() && list().kind == kind; }
  bool is_dict() const { return is<std::shared_ptr<const Dict>>(); }
  bool is_integer() const { return is<int64_t>() || is<bool>(); }  ///< Python's flags are whole numbers
  bool is_number() const { return is_integer() || is<double>(); }
  bool is_callable() const {
    return is<const Macro*>() || is<std::shared_ptr<const Function>>() || is<std::shared_ptr<const Method>>();
  }

  bool flag() const { return std::get<bool>(held_); }
  int64_t integer() const { return is<bool>() ? int64_t{flag()} : std::get<int64_t>(held_); }
  double real() const { return is<double>() ? std::get<double>(held_) : static_cast<double>(integer()); }
  const std::string& string() const { return std::get<std::shared_ptr<const Text>>(held_)->text; }
  const List& list() const { return *std::get<std::shared_ptr<const List>>(held_); }
  const Dict& dict() const { return *std::get<std::shared_ptr<const Dict>>(held_); }
  Namespace& space() const { return *std::get<Namespace*>(held_); }
  const Macro& macro() const { return *std::get<const Macro*>(held_); }
  const Function& function() const { return *std::get<std::shared_ptr<const Function>>(held_); }
  const Method& method() const { return *std::get<std::shared_ptr<const Method>>(held_); }
  const std::string& undefined_what() const;

  /// Lists and dicts inside each other, itself included.
  int depth() const;
  /// The same object, as Python's `is` asks.
  bool is_same(const Value& other) const;

 private:
  friend Value make_list(std::vector<Value> items, ListKind kind);

  std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const Text>,
               std::shared_ptr<const List>, std::shared_ptr<const Dict>, Namespace*, const Macro*,
               std::shared_ptr<const Function>, std::shared_ptr<const Method>>
      held_;
};

/// TemplateError beyond kMostDepth.
Value make_list(std::vector<Value> items, ListKind kind = ListKind::list);
/// "'name' is undefined".
Value undefined(std::string what);

/// What tells keys of a dict apart: 1, 1.0 and True are one. TemplateError for what Python cannot hash, and
/// for tuples of more than scalars.
std::string key_of(const Value& key);

/// Python's name of the type: "str", "NoneType".
std::string_view type_name(const Value& value);

/// Null is None. TemplateError for numbers beyond 63 bits and nesting beyond kMostDepth.
Value from_json(const nlohmann::ordered_json& json);

}  // namespace trireme::jinja
