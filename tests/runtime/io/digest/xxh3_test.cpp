#include "runtime/io/digest/xxh3.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace trireme {
namespace {

// As xxhsum -H2 prints them.
TEST(Xxh3, KnownValues) {
  EXPECT_EQ(to_string(xxh3_128(std::string_view(""))), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(to_string(xxh3_128(std::string_view("abc"))), "06b05ab6733a618578af5f94892f3950");
}

TEST(Xxh3, PiecesMakeTheSameHash) {
  std::string text(100'003, '\0');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 131 >> 3);
  const auto bytes = std::as_bytes(std::span(text));
  Xxh3Stream stream;
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{64}, size_t{4096}, text.size()}) {
    stream.reset();
    for (size_t at = 0; at < text.size(); at += piece)
      stream.update(bytes.subspan(at, std::min(piece, text.size() - at)));
    EXPECT_EQ(stream.digest(), xxh3_128(bytes)) << piece;
  }
}

TEST(Xxh3, TextAndBack) {
  const Hash128 hash{0x0123456789abcdefull, 0xfedcba9876543210ull};
  EXPECT_EQ(to_string(hash), "0123456789abcdeffedcba9876543210");
  EXPECT_EQ(parse_hash128(to_string(hash)), hash);
  for (const char* wrong : {"", "0123456789abcdeffedcba987654321", "0123456789abcdeffedcba98765432100",
                            "0123456789ABCDEFfedcba9876543210", "0123456789abcdeffedcba987654321g"})
    EXPECT_FALSE(parse_hash128(wrong)) << wrong;
}

}  // namespace
}  // namespace trireme
