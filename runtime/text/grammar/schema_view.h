// JSON schemas as what all their parts ask for together: references followed, "allOf" put together.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/text/grammar/schema_place.h"

namespace trireme {

using SchemaJson = nlohmann::ordered_json;

/// A value in the schema and where it stands.
struct SchemaPart {
  const SchemaJson* value = nullptr;
  const SchemaPlace* place = nullptr;
};

/// Kinds of values, as bits.
enum SchemaKind : unsigned {
  kNullKind = 1,
  kBooleanKind = 2,
  kIntegerKind = 4,
  kFractionKind = 8,  ///< numbers that are no integers
  kStringKind = 16,
  kArrayKind = 32,
  kObjectKind = 64,
  kNumberKinds = kIntegerKind | kFractionKind,
  kAllKinds = 127
};

/// What holds for a value: all of the parts, each an object with at least one assertion.
class SchemaView {
 public:
  std::vector<SchemaPart> parts;
  const SchemaPlace* place = nullptr;
  bool allows_nothing = false;  ///< `false` is among them

  /// The value of a keyword, with the place of its schema; of several parts the only one. UserError where
  /// they differ.
  std::optional<SchemaPart> find(const char* keyword) const;
  /// All of it: where each part has its own say.
  std::vector<SchemaPart> all(const char* keyword) const;
  /// UserError naming the first assertion that is none of `others`; `reason`: why not.
  void refuse_beside(std::initializer_list<std::string_view> others, std::string_view reason) const;

  /// "type", or the kinds that other keywords speak of; all kinds where none does.
  unsigned kinds() const;
};

/// Owns the places of one schema.
class SchemaReader {
 public:
  explicit SchemaReader(const SchemaJson& root);

  SchemaPart root() const { return {root_, &root_place_}; }
  /// A part of a value; UserError where it lies too deep.
  SchemaPart inside(SchemaPart of, const std::string& key, const SchemaJson& value);
  /// What a schema that only refers to another means.
  SchemaPart follow(SchemaPart schema);
  /// UserError naming what is no schema, or a keyword that is not supported.
  SchemaView view(SchemaPart schema);

 private:
  SchemaPart resolve(SchemaPart reference);
  void gather(SchemaPart schema, SchemaView& view, int depth);

  const SchemaJson* root_;
  SchemaPlace root_place_;
  std::deque<SchemaPlace> places_;
  std::map<const SchemaJson*, const SchemaPlace*> targets_;
};

}  // namespace trireme
