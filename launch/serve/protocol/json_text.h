// JSON written piece by piece: replies are many and alike, and a document of each would cost more than its
// tokens.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace trireme::launch {

/// `text` in quotes, escaped; what of it is not UTF-8 becomes U+FFFD.
void append_json_string(std::string& out, std::string_view text);
std::string json_string(std::string_view text);

/// The shortest digits that read back as the same float, with a point or exponent. -infinity, which JSON has
/// no word for, is -9999, as in vLLM's replies.
void append_score(std::string& out, float log_probability);

void append_number(std::string& out, int64_t value);
/// [1,2,3]
void append_numbers(std::string& out, std::span<const int32_t> values);

/// Code points that begin in `text`.
int64_t num_code_points(std::string_view text);

}  // namespace trireme::launch
