#include "launch/cli/ini_file.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

constexpr std::string_view kBlank = " \t\r";

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

bool is_comment(char c) { return c == '#' || c == ';'; }

std::string_view without_comment(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (is_comment(text[i]) && (i == 0 || kBlank.find(text[i - 1]) != std::string_view::npos)) {
      return trim(text.substr(0, i));
    }
  }
  return text;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Reads one escape behind a backslash at text[i]; leaves i at its last character. False when it is none.
bool read_escape(std::string_view text, size_t& i, std::string& out) {
  if (++i >= text.size()) return false;
  constexpr std::string_view kNames = "ntr\"\\", kMeanings = "\n\t\r\"\\";
  if (const size_t place = kNames.find(text[i]); place != std::string_view::npos) {
    out += kMeanings[place];
    return true;
  }
  if (text[i] != 'x' || i + 2 >= text.size()) return false;
  const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
  if (high < 0 || low < 0) return false;
  out += static_cast<char>(high * 16 + low);
  i += 2;
  return true;
}

/// The value of a quoted text; nothing when the quotes do not close, an escape is unknown or more follows.
std::optional<std::string> unquote(std::string_view text) {
  std::string out;
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') {
      if (!without_comment(trim(text.substr(i + 1))).empty()) return std::nullopt;
      return out;
    }
    if (text[i] != '\\') {
      out += text[i];
    } else if (!read_escape(text, i, out)) {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

class Reader {
 public:
  explicit Reader(const std::string& file) : file_(file) {}

  void line(std::string_view raw) {
    ++number_;
    const std::string_view text = trim(raw);
    if (text.empty() || is_comment(text[0])) return;
    if (text[0] == '[') {
      section_line(without_comment(text));
    } else {
      key_line(text);
    }
  }

  Settings take() { return std::move(settings_); }

 private:
  std::string where() const { return fmt::format("{}:{}", file_, number_); }

  void error(const std::string& message) { settings_.errors.push_back(where() + ": " + message); }

  void section_line(std::string_view text) {
    if (!text.ends_with(']')) return error(fmt::format("'{}' is not a section: it must end in ]", text));
    section_ = trim(text.substr(1, text.size() - 2));
  }

  void key_line(std::string_view text) {
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos)
      return error(fmt::format("'{}' is neither [section] nor key = value", text));
    std::string key(trim(text.substr(0, equals)));
    if (!section_.empty()) key = section_ + "." + key;
    const auto [first, is_new] = seen_.emplace(key, number_);
    if (!is_new) return error(fmt::format("{} was already given on line {}", key, first->second));
    const std::string_view raw = trim(text.substr(equals + 1));
    if (!raw.starts_with('"')) {
      settings_.list.push_back({key, std::string(without_comment(raw)), where()});
    } else if (auto value = unquote(raw)) {
      settings_.list.push_back({key, std::move(*value), where()});
    } else {
      error(
          fmt::format("{} = {}: quotes must close, with nothing after them; escapes are \\n"
                      " \\t \\r \\\" \\\\ \\xHH",
                      key, raw));
    }
  }

  std::string file_;
  std::string section_;
  std::map<std::string, int> seen_;
  Settings settings_;
  int number_ = 0;
};

}  // namespace

Settings parse_ini(std::string_view text, const std::string& file) {
  Reader reader(file);
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // some editors mark UTF-8
  while (!text.empty()) {
    const size_t end = text.find('\n');
    reader.line(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return reader.take();
}

Settings read_ini(const std::string& path) {
  if (std::filesystem::is_directory(path)) throw_usage("--config {}: it is a directory", path);
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (in && in.peek() != std::ifstream::traits_type::eof()) text << in.rdbuf();
  if (in.bad() || !in.is_open()) throw_usage("--config {}: cannot be read: {}", path, std::strerror(errno));
  return parse_ini(text.str(), path);
}

std::string quote_ini(std::string_view value) {
  const bool plain = trim(value) == value && value.find_first_of("#;\"\\\n") == std::string_view::npos;
  bool control = false;
  for (const char c : value) control |= static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  if (plain && !control) return std::string(value);
  std::string out = "\"";
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      out += "\\n";
    } else if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace trireme::launch
