// A parsed template.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/text/jinja/lexer.h"
#include "runtime/text/jinja/value.h"

namespace trireme::jinja {

enum class ExprKind : uint8_t {
  constant,     ///< value
  name,         ///< text
  list,         ///< parts
  tuple,        ///< parts
  dict,         ///< parts: key, value, key, value...
  attribute,    ///< parts[0].text
  item,         ///< parts[0][parts[1]]
  slice,        ///< parts[0][parts[1]:parts[2]:parts[3]], of which some are null
  call,         ///< parts[0](parts[1...], named)
  filter,       ///< parts[0] | text(parts[1...], named); parts[0] null in a block
  test,         ///< parts[0] is text(parts[1...], named)
  negate,       ///< -parts[0]
  plus,         ///< +parts[0]
  not_,         ///< not parts[0]
  and_,         ///< parts[0] and parts[1]
  or_,          ///< parts[0] or parts[1]
  compare,      ///< parts[0] ops[0] parts[1] ops[1] ...: text has the operators, separated by spaces
  arithmetic,   ///< parts[0] text parts[1]
  concatenate,  ///< parts, with ~
  conditional   ///< parts[1] if parts[0] else parts[2], which may be null
};

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Expr {
  ExprKind kind;
  Place place;
  std::string text = {};
  Value value = {};
  std::vector<ExprPtr> parts = {};
  std::vector<std::pair<std::string, ExprPtr>> named = {};
  int depth = 1;  ///< of the expressions inside each other
};

enum class TargetKind : uint8_t { name, attribute, tuple };

/// What is assigned to: a name, an attribute of a namespace, or several of them.
struct Target {
  TargetKind kind = TargetKind::name;
  Place place = {};
  std::string name = {}, attribute = {};
  std::vector<Target> parts = {};
};

struct Node;
using Body = std::vector<Node>;

/// Parameters of a macro or of the body of a call block.
struct Parameters {
  std::vector<std::string> names = {};
  std::vector<ExprPtr> defaults = {};  ///< of the last names
};

enum class NodeKind : uint8_t {
  data,          ///< text
  output,        ///< value
  branch,        ///< branches; the last one's condition may be null
  loop,          ///< for target in value if test: body, otherwise
  assign,        ///< set target = value
  assign_block,  ///< set target | filter: body; filter in value, or null
  macro,         ///< text, parameters, body
  call_block,    ///< call(parameters) value: body
  filter_block,  ///< filter value: body
  with,          ///< targets = values: body
  generation,    ///< body
  break_loop,
  continue_loop
};

struct Branch {
  ExprPtr condition;
  Body body;
};

struct Node {
  NodeKind kind;
  Place place;
  std::string text = {};
  Target target = {};
  ExprPtr value = {}, test = {};
  std::vector<std::pair<Target, ExprPtr>> assignments = {};
  Parameters parameters = {};
  std::vector<Branch> branches = {};
  Body body = {}, otherwise = {};
};

}  // namespace trireme::jinja
