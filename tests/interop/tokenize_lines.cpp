// For tests/interop/tokenizers.py: tokenize_lines TOKENIZER [encode|decode|stream|time SECONDS]. Reads a JSON
// value a line and writes one: for a string its ids (encode), for a list of ids their text as bytes in
// Latin-1, whole and without special tokens (decode), or the pieces of a TextStream (stream). time: encodes
// all strings again and again, and writes bytes per second of processor time.
#include <ctime>
#include <iostream>

#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"

namespace {

using nlohmann::json;
using trireme::SpecialTokens;

// Bytes as characters U+0000 to U+00FF, which JSON can hold.
std::string latin1(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) trireme::append_utf8(out, static_cast<uint8_t>(c));
  return out;
}

json decoded(const trireme::Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  return {latin1(tokenizer.decode(ids)), latin1(tokenizer.decode(ids, SpecialTokens::skip))};
}

json streamed(const trireme::Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  trireme::TextStream stream(tokenizer);
  json pieces = json::array();
  for (const int32_t id : ids) pieces.push_back(latin1(stream.push(id)));
  pieces.push_back(latin1(stream.finish()));
  return pieces;
}

void measure(const trireme::Tokenizer& tokenizer, const std::vector<std::string>& texts, double seconds) {
  const std::clock_t begin = std::clock();
  size_t bytes = 0, ids = 0;
  double elapsed = 0;
  do {
    for (const auto& text : texts) {
      ids += tokenizer.encode(text).size();
      bytes += text.size();
    }
    elapsed = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  } while (elapsed < seconds);
  std::cout << json{{"bytes_per_second", static_cast<double>(bytes) / elapsed}, {"ids", ids}} << "\n";
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3) return 2;
  try {
    const auto tokenizer = trireme::load_tokenizer(arguments[1]);
    const std::string mode = arguments[2];
    std::vector<std::string> texts;
    for (std::string line; std::getline(std::cin, line);) {
      const json value = json::parse(line);
      if (mode == "time") {
        texts.push_back(value.get<std::string>());
      } else if (mode == "encode") {
        std::cout << json(tokenizer->encode(value.get<std::string>())) << "\n";
      } else if (mode == "whole") {
        std::cout << json(tokenizer->encode_whole(value.get<std::string>())) << "\n";
      } else {
        const auto ids = value.get<std::vector<int32_t>>();
        std::cout << (mode == "stream" ? streamed(*tokenizer, ids) : decoded(*tokenizer, ids)) << "\n";
      }
    }
    if (mode == "time") measure(*tokenizer, texts, std::stod(arguments[3]));
  } catch (const trireme::Error& error) {
    std::cerr << error.what() << "\n";
    return static_cast<int>(error.code());
  }
}
