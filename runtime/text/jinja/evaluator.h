// Runs parsed templates.
#pragma once

#include <ctime>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/text/jinja/arguments.h"
#include "runtime/text/jinja/ast.h"

namespace trireme::jinja {

/// A mutable object: what `namespace()` makes.
struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;

  const Value* find(std::string_view name) const;
  void set(const std::string& name, Value value);
};

/// Where a loop is.
struct LoopState {
  const std::vector<Value>* items;
  size_t index = 0;
  int depth = 1;
  std::vector<Value> last_changed = {};
  bool has_changed = false;
};

/// Names of a body, and those around it.
struct Scope {
  Scope* parent = nullptr;
  std::vector<std::pair<std::string, Value>> names = {};
  LoopState* loop = nullptr;
  bool is_captured = false;  ///< a macro that was made in it may outlive it

  const Value* find(std::string_view name) const;
  void set(const std::string& name, Value value);
};

struct Macro {
  std::string name;
  const Parameters* parameters;
  const Body* body;
  Scope* scope;
};

/// From begin, before end, in bytes of the output.
struct TextRange {
  size_t begin, end;
  friend bool operator==(const TextRange&, const TextRange&) = default;
};

struct Output {
  std::string text;
  std::vector<TextRange> generations = {};  ///< of {% generation %} in the text itself, not in macros
  bool has_hidden_generations = false;      ///< others, in macros and blocks, whose place is not known
};

/// One run of a template.
class Evaluator {
 public:
  /// `now` is what strftime_now shows. UserError(bad_input) "NAME:LINE:COLUMN: ..." where Jinja raises, for
  /// what is not supported, and beyond the limits.
  Evaluator(const std::string& name, const Limits& limits, const std::tm& now)
      : name_(name), budget_(limits), now_(now) {}
  ~Evaluator();
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  Output run(const Body& body, std::vector<std::pair<std::string, Value>> variables);

 private:
  enum class Flow { on, break_loop, continue_loop };

  // Statements (statements.cpp).
  Flow run_body(const Body& body, Scope& scope);
  Flow run_node(const Node& node, Scope& scope);
  Flow run_loop(const Node& node, Scope& scope);
  Flow run_with(const Node& node, Scope& scope);
  void run_call_block(const Node& node, Scope& scope);
  void run_generation(const Node& node, Scope& scope);
  std::vector<Value> loop_items(const Node& node, Scope& scope);
  /// The text that a body prints.
  std::string text_from(const Body& body, Scope& scope);
  void assign(const Target& target, const Value& value, Scope& scope);
  void print(std::string_view text);
  const Macro* make_macro(const std::string& name, const Parameters& parameters, const Body& body,
                          Scope& scope);
  /// Ends the life of a scope, unless a macro may need it.
  void release(std::unique_ptr<Scope> scope);

  // Expressions (expressions.cpp).
  Value value_of(const Expr& expr, Scope& scope);
  Value value_at(const Expr& expr, Scope& scope);
  Value named(const std::string& name, const Scope& scope) const;
  Value list_value(const Expr& expr, Scope& scope);
  Value dict_value(const Expr& expr, Scope& scope);
  Value slice_value(const Expr& expr, Scope& scope);
  bool comparison_value(const Expr& expr, Scope& scope);
  Value attribute_value(const Expr& expr, Scope& scope);
  Value loop_attribute(const std::string& name, const Scope& scope) const;
  /// The filters of a block, of which the first has nothing before it, on the block's text.
  Value block_filter_value(const Expr& expr, const Value& text, Scope& scope);
  Arguments arguments_of(const Expr& expr, size_t first, Scope& scope);

  // Calls (calls.cpp).
  Value call_value(const Expr& expr, Scope& scope, const Macro* caller);
  Value call(const Value& callee, const Arguments& arguments, const Macro* caller);
  Value call_macro(const Macro& macro, const Arguments& arguments, const Macro* caller);
  Value call_function(const std::string& name, const Arguments& arguments);
  Value call_loop_method(const std::string& name, const Arguments& arguments, const Scope& scope);

  const std::string& name_;
  Budget budget_;
  std::tm now_;
  std::string* out_ = nullptr;  // where statements print
  Output output_;
  std::deque<std::unique_ptr<Namespace>> spaces_;
  std::deque<std::unique_ptr<Macro>> macros_;
  std::deque<std::unique_ptr<Scope>> kept_;
};

}  // namespace trireme::jinja
