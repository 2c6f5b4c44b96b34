#include "runtime/text/jinja/names.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/tests.h"

namespace trireme::jinja {

namespace {

template <size_t N>
bool is_one_of(std::string_view name, const std::array<std::string_view, N>& names) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

std::string why_no_filter(std::string_view name) {
  constexpr auto kOthers = std::to_array<std::string_view>(
      {"attr", "batch", "center", "e", "escape", "filesizeformat", "forceescape", "groupby", "pprint",
       "random", "slice", "striptags", "truncate", "urlencode", "urlize", "wordcount", "wordwrap",
       "xmlattr"});
  if (has_filter(name)) return {};
  return is_one_of(name, kOthers) ? fmt::format("the filter '{}' of Jinja is not supported", name)
                                  : fmt::format("there is no filter '{}'", name);
}

std::string why_no_test(std::string_view name) {
  if (has_test(name)) return {};
  return name == "escaped" ? "the test 'escaped' of Jinja is not supported"
                           : fmt::format("there is no test '{}'", name);
}

std::string why_no_statement(std::string_view word) {
  constexpr auto kOthers =
      std::to_array<std::string_view>({"autoescape", "block", "debug", "do", "extends", "from", "import",
                                       "include", "pluralize", "print", "trans"});
  constexpr auto kEnds =
      std::to_array<std::string_view>({"elif", "else", "endif", "endfor", "endmacro", "endset", "endcall",
                                       "endfilter", "endwith", "endgeneration", "endraw"});
  if (is_one_of(word, kOthers)) return fmt::format("the statement '{}' of Jinja is not supported", word);
  if (is_one_of(word, kEnds)) return fmt::format("'{}' ends nothing that began", word);
  return fmt::format("there is no statement '{}'", word);
}

bool is_reserved(std::string_view name) {
  constexpr auto kReserved = std::to_array<std::string_view>(
      {"true", "false", "none", "True", "False", "None", "loop", "self", "caller", "varargs", "kwargs"});
  return is_one_of(name, kReserved);
}

bool is_method_of(std::string_view type, std::string_view name) {
  constexpr auto kDict =
      std::to_array<std::string_view>({"clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem",
                                       "setdefault", "update", "values"});
  constexpr auto kList = std::to_array<std::string_view>(
      {"append", "clear", "copy", "count", "extend", "index", "insert", "pop", "remove", "reverse", "sort"});
  constexpr auto kTuple = std::to_array<std::string_view>({"count", "index"});
  constexpr auto kString = std::to_array<std::string_view>(
      {"capitalize", "casefold",     "center",       "count",   "encode",     "endswith",    "expandtabs",
       "find",       "format",       "format_map",   "index",   "isalnum",    "isalpha",     "isascii",
       "isdecimal",  "isdigit",      "isidentifier", "islower", "isnumeric",  "isprintable", "isspace",
       "istitle",    "isupper",      "join",         "ljust",   "lower",      "lstrip",      "maketrans",
       "partition",  "removeprefix", "removesuffix", "replace", "rfind",      "rindex",      "rjust",
       "rpartition", "rsplit",       "rstrip",       "split",   "splitlines", "startswith",  "strip",
       "swapcase",   "title",        "translate",    "upper",   "zfill"});
  if (type == "dict") return is_one_of(name, kDict);
  if (type == "str") return is_one_of(name, kString);
  if (type == "list") return is_one_of(name, kList);
  return type == "tuple" && is_one_of(name, kTuple);
}

}  // namespace trireme::jinja
