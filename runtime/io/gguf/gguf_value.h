// Metadata of GGUF files: keys with typed values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace trireme {

/// A number, a flag, a string, or a list of them; strings need not be UTF-8. Lists of lists, which the format
/// would allow, are in no model's file and are refused.
using GgufValue =
    std::variant<uint8_t, int8_t, uint16_t, int16_t, uint32_t, int32_t, float, bool, std::string, uint64_t,
                 int64_t, double, std::vector<uint8_t>, std::vector<int8_t>, std::vector<uint16_t>,
                 std::vector<int16_t>, std::vector<uint32_t>, std::vector<int32_t>, std::vector<float>,
                 std::vector<bool>, std::vector<std::string>, std::vector<uint64_t>, std::vector<int64_t>,
                 std::vector<double>>;

using GgufMetadata = std::vector<std::pair<std::string, GgufValue>>;  ///< in the order of the file

/// "u32", "string", "list of f32".
std::string type_text(const GgufValue& value);

/// The value for people: strings in quotes with escapes, of lists the first elements and the length; at most
/// about `most` characters.
std::string value_text(const GgufValue& value, size_t most);

/// The number in files of a scalar's type.
template <class T>
constexpr uint32_t kGgufValueType = ~0u;
template <>
inline constexpr uint32_t kGgufValueType<uint8_t> = 0;
template <>
inline constexpr uint32_t kGgufValueType<int8_t> = 1;
template <>
inline constexpr uint32_t kGgufValueType<uint16_t> = 2;
template <>
inline constexpr uint32_t kGgufValueType<int16_t> = 3;
template <>
inline constexpr uint32_t kGgufValueType<uint32_t> = 4;
template <>
inline constexpr uint32_t kGgufValueType<int32_t> = 5;
template <>
inline constexpr uint32_t kGgufValueType<float> = 6;
template <>
inline constexpr uint32_t kGgufValueType<bool> = 7;
template <>
inline constexpr uint32_t kGgufValueType<std::string> = 8;
inline constexpr uint32_t kGgufListType = 9;
template <>
inline constexpr uint32_t kGgufValueType<uint64_t> = 10;
template <>
inline constexpr uint32_t kGgufValueType<int64_t> = 11;
template <>
inline constexpr uint32_t kGgufValueType<double> = 12;

}  // namespace trireme
