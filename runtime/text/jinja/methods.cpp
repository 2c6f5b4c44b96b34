#include "runtime/text/jinja/methods.h"

#include <algorithm>
#include <functional>

#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/strings.h"
#include "runtime/text/jinja/text.h"

namespace trireme::jinja {

namespace {

using Names = std::vector<std::string_view>;

/// Methods have parameters by place alone.
void refuse_named(const std::string& name, const Arguments& arguments) {
  if (!arguments.named.empty()) fail("{}() takes no named arguments", name);
}

std::optional<std::string> optional_text(const Bound& bound, size_t i) {
  if (!bound.has(i)) return std::nullopt;
  return bound.string(i, "");
}

Value strings_of(const std::vector<std::string>& parts, Budget& budget) {
  budget.step(std::ssize(parts));
  std::vector<Value> out;
  for (const std::string& part : parts) {
    budget.bytes(std::ssize(part) + 32);
    out.emplace_back(part);
  }
  return make_list(std::move(out));
}

/// str.startswith(one or a tuple, begin, end).
bool has_end(const std::string& name, const std::string& text, const Bound& bound, Budget& budget) {
  std::optional<int64_t> begin, end;
  if (bound.has(1)) begin = bound.integer(1, 0);
  if (bound.has(2)) end = bound.integer(2, 0);
  if (begin && *begin > length_of(text)) return false;
  const Value part = begin || end ? slice(text, begin, end, std::nullopt, budget) : Value(text);
  const auto has = [&](const Value& end_text) {
    if (!end_text.is_string()) fail("{}() asks for a {}", name, type_name(end_text));
    return name == "startswith" ? part.string().starts_with(end_text.string())
                                : part.string().ends_with(end_text.string());
  };
  return bound[0]->is_list(ListKind::tuple) ? std::ranges::any_of(bound[0]->list().items, has)
                                            : has(*bound[0]);
}

Value joined_by(const std::string& separator, const Value& list, Budget& budget) {
  std::string out;
  bool is_first = true;
  for (const Value& item : elements(list, budget)) {
    if (!item.is_string()) fail("join() has a {} among the strings", type_name(item));
    if (!std::exchange(is_first, false)) out += separator;
    out += item.string();
    budget.output(std::ssize(out));
  }
  budget.bytes(std::ssize(out));
  return out;
}

/// Those that return text of another length, or none.
std::optional<Value> cutting_method(const std::string& text, const std::string& name,
                                    const Arguments& arguments, Budget& budget) {
  const auto bind = [&](const Names& names, size_t required) {
    return Bound(name + "()", arguments, names, required);
  };
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    refuse_named(name, arguments);
    static const Names kNames = {"chars"};
    return Value(strip(text, optional_text(bind(kNames, 0), 0), name != "rstrip", name != "lstrip"));
  }
  if (name == "split" || name == "rsplit") {
    static const Names kNames = {"sep", "maxsplit"};
    const Bound bound = bind(kNames, 0);
    return strings_of(split(text, optional_text(bound, 0), bound.integer(1, -1), name == "rsplit"), budget);
  }
  if (name == "splitlines") {
    static const Names kNames = {"keepends"};
    return strings_of(split_lines(text, bind(kNames, 0).flag(0, false)), budget);
  }
  if (name == "removeprefix" || name == "removesuffix") {
    refuse_named(name, arguments);
    static const Names kNames = {"part"};
    const std::string part = bind(kNames, 1).string(0, "");
    if (name == "removeprefix") return Value(text.starts_with(part) ? text.substr(part.size()) : text);
    return Value(text.ends_with(part) ? text.substr(0, text.size() - part.size()) : text);
  }
  return std::nullopt;
}

/// str.format of fields {}, {0} and {name}, and {{ and }}.
std::string filled(const std::string& format, const Arguments& arguments, Budget& budget) {
  std::string out;
  size_t next = 0;
  bool by_order = false, by_number = false;
  for (size_t at = 0; at < format.size(); ++at) {
    const bool is_double = at + 1 < format.size() && format[at + 1] == format[at];
    if (format[at] != '{' && format[at] != '}') {
      out += format[at];
    } else if (is_double) {
      out += format[at++];
    } else {
      const size_t end = format[at] == '{' ? format.find('}', at) : std::string::npos;
      if (end == std::string::npos) fail("format(): a single '{}' in the format", format[at]);
      const std::string field = format.substr(at + 1, end - at - 1);
      at = end;
      const bool is_number =
          !field.empty() && field.size() < 9 && field.find_first_not_of("0123456789") == std::string::npos;
      const auto named =
          std::ranges::find(arguments.named, field, [](const auto& pair) { return pair.first; });
      (field.empty() ? by_order : by_number) |= field.empty() || is_number;
      const size_t place = field.empty() ? next++ : is_number ? std::stoul(field) : arguments.values.size();
      if (by_order && by_number) fail("format(): fields with and without numbers");
      if (place >= arguments.values.size() &&
          (is_number || field.empty() || named == arguments.named.end())) {
        fail("format(): the field '{{{}}}' has no value, or is not supported", field);
      }
      out += text_of(place < arguments.values.size() ? arguments.values[place] : named->second, budget);
    }
    budget.output(std::ssize(out));
  }
  budget.bytes(std::ssize(out));
  return out;
}

Value string_method(const std::string& text, const std::string& name, const Arguments& arguments,
                    Budget& budget) {
  budget.step(std::ssize(text) / 64);
  budget.bytes(std::ssize(text));
  if (auto cut = cutting_method(text, name, arguments, budget)) return *cut;
  static const Names kNone = {}, kPart = {"sub"}, kEnds = {"prefix", "start", "end"},
                     kReplace = {"old", "new", "count"}, kList = {"iterable"};
  if (name == "format") return filled(text, arguments, budget);
  refuse_named(name, arguments);
  const auto bind = [&](const Names& names, size_t required) {
    return Bound(name + "()", arguments, names, required);
  };
  if (name == "startswith" || name == "endswith") return has_end(name, text, bind(kEnds, 1), budget);
  if (name == "replace") {
    const Bound bound = bind(kReplace, 2);
    const std::string from = bound.string(0, ""), to = bound.string(1, "");
    const int64_t times = from.empty() ? length_of(text) + 1 : times_in(text, from);
    budget.bytes(times * (std::ssize(to) + 1));
    return replace(text, from, to, bound.integer(2, -1));
  }
  if (name == "find" || name == "rfind") return place_of(text, bind(kPart, 1).string(0, ""), name == "rfind");
  if (name == "count") return times_in(text, bind(kPart, 1).string(0, ""));
  if (name == "join") return joined_by(text, *bind(kList, 1)[0], budget);
  using Case = std::string (*)(std::string_view);
  for (const auto& [known, map] : {std::pair<std::string_view, Case>("upper", upper),
                                   {"lower", lower},
                                   {"capitalize", capitalize},
                                   {"title", title}}) {
    if (name == known) return bind(kNone, 0), map(text);
  }
  if (name == "isspace") {
    bind(kNone, 0);
    return !text.empty() && strip(text, std::nullopt, true, true).empty();
  }
  if (name == "isdigit" || name == "isalpha" || name == "isalnum") {
    bind(kNone, 0);
    if (std::ranges::any_of(text, [](char c) { return (static_cast<unsigned char>(c) & 0x80u) != 0; })) {
      fail("{}() of text outside ASCII is not supported", name);
    }
    return !text.empty() && std::ranges::all_of(text, [&](char c) {
      const bool digit = c >= '0' && c <= '9', letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
      return (digit && name != "isalpha") || (letter && name != "isdigit");
    });
  }
  fail("the method '{}' of strings is not supported", name);
}

Value list_method(const List& list, const std::string& name, const Arguments& arguments, Budget& budget) {
  static const Names kItem = {"value"};
  refuse_named(name, arguments);
  if (name == "index" || name == "count") {
    const Bound bound(name + "()", arguments, kItem, 1);
    int64_t times = 0;
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (!are_equal(list.items[i], *bound[0], budget)) continue;
      if (name == "index") return static_cast<int64_t>(i);
      ++times;
    }
    if (name == "index") fail("index(): the value is not in the list");
    return times;
  }
  if (name == "copy") return make_list(list.items);
  fail("the method '{}' of lists is not allowed: it would change the list; '+' makes a new one", name);
}

