#include <array>
#include <utility>

#include <fmt/ranges.h>

#include "launch/compress/recipe.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

constexpr std::array<std::pair<std::string_view, const char*>, 5> kRecipes = {{
    {"int8",
     "[step int8]\n"
     "method = nearest\n"
     "weights = int8\n"
     "group = 64\n"
     "embedding = int8:64\n"},
    {"int4",
     "[step int4]\n"
     "method = gptq\n"
     "weights = int4\n"
     "group = 64\n"
     "embedding = int8:64\n"},
    {"edge",
     "[step int4]\n"
     "method = gptq\n"
     "weights = int4\n"
     "group = 32\n"
     "embedding = int4:32\n"
     "[step file]\n"
     "method = export\n"
     "format = gguf\n"
     "type = q4_0\n"},
    {"small",
     "[step cut]\n"
     "method = cut\n"
     "neurons = 30%\n"
     "[step distil]\n"
     "method = distill\n"
     "steps = 300\n"
     "[step int4]\n"
     "method = gptq\n"
     "weights = int4\n"
     "group = 64\n"
     "embedding = int4:64\n"},
    {"shared",
     "[step share]\n"
     "method = share\n"
     "layers = 50%\n"
     "[step distil]\n"
     "method = distill\n"
     "steps = 300\n"
     "[step int4]\n"
     "method = gptq\n"
     "weights = int4\n"
     "group = 64\n"
     "embedding = int4:64\n"},
}};

}  // namespace

std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  for (const auto& [name, text] : kRecipes) names.emplace_back(name);
  return names;
}

std::string named_recipe_text(std::string_view name) {
  for (const auto& [known, text] : kRecipes) {
    if (known == name) return text;
  }
  throw_usage("--recipe {}: no such recipe and no such file; recipes: {}", name,
              fmt::join(recipe_names(), ", "));
}

}  // namespace trireme::launch
