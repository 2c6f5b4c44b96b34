#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/text/jinja/evaluator.h"
#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/text.h"

namespace trireme::jinja {

namespace {

constexpr int64_t kScopeBytes = 200;

const Value* find_name(const std::vector<std::pair<std::string, Value>>& names, std::string_view name) {
  const auto found =
      std::ranges::find(names, name, [](const auto& pair) { return std::string_view(pair.first); });
  return found == names.end() ? nullptr : &found->second;
}

void set_name(std::vector<std::pair<std::string, Value>>& names, const std::string& name, Value value) {
  if (const Value* found = find_name(names, name)) {
    *const_cast<Value*>(found) = std::move(value);
  } else {
    names.emplace_back(name, std::move(value));
  }
}

}  // namespace

const Value* Namespace::find(std::string_view name) const { return find_name(attributes, name); }
void Namespace::set(const std::string& name, Value value) { set_name(attributes, name, std::move(value)); }

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent) {
    if (const Value* found = find_name(scope->names, name)) return found;
  }
  return nullptr;
}
void Scope::set(const std::string& name, Value value) { set_name(names, name, std::move(value)); }

Evaluator::~Evaluator() = default;

Output Evaluator::run(const Body& body, std::vector<std::pair<std::string, Value>> variables) {
  auto root = std::make_unique<Scope>();
  for (auto& [name, value] : variables) root->set(name, std::move(value));
  // What the template sets does not touch what it was given, but hides it.
  auto top = std::make_unique<Scope>();
  top->parent = root.get();
  out_ = &output_.text;
  run_body(body, *top);
  release(std::move(top));
  release(std::move(root));
  return std::move(output_);
}

void Evaluator::release(std::unique_ptr<Scope> scope) {
  scope->loop = nullptr;
  if (scope->is_captured) kept_.push_back(std::move(scope));
}

void Evaluator::print(std::string_view text) {
  *out_ += text;
  budget_.output(std::ssize(*out_));
}

Evaluator::Flow Evaluator::run_body(const Body& body, Scope& scope) {
  for (const Node& node : body) {
    try {
      const Budget::Level level(budget_);
      budget_.step();
      const Flow flow = run_node(node, scope);
      if (flow != Flow::on) return flow;
    } catch (const TemplateError& error) {
      fail_at(name_, node.place, error.what());
    }
  }
  return Flow::on;
}

Evaluator::Flow Evaluator::run_node(const Node& node, Scope& scope) {
  switch (node.kind) {
    case NodeKind::data:
      print(node.text);
      break;
    case NodeKind::output:
      print(text_of(value_of(*node.value, scope), budget_));
      break;
    case NodeKind::branch:
      for (const Branch& branch : node.branches) {
        if (branch.condition == nullptr || is_true(value_of(*branch.condition, scope)))
          return run_body(branch.body, scope);
      }
      break;
    case NodeKind::loop:
      return run_loop(node, scope);
    case NodeKind::assign:
      assign(node.target, value_of(*node.value, scope), scope);
      break;
    case NodeKind::assign_block: {
      const Value text = text_from(node.body, scope);
      assign(node.target, node.value == nullptr ? text : block_filter_value(*node.value, text, scope), scope);
      break;
    }
    case NodeKind::macro:
      scope.set(node.text, make_macro(node.text, node.parameters, node.body, scope));
      break;
    case NodeKind::call_block:
      run_call_block(node, scope);
      break;
    case NodeKind::filter_block: {
      const Value text = text_from(node.body, scope);
      print(text_of(block_filter_value(*node.value, text, scope), budget_));
      break;
    }
    case NodeKind::with:
      return run_with(node, scope);
    case NodeKind::generation:
      run_generation(node, scope);
      break;
    case NodeKind::break_loop:
      return Flow::break_loop;
    case NodeKind::continue_loop:
      return Flow::continue_loop;
  }
  return Flow::on;
}