Value dict_method(const Dict& dict, const std::string& name, const Arguments& arguments, Budget& budget) {
  static const Names kNone = {}, kGet = {"key", "default"};
  refuse_named(name, arguments);
  budget.step(std::ssize(dict.items));
  if (name == "get") {
    const Bound bound("get()", arguments, kGet, 1);
    const Value* found = dict.find(*bound[0]);
    return found != nullptr ? *found : bound[1] != nullptr ? *bound[1] : Value(None{});
  }
  if (name == "items" || name == "keys" || name == "values") {
    Bound(name + "()", arguments, kNone, 0);
    budget.bytes(std::ssize(dict.items) * 32);
    std::vector<Value> out;
    for (const auto& [key, value] : dict.items) {
      out.push_back(name == "keys"     ? key
                    : name == "values" ? value
                                       : make_list({key, value}, ListKind::tuple));
    }
    return make_list(std::move(out), ListKind::view);
  }
  if (name == "copy") return dict;
  fail("the method '{}' of dicts is not allowed: it would change the dict", name);
}

/// Methods of what "safe" made give the same; those that would escape their arguments are not supported.
Value markup_method(const Value& self, const std::string& name, const Arguments& arguments, Budget& budget) {
  for (const std::string_view escaping : {"replace", "join", "format"}) {
    if (name == escaping) fail("the method '{}' of what 'safe' made is not supported", name);
  }
  const Value out = string_method(self.string(), name, arguments, budget);
  if (out.is_string()) return Text{out.string(), true};
  if (!out.is_list()) return out;
  std::vector<Value> parts;
  for (const Value& part : out.list().items) parts.emplace_back(Text{part.string(), true});
  return make_list(std::move(parts));
}

}  // namespace

Value call_method(const Value& self, const std::string& name, const Arguments& arguments, Budget& budget) {
  if (self.is_markup()) return markup_method(self, name, arguments, budget);
  if (self.is_string()) return string_method(self.string(), name, arguments, budget);
  if (self.is_dict()) return dict_method(self.dict(), name, arguments, budget);
  return list_method(self.list(), name, arguments, budget);
}

}  // namespace trireme::jinja
