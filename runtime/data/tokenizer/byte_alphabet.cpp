#include "runtime/data/tokenizer/byte_alphabet.h"

#include "runtime/io/json/utf8.h"

namespace trireme {
namespace {

constexpr bool spells_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr char32_t kFirstStandIn = 0x100;
constexpr int kStandIns = 68;

struct Alphabet {
  std::array<char32_t, 256> character{};
  std::array<uint8_t, kStandIns> byte{};

  constexpr Alphabet() {
    int used = 0;
    for (int b = 0; b < 256; ++b) {
      const auto index = static_cast<size_t>(b);
      if (!spells_itself(b)) byte[static_cast<size_t>(used)] = static_cast<uint8_t>(b);
      character[index] =
          static_cast<char32_t>(spells_itself(b) ? b : static_cast<int>(kFirstStandIn) + used++);
    }
  }
};
constexpr Alphabet kAlphabet;

}  // namespace

std::array<uint8_t, 256> byte_alphabet_order() {
  std::array<uint8_t, 256> order{};
  size_t n = 0;
  for (int b = 0; b < 256; ++b) {
    if (spells_itself(b)) order[n++] = static_cast<uint8_t>(b);
  }
  for (const uint8_t b : kAlphabet.byte) order[n++] = b;
  return order;
}

std::string spell_bytes(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) append_utf8(out, kAlphabet.character[static_cast<uint8_t>(c)]);
  return out;
}

std::optional<std::string> unspell_bytes(std::string_view spelling) {
  std::string out;
  for (size_t i = 0; i < spelling.size();) {
    const char32_t c = next_code_point(spelling, i);
    if (c < kFirstStandIn && spells_itself(static_cast<int>(c))) {
      out.push_back(static_cast<char>(c));
    } else if (c >= kFirstStandIn && c < kFirstStandIn + kStandIns) {
      out.push_back(static_cast<char>(kAlphabet.byte[c - kFirstStandIn]));
    } else {
      return std::nullopt;
    }
  }
  return out;
}

}  // namespace trireme
