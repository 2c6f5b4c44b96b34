// JSON files whose errors are the user's: the message names the file and the place in it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace trireme {

/// Parses `text`; UserError(bad_input) naming `name` and the byte at which it stops being JSON, or the number
/// that no double can hold.
nlohmann::json parse_json(std::string_view text, const std::string& name);
nlohmann::json read_json_file(const std::string& path);

/// For parsers of their own: parse_json's errors, of a text of `size` bytes.
void refuse_zero_bytes(std::string_view text, const std::string& name);
[[noreturn]] void refuse_json(const nlohmann::json::exception& error, size_t size, const std::string& name);

/// The member `key` of `object`. UserError(bad_input) when `object` is no object or has no such member.
const nlohmann::json& json_member(const nlohmann::json& object, const char* key, const std::string& name);

/// `value` as an integer in [0, limit). UserError(bad_input) naming `what` otherwise.
int64_t json_index(const nlohmann::json& value, int64_t limit, std::string_view what,
                   const std::string& name);

/// `value` as a string. UserError(bad_input) naming `what` otherwise.
const std::string& json_string(const nlohmann::json& value, std::string_view what, const std::string& name);

/// The flag `key` of `object`; `fallback` when absent or null. UserError(bad_input) when it is no boolean.
bool json_flag(const nlohmann::json& object, const char* key, bool fallback, const std::string& name);

}  // namespace trireme
