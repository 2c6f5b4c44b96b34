// Masks of tokens along a text: grammar_bench TOKENIZER.json [SCHEMA.json TEXT.json]. Prints the mean and the
// largest time of a mask, with nothing kept yet and with everything kept.
#include <chrono>
#include <fstream>
#include <iostream>
#include <sstream>

#include <fmt/format.h>

#include "launch/serve/protocol/token_texts.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/text/grammar/token_masks.h"

namespace trireme {
namespace {

using Clock = std::chrono::steady_clock;

double microseconds(Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

std::string contents(const char* path) {
  std::ifstream file(path);
  return (std::stringstream() << file.rdbuf()).str();
}

struct Example {
  std::string name, schema, text;  ///< no schema: any object
};

std::vector<Example> examples() {
  std::string people;
  for (int i = 0; i < 20; ++i) {
    people += fmt::format(
        "{}{{\"name\": \"Ada Lovelace {}\", \"age\": {}, \"email\": \"ada{}@example.com\", \"tags\": "
        "[\"mathematics\", \"engines and "
        "looms\"], \"note\": \"She wrote the first program; \\\"notes\\\" on the Analytical Engine.\"}}",
        i == 0 ? "" : ",\n  ", i, 20 + i, i);
  }
  const std::string person =
      R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0,"maximum":150},)"
      R"("email":{"type":"string"},"tags":{"type":"array","items":{"type":"string"}},"note":{"type":"string","maxLength":200}},)"
      R"("required":["name","age"],"additionalProperties":false})";
  return {{"object", "", "{\"people\": [" + people + "]}"},
          {"schema", R"({"type":"array","items":)" + person + "}", "[" + people + "]"},
          {"pattern", R"({"type":"array","items":{"type":"string","pattern":"^[A-Z][a-z]+( [A-Za-z ]+)?$"}})",
           R"(["The rowers", "Pull at the oars", "Of the galley"])"}};
}

void measure(const Tokenizer& tokenizer, const TokenMasks& masks, const Example& example) {
  const auto begin = Clock::now();
  const auto grammar = example.schema.empty()
                           ? json_object_grammar()
                           : json_schema_grammar(nlohmann::ordered_json::parse(example.schema));
  fmt::print("{}: {} states in {:.0f} us\n", example.name, grammar->states.size(),
             microseconds(Clock::now() - begin));
  std::vector<uint64_t> words(static_cast<size_t>(masks.num_tokens() + 63) / 64);
  const auto ids = tokenizer.encode(example.text);
  for (const char* turn : {"first", "again"}) {
    ByteMatcher matcher(grammar);
    double fill = 0, most = 0, accept = 0;
    for (const int32_t id : ids) {
      const auto start = Clock::now();
      masks.fill(matcher, words);
      const auto filled = Clock::now();
      if (!matcher.accept(masks.bytes(id))) throw std::runtime_error("the text is not of the grammar");
      fill += microseconds(filled - start);
      most = std::max(most, microseconds(filled - start));
      accept += microseconds(Clock::now() - filled);
    }
    const auto n = static_cast<double>(ids.size());
    fmt::print("  {}: {} tokens, mask {:.1f} us (most {:.1f}), accept {:.2f} us\n", turn, ids.size(),
               fill / n, most, accept / n);
  }
}

}  // namespace
}  // namespace trireme

int main(int count, char** arguments) {
  using namespace trireme;
  if (count != 2 && count != 4) {
    std::cerr << "usage: grammar_bench TOKENIZER [SCHEMA TEXT]\n";
    return 2;
  }
  const auto tokenizer = read_tokenizer(contents(arguments[1]), arguments[1]);
  const auto begin = Clock::now();
  const TokenMasks masks(launch::token_texts(*tokenizer, tokenizer->vocab_size()));
  fmt::print("vocabulary of {}: {:.0f} us\n", masks.num_tokens(), microseconds(Clock::now() - begin));
  auto list = examples();
  if (count == 4) list = {{arguments[2], contents(arguments[2]), contents(arguments[3])}};
  for (const auto& example : list) measure(*tokenizer, masks, example);
}