std::vector<Value> Evaluator::loop_items(const Node& node, Scope& scope) {
  const Value list = value_of(*node.value, scope);
  std::vector<Value> items = elements(list, budget_);
  if (node.test == nullptr) return items;
  std::vector<Value> chosen;
  for (Value& item : items) {
    auto inner = std::make_unique<Scope>();
    inner->parent = &scope;
    assign(node.target, item, *inner);
    if (is_true(value_of(*node.test, *inner))) chosen.push_back(std::move(item));
    release(std::move(inner));
  }
  return chosen;
}

Evaluator::Flow Evaluator::run_loop(const Node& node, Scope& scope) {
  const std::vector<Value> items = loop_items(node, scope);
  LoopState loop{&items};
  bool ended = false;
  for (; loop.index < items.size() && !ended; ++loop.index) {
    budget_.step();
    auto inner = std::make_unique<Scope>();
    inner->parent = &scope;
    inner->loop = &loop;
    assign(node.target, items[loop.index], *inner);
    ended = run_body(node.body, *inner) == Flow::break_loop;
    release(std::move(inner));
  }
  if (!items.empty() || node.otherwise.empty()) return Flow::on;
  auto inner = std::make_unique<Scope>();
  inner->parent = &scope;
  const Flow flow = run_body(node.otherwise, *inner);
  release(std::move(inner));
  return flow;
}

Evaluator::Flow Evaluator::run_with(const Node& node, Scope& scope) {
  auto inner = std::make_unique<Scope>();
  inner->parent = &scope;
  // All values are those outside.
  for (const auto& [target, value] : node.assignments) inner->set(target.name, value_of(*value, scope));
  const Flow flow = run_body(node.body, *inner);
  release(std::move(inner));
  return flow;
}

std::string Evaluator::text_from(const Body& body, Scope& scope) {
  std::string text;
  std::string* const outer = std::exchange(out_, &text);
  auto inner = std::make_unique<Scope>();
  inner->parent = &scope;
  run_body(body, *inner);
  release(std::move(inner));
  out_ = outer;
  budget_.bytes(std::ssize(text));
  return text;
}

void Evaluator::run_call_block(const Node& node, Scope& scope) {
  const Macro* caller = make_macro("caller", node.parameters, node.body, scope);
  print(text_of(call_value(*node.value, scope, caller), budget_));
}

void Evaluator::run_generation(const Node& node, Scope& scope) {
  const std::string text = text_from(node.body, scope);
  if (out_ == &output_.text) {
    output_.generations.push_back({out_->size(), out_->size() + text.size()});
  } else {
    output_.has_hidden_generations = true;
  }
  print(text);
}

const Macro* Evaluator::make_macro(const std::string& name, const Parameters& parameters, const Body& body,
                                   Scope& scope) {
  budget_.bytes(kScopeBytes);
  for (Scope* around = &scope; around != nullptr && !around->is_captured; around = around->parent) {
    around->is_captured = true;
    budget_.bytes(kScopeBytes);
  }
  macros_.push_back(std::make_unique<Macro>(Macro{name, &parameters, &body, &scope}));
  return macros_.back().get();
}

void Evaluator::assign(const Target& target, const Value& value, Scope& scope) {
  if (target.kind == TargetKind::name) {
    scope.set(target.name, value);
  } else if (target.kind == TargetKind::attribute) {
    const Value* space = scope.find(target.name);
    if (space == nullptr || !space->is<Namespace*>()) {
      fail("attributes of '{}' cannot be set: it is no namespace()", target.name);
    }
    if (target.attribute.starts_with('_'))
      fail("the attribute '{}' of a namespace begins with _", target.attribute);
    budget_.bytes(kScopeBytes);
    space->space().set(target.attribute, value);
  } else {
    const std::vector<Value> items = elements(value, budget_);
    if (value.is<Undefined>()) fail("{}", value.undefined_what());
    if (items.size() != target.parts.size())
      fail("{} values for {} names", items.size(), target.parts.size());
    for (size_t i = 0; i < items.size(); ++i) assign(target.parts[i], items[i], scope);
  }
}

}  // namespace trireme::jinja
