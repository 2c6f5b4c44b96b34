#include "runtime/text/jinja/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "runtime/io/json/utf8.h"
#include "runtime/text/jinja/evaluator.h"
#include "runtime/text/jinja/strings.h"

namespace trireme::jinja {

namespace {

std::string string_repr(const std::string& text) {
  const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    const auto number = static_cast<uint32_t>(c);
    if (c == static_cast<char32_t>(quote) || c == U'\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == U'\n' || c == U'\r' || c == U'\t') {
      out += c == U'\n' ? "\\n" : c == U'\r' ? "\\r" : "\\t";
    } else if (is_printable(c)) {
      append_utf8(out, c);
    } else {
      out += number < 0x100     ? fmt::format("\\x{:02x}", number)
             : number < 0x10000 ? fmt::format("\\u{:04x}", number)
                                : fmt::format("\\U{:08x}", number);
    }
  }
  return out + quote;
}

std::string joined(const std::vector<Value>& items, Budget& budget) {
  std::string out;
  for (const Value& item : items) out += (out.empty() ? "" : ", ") + repr_of(item, budget);
  return out;
}

std::string list_repr(const List& list, Budget& budget) {
  switch (list.kind) {
    case ListKind::list:
      return "[" + joined(list.items, budget) + "]";
    case ListKind::tuple:
      return "(" + joined(list.items, budget) + (list.items.size() == 1 ? ",)" : ")");
    case ListKind::range:
      fail("a range is printed; a list of it would work");
    case ListKind::view:
      fail("a view of a dict is printed; a list of it would work");
    case ListKind::generator:
      fail("a generator (of map, select, ...) is printed; a list of it would work");
  }
  return {};
}

std::string dict_repr(const std::vector<std::pair<Value, Value>>& items, Budget& budget) {
  std::string out = "{";
  for (const auto& [key, value] : items) {
    out += (out.size() > 1 ? ", " : "") + repr_of(key, budget) + ": " + repr_of(value, budget);
  }
  return out + "}";
}

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Budget& budget) : style_(style), budget_(budget) {
    item_ = style.separators ? style.separators->first : style.indent ? "," : ", ";
    key_ = style.separators ? style.separators->second : ": ";
  }

  void write(const Value& value, int level) {
    const size_t before = out_.size();
    budget_.step();
    if (value.is<None>()) {
      out_ += "null";
    } else if (value.is<bool>()) {
      out_ += value.flag() ? "true" : "false";
    } else if (value.is<int64_t>()) {
      out_ += fmt::to_string(value.integer());
    } else if (value.is<double>()) {
      out_ += number(value.real());
    } else if (value.is_string()) {
      string(value.string());
    } else if (value.is_list(ListKind::list) || value.is_list(ListKind::tuple)) {
      list(value.list().items, level);
    } else if (value.is_dict()) {
      dict(value.dict(), level);
    } else {
      fail("tojson: a value of type {} is not JSON{}", type_name(value),
           value.is<Undefined>() ? " (" + value.undefined_what() + ")" : "");
    }
    if (level == 0) budget_.bytes(std::ssize(out_) - static_cast<int64_t>(before));
    budget_.output(std::ssize(out_));
  }
  std::string take() { return std::move(out_); }

 private:
  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    return real_text(value);
  }

  void escaped(char32_t c) {
    const auto n = static_cast<uint32_t>(c);
    if (n >= 0x10000) {
      out_ +=
          fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + ((n - 0x10000) >> 10), 0xdc00 + ((n - 0x10000) & 0x3ff));
    } else {
      out_ += fmt::format("\\u{:04x}", n);
    }
  }

  void string(const std::string& text) {
    constexpr std::string_view kPlain = "\"\\\n\r\t\f\b", kLetters = "\"\\nrtfb";
    out_ += '"';
    for (size_t at = 0; at < text.size();) {
      const char32_t c = next_code_point(text, at);
      const size_t known = c < 0x80 ? kPlain.find(static_cast<char>(c)) : std::string_view::npos;
      if (known != std::string_view::npos) {
        out_ += '\\';
        out_ += kLetters[known];
      } else if (c < 0x20 || (style_.ascii && c >= 0x7f && c != 0x7f)) {
        escaped(c);
      } else {
        append_utf8(out_, c);
      }
    }
    out_ += '"';
  }

  void line(int level) {
    if (!style_.indent) return;
    out_ += '\n';
    for (int i = 0; i < level; ++i) out_ += *style_.indent;
  }

  void list(const std::vector<Value>& items, int level) {
    out_ += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += item_;
      line(level + 1);
      write(items[i], level + 1);
    }
    if (!items.empty()) line(level);
    out_ += ']';
  }

  void key(const Value& value) {
    if (value.is_string()) return string(value.string());
    if (!value.is<bool>() && !value.is_number() && !value.is<None>())
      fail("tojson: keys must be strings or numbers");
    const size_t before = out_.size();
    write(value, 1);
    const std::string text = out_.substr(before);
    out_.resize(before);
    string(text);
  }

  void dict(const Dict& dict, int level) {
    std::vector<const std::pair<Value, Value>*> items;
    for (const auto& item : dict.items) items.push_back(&item);
    if (style_.sort_keys) {
      for (const auto* item : items) {
        if (!item->first.is_string()) fail("tojson: sort_keys needs keys that are strings");
      }
      std::ranges::stable_sort(items, {}, [](const auto* item) { return item->first.string(); });
    }
    out_ += '{';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += item_;
      line(level + 1);
      key(items[i]->first);
      out_ += key_;
      write(items[i]->second, level + 1);
    }
    if (!items.empty()) line(level);
    out_ += '}';
  }

  const JsonStyle& style_;
  Budget& budget_;
  std::string out_, item_, key_;
};

}  // namespace

std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.begin(), buffer.end(), value, std::chars_format::scientific).ptr;
  const std::string text(buffer.begin(), end);
  const size_t e = text.find('e');
  const int exponent = std::stoi(text.substr(e + 1));
  if (exponent < -4 || exponent >= 16) {
    return fmt::format("{}e{}{:02}", text.substr(0, e), exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  const auto fixed = std::to_chars(buffer.begin(), buffer.end(), value, std::chars_format::fixed).ptr;
  std::string out(buffer.begin(), fixed);
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

std::string repr_of(const Value& value, Budget& budget) {
  budget.step();
  std::string out;
  if (value.is_markup()) fail("what 'safe' made is printed in a list");
  if (value.is_string()) {
    out = string_repr(value.string());
  } else if (value.is_list()) {
    out = list_repr(value.list(), budget);
  } else if (value.is_dict()) {
    out = dict_repr(value.dict().items, budget);
  } else if (value.is<Undefined>()) {
    out = "Undefined";
  } else {
    out = text_of(value, budget);
  }
  budget.bytes(std::ssize(out));
  return out;
}

std::string text_of(const Value& value, Budget& budget) {
  if (value.is_string()) return value.string();
  if (value.is<Undefined>()) return "";
  if (value.is<None>()) return "None";
  if (value.is<bool>()) return value.flag() ? "True" : "False";
  if (value.is<int64_t>()) return fmt::to_string(value.integer());
  if (value.is<double>()) return real_text(value.real());
  if (value.is_list() || value.is_dict()) return repr_of(value, budget);
  if (value.is<Namespace*>()) fail("a namespace is printed");
  fail("a function is printed; call it with ()");
}

std::string json_of(const Value& value, const JsonStyle& style, Budget& budget) {
  JsonWriter writer(style, budget);
  writer.write(value, 0);
  return writer.take();
}

}  // namespace trireme::jinja
