#include "runtime/text/jinja/value.h"

#include <algorithm>
#include <cmath>

namespace trireme::jinja {

namespace {

int deeper(int depth) {
  if (depth >= kMostDepth) fail("lists and dicts are nested more than {} deep", kMostDepth);
  return depth + 1;
}

Value from_json_at(const nlohmann::ordered_json& json, int depth) {
  using Type = nlohmann::ordered_json::value_t;
  if (depth > kMostDepth) fail("lists and dicts are nested more than {} deep", kMostDepth);
  switch (json.type()) {
    case Type::null:
      return None{};
    case Type::boolean:
      return json.get<bool>();
    case Type::number_unsigned:
      if (json.get<uint64_t>() > uint64_t{INT64_MAX})
        fail("the number {} is beyond 63 bits", json.get<uint64_t>());
      return json.get<int64_t>();
    case Type::number_integer:
      return json.get<int64_t>();
    case Type::number_float:
      return json.get<double>();
    case Type::string:
      return json.get_ref<const std::string&>();
    case Type::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(from_json_at(item, depth + 1));
      return make_list(std::move(items));
    }
    case Type::object: {
      Dict dict;
      for (const auto& [key, item] : json.items()) dict.set(key, from_json_at(item, depth + 1));
      return dict;
    }
    default:
      fail("a value of JSON that is none");
  }
}

}  // namespace

Value::Value(Dict dict) {
  int depth = 0;
  for (const auto& [key, value] : dict.items) depth = std::max({depth, key.depth(), value.depth()});
  dict.depth = deeper(depth);
  held_ = std::make_shared<const Dict>(std::move(dict));
}

const std::string& Value::undefined_what() const { return *std::get<Undefined>(held_).what; }

int Value::depth() const {
  if (is_list()) return list().depth;
  if (is_dict()) return dict().depth;
  if (is<std::shared_ptr<const Method>>()) return deeper(method().self->depth());
  return 0;
}

bool Value::is_same(const Value& other) const {
  if (held_.index() != other.held_.index()) return false;
  return std::visit(
      [&]<class T>(const T& mine) {
        const T& theirs = std::get<T>(other.held_);
        if constexpr (std::is_same_v<T, Undefined>) {
          return mine.what == theirs.what;
        } else if constexpr (std::is_same_v<T, None>) {
          return true;
        } else if constexpr (std::is_same_v<T, std::shared_ptr<const Text>>) {
          return mine == theirs || mine->text == theirs->text;
        } else {
          return mine == theirs;
        }
      },
      held_);
}

Value make_list(std::vector<Value> items, ListKind kind) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  Value value;
  value.held_ = std::make_shared<const List>(List{kind, std::move(items), deeper(depth)});
  return value;
}

Value undefined(std::string what) { return Undefined{std::make_shared<const std::string>(std::move(what))}; }

const Value* Dict::find(std::string_view key) const {
  const auto found = places.find("s" + std::string(key));
  return found == places.end() ? nullptr : &items[found->second].second;
}

const Value* Dict::find(const Value& key) const {
  const auto found = places.find(key_of(key));
  return found == places.end() ? nullptr : &items[found->second].second;
}

void Dict::set(Value key, Value value) {
  const auto [place, is_new] = places.emplace(key_of(key), items.size());
  if (is_new) {
    items.emplace_back(std::move(key), std::move(value));
  } else {
    items[place->second].second = std::move(value);
  }
}

std::string key_of(const Value& key) {
  if (key.is_string()) return "s" + key.string();
  if (key.is_integer()) return fmt::format("i{}", key.integer());
  if (key.is<double>()) {
    const double real = key.real();
    const bool is_whole = std::floor(real) == real && std::fabs(real) < 9e18;
    return is_whole ? fmt::format("i{}", static_cast<int64_t>(real)) : fmt::format("f{}", real);
  }
  if (key.is<None>()) return "n";
  if (key.is_list(ListKind::tuple)) {
    std::string text = "t";
    for (const Value& item : key.list().items) {
      if (item.is_list()) fail("a tuple that holds a {} is no key of a dict here", type_name(item));
      const std::string part = key_of(item);
      text += fmt::format("{}:{}", part.size(), part);
    }
    return text;
  }
  fail("a value of type {} is no key of a dict", type_name(key));
}

std::string_view type_name(const Value& value) {
  if (value.is<Undefined>()) return "Undefined";
  if (value.is<None>()) return "NoneType";
  if (value.is<bool>()) return "bool";
  if (value.is<int64_t>()) return "int";
  if (value.is<double>()) return "float";
  if (value.is_string()) return "str";
  if (value.is_dict()) return "dict";
  if (value.is<Namespace*>()) return "Namespace";
  if (!value.is_list()) return "function";
  constexpr std::string_view kKinds[] = {"list", "tuple", "range", "dict view", "generator"};
  return kKinds[static_cast<size_t>(value.list().kind)];
}

Value from_json(const nlohmann::ordered_json& json) { return from_json_at(json, 1); }

}  // namespace trireme::jinja
