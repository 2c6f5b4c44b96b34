// For schemas.py: reads lines {"schema": ..., "texts": [...], "draws": n} and writes {"error": ...} or
// {"accepted": [...], "drawn": [...]} for each: which texts the schema's grammar accepts, and texts of it.
#include <iostream>

#include "runtime/base/error.h"
#include "tests/runtime/text/grammar/json_bounds.h"

int main() {
  using namespace trireme;
  using Json = nlohmann::ordered_json;
  std::mt19937_64 random(1);
  for (std::string line; std::getline(std::cin, line);) {
    const Json input = Json::parse(line);
    Json output = Json::object();
    try {
      const auto grammar = json_schema_grammar(input["schema"]);
      output = {{"accepted", Json::array()}, {"drawn", Json::array()}};
      for (const Json& text : input["texts"])
        output["accepted"].push_back(test::accepts(grammar, text.get<std::string>()));
      for (int i = input["draws"].get<int>(); i > 0; --i) {
        if (const auto text = test::draw_text(ByteMatcher(grammar), random, 200))
          output["drawn"].push_back(*text);
      }
    } catch (const UserError& error) {
      output = {{"error", error.what()}};
    }
    std::cout << output.dump() << std::endl;
  }
}
