#include "launch/serve/protocol/reply/token_names.h"

#include <fmt/format.h>

#include "runtime/io/json/utf8.h"

namespace trireme::launch {

std::string TokenNames::bytes(int32_t token) const {
  if (token < 0 || token >= tokenizer_.vocab_size()) return "";
  return tokenizer_.decode({&token, 1});
}

std::string TokenNames::name_of(int32_t token, const std::string& bytes) {
  if (bytes.empty()) return by_id(token);
  if (!find_utf8_error(bytes)) return bytes;
  std::string name = "bytes:";
  for (const char c : bytes) name += fmt::format("\\x{:02x}", static_cast<uint8_t>(c));
  return name;
}

std::string TokenNames::by_id(int32_t token) { return fmt::format("token_id:{}", token); }

}  // namespace trireme::launch
