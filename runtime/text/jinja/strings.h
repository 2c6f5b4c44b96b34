// Python's operations on strings, over UTF-8: positions and lengths count code points.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::jinja {

// What is not valid UTF-8 must not come here: template sources and JSON are checked before.

/// What Python's str.isspace() says.
bool is_space(char32_t code_point);
/// What Python's str.isprintable() says of one character.
bool is_printable(char32_t code_point);

int64_t length_of(std::string_view text);
/// The byte at which code point number `index` begins; the text's size beyond the end.
size_t byte_of(std::string_view text, int64_t index);

/// Strips these code points, or white space.
std::string_view strip(std::string_view text, std::optional<std::string_view> characters, bool left,
                       bool right);

/// str.split(None, most) and str.split(separator, most); most < 0: all. `from_right`: str.rsplit.
std::vector<std::string> split(std::string_view text, std::optional<std::string_view> separator, int64_t most,
                               bool from_right);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);

/// At most `most` replacements (< 0: all).
std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t most);

// Letters outside ASCII have the simple mappings of Unicode; TemplateError for those whose mapping is several
// letters or depends on what is beside them.
std::string upper(std::string_view text);
std::string lower(std::string_view text);
/// First letter upper, others lower.
std::string capitalize(std::string_view text);
/// str.title(): a letter after what is no letter is upper.
std::string title(std::string_view text);
/// The filter "title": the first character of what white space and -({[< separate is upper.
std::string title_of_words(std::string_view text);

/// str.find (or rfind) and str.count; position in code points, -1 when absent.
int64_t place_of(std::string_view text, std::string_view part, bool from_right);
int64_t times_in(std::string_view text, std::string_view part);

}  // namespace trireme::jinja
