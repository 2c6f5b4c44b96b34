// GPT-2's spelling of bytes as printable characters, used in the vocabularies of all byte-level BPE files.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trireme {

/// The bytes in the order of the characters that spell them: 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF stand for
/// themselves, the other 68 bytes for U+0100 onwards (Radford et al. 2019, encoder.py). It is also the order
/// of GPT-2's first 256 ids.
std::array<uint8_t, 256> byte_alphabet_order();

std::string spell_bytes(std::string_view bytes);
/// nullopt when `spelling` (valid UTF-8) holds a character that stands for no byte.
std::optional<std::string> unspell_bytes(std::string_view spelling);

}  // namespace trireme
