// A JSON schema as rules of a ByteGrammar: one for each schema in it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/text/grammar/json_rules.h"
#include "runtime/text/grammar/program_builder.h"
#include "runtime/text/grammar/schema_view.h"

namespace trireme {

class SchemaCompiler {
 public:
  explicit SchemaCompiler(const SchemaJson& root) : reader_(root) {}
  /// UserError(bad_input) as json_schema_grammar().
  ByteGrammar compile() &&;

 private:
  struct Rule {
    uint32_t state;
    SchemaPart schema;
  };
  struct Member {
    std::string name;
    uint32_t value;  ///< its rule
    bool is_required;
  };
  struct Count {
    uint32_t least, most;
  };

  uint32_t rule_of(SchemaPart schema);
  void compile_rule(const Rule& rule);
  void add_alternatives(const SchemaView& view, const char* keyword, std::vector<uint32_t>& to);
  void require_exclusive(SchemaPart list);
  unsigned kinds_of(const SchemaView& view, int depth);
  bool differ_in_a_tag(const SchemaView& a, const SchemaView& b);

  // Ways to values of a kind, to the end of the rule.
  void add_values(const SchemaView& view, std::vector<uint32_t>& to);
  uint32_t strings(const SchemaView& view);
  uint32_t numbers(const SchemaView& view, bool is_integer);
  uint32_t arrays(const SchemaView& view);
  uint32_t array_rule(const std::vector<uint32_t>& prefix, std::optional<uint32_t> rest);
  uint32_t objects(const SchemaView& view);
  uint32_t members(const std::vector<Member>& list, std::optional<uint32_t> more);
  void add_literals(const SchemaView& view, std::vector<uint32_t>& to);

  std::vector<Member> members_of(const SchemaView& view, const std::optional<SchemaPart>& additional);
  std::optional<SchemaPart> additional_of(const SchemaView& view);
  uint32_t literal_value(const SchemaJson& value, const SchemaPlace& place, uint32_t next, int depth);
  Count count_of(const SchemaView& view, const char* least, const char* most);
  uint32_t spaced(uint32_t next) { return builder_.call(rules_.space, next); }
  uint32_t any_value(uint32_t next) { return builder_.call(rules_.value, next, {0, JsonBounds::kNesting}); }

  const SchemaJson any_ = true;
  SchemaReader reader_;
  ProgramBuilder builder_;
  JsonRules rules_ = make_json_rules(builder_);
  uint32_t end_ = builder_.ret();
  std::map<const SchemaJson*, uint32_t> rule_by_schema_;
  std::vector<Rule> rules_made_;
  size_t num_alternatives_ = 0;
  size_t kinds_steps_left_ = 10'000;
  size_t pattern_steps_left_ = 20'000'000;
};

/// The kind of a value: one bit.
unsigned literal_kind(const SchemaJson& value);
/// The values of "enum" and "const" that "type" leaves; empty where there is neither.
std::vector<SchemaJson> literals_of(const SchemaView& view);
/// Scalars as JSON spells them; nullopt for lists and objects.
std::optional<std::string> scalar_spelling(const SchemaJson& value);

/// Integers from `least` to `most`, or numbers without exponents between them; an absent bound is none.
struct NumberRange {
  std::optional<int64_t> least, most;
  bool excludes_least = false, excludes_most = false;
};
uint32_t integers_between(ProgramBuilder& builder, const NumberRange& range, uint32_t next);
uint32_t numbers_between(ProgramBuilder& builder, const NumberRange& range, uint32_t next);

}  // namespace trireme
