#include "launch/compress/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/compress/compress_options.h"
#include "launch/compress/recipe_keys.h"
#include "runtime/base/error.h"
#include "tests/support/expect_error.h"

namespace trireme::launch {
namespace {

using ops::PackedFormat;
using testing::HasSubstr;

/// The words of the UserError (bad_input) that a recipe's text is refused with.
std::string refusal(const std::string& text) {
  try {
    parse_recipe(text, "r.ini");
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_input);
    return error.what();
  }
  ADD_FAILURE() << "taken: " << text;
  return "";
}

TEST(Recipe, NamedOnesAreRead) {
  for (const std::string& name : recipe_names()) {
    const Recipe recipe = named_recipe(name);
    EXPECT_FALSE(recipe.steps.empty()) << name;
    EXPECT_EQ(recipe.steps[0].kind, StepKind::quantize) << name;
    EXPECT_TRUE(recipe.steps[0].quantize.embedding.has_value()) << name;
  }
  EXPECT_EQ(named_recipe("int8").steps[0].quantize.rounding.spec.format, PackedFormat::int8);
  EXPECT_THROW(named_recipe("int5"), UserError);
}

TEST(Recipe, StepsComeInTheirOrderWithTheirKeys) {
  const Recipe recipe = parse_recipe(
      "[calibration]\ntext = book.txt\nsamples = 7\nall-experts = on\n"
      "[step zwei]\nmethod = awq+gptq\nweights = int4\ngroup = 32\nasymmetric = on\norder = groups\n"
      "skip = *.down.weight,layers.0.*\nembedding = int8:0\ngate.perplexity = +2%\ngate.size = 1/6\n"
      "[step alpha]\nmethod = qat\nsteps = 9\noptimizer.lr = 1e-4\n"
      "[step file]\nmethod = export\nformat = gguf\ntype = q4_0\n",
      "r.ini");
  EXPECT_EQ(recipe.calibration.text, "book.txt");
  EXPECT_EQ(recipe.calibration.samples, 7);
  EXPECT_TRUE(recipe.calibration.all_experts);
  ASSERT_EQ(recipe.steps.size(), 3u);
  const RecipeStep& first = recipe.steps[0];
  EXPECT_EQ(first.name, "zwei");
  EXPECT_EQ(first.quantize.scaling, InputScaling::awq);
  EXPECT_EQ(first.quantize.rounding.method, RoundingMethod::gptq);
  EXPECT_EQ(first.quantize.rounding.order, ColumnOrder::groups);
  EXPECT_EQ(first.quantize.rounding.spec, (ops::PackedSpec{PackedFormat::int4, 32, false}));
  EXPECT_TRUE(first.quantize.rounding.clips);  // the default with awq
  EXPECT_EQ(first.quantize.embedding, (ops::PackedSpec{PackedFormat::int8, 0, true}));
  EXPECT_EQ(first.quantize.skip, (std::vector<std::string>{"*.down.weight", "layers.0.*"}));
  EXPECT_DOUBLE_EQ(first.gate.perplexity.value(), 0.02);
  EXPECT_DOUBLE_EQ(first.gate.size.value(), 1.0 / 6);
  EXPECT_EQ(recipe.steps[1].kind, StepKind::qat);
  EXPECT_EQ(recipe.steps[1].qat.steps, 9);
  EXPECT_EQ(recipe.steps[1].qat.train_options, (std::vector<std::string>{"--optimizer.lr=1e-4"}));
  EXPECT_EQ(recipe.steps[2].exported.type, "q4_0");
}

TEST(Recipe, SaysAllThatIsWrongAtOnce) {
  const std::string words = refusal(
      "[calibration]\nsamples = many\n[step a]\nmethod = awq\nordre = groups\ndamping = 0.1\n"
      "[stp b]\nmethod = gptq\n[step c]\nmethod = export\nformat = gguf\n");
  for (const char* part :
       {"samples is 'many'", "r.ini:5: ordre is not a key of [step a]; did you mean order?",
        "damping has no effect with method awq", "[stp b] is no section of a recipe",
        "type is missing: q8_0"})
    EXPECT_THAT(words, HasSubstr(part));
}

TEST(Recipe, KeysWithoutEffectAndOrdersWithoutSenseAreRefused) {
  const std::pair<const char*, const char*> kCases[] = {
      {"", "no step"},
      {"[step a]\n", "[step a] has no keys"},
      {"[step a]\nweights = int4\n", "[step a] has no method"},
      {"[step a]\nmethod = nearest\norder = groups\n", "order has no effect with method nearest"},
      {"[step a]\nmethod = gptq\nstrength = 0.3\n", "strength has no effect with method gptq"},
      {"[step a]\nmethod = gptq\nsteps = 3\n", "steps has no effect without method qat"},
      {"[step a]\nmethod = gptq\nformat = gguf\n", "format has no effect without method export"},
      {"[step a]\nmethod = gptq\nmixed.budget-bits = 5\n", "mixed.budget-bits has no effect without"},
      {"[step a]\nmethod = gptq\nmixed.widths = int4:64,int8:64\n", "mixed.widths needs one of"},
      {"[step a]\nmethod = gptq\nweights = int8\nmixed.widths = int4:64,int8:64\nmixed.budget-bits = 5\n",
       "weights has no effect beside mixed.widths"},
      {"[step a]\nmethod = qat\nsteps = 4\n", "[step a] comes before any step that quantizes"},
      {"[step a]\nmethod = gptq\n[step b]\nmethod = qat\n", "steps is missing"},
      {"[step a]\nmethod = gptq\n[step b]\nmethod = export\nformat = gptq\n[step c]\nmethod = nearest\n",
       "steps that export come last"},
      {"[step a]\nmethod = gptq\n[step b]\nmethod = export\nformat = gptq\ntype = q4_0\n",
       "type has no effect with format gptq"},
      {"[step a]\nmethod = gptq\n[step a]\ngroup = 32\n", "[step a] is there twice"},
      {"[step a.b]\nmethod = gptq\n", "names of steps have no dots"},
      {"[step a]\nmethod = gptq\nasymmetric = yes\n", "asymmetric is 'yes'; allowed: on or off"},
      {"[step a]\nmethod = gptq\ngroup = 48\n", "group is '48'; allowed: one of 32, 64, 128, 0"},
      {"[step a]\nmethod = gptq\nembedding = int4:48\n", "embedding is 'int4:48'"},
  };
  for (const auto& [text, words] : kCases) EXPECT_THAT(refusal(text), HasSubstr(words)) << text;
}

TEST(Recipe, PartsAreWrittenInThreeWays) {
  EXPECT_DOUBLE_EQ(parse_part("+2%").value(), 0.02);
  EXPECT_DOUBLE_EQ(parse_part("1/8").value(), 0.125);
  EXPECT_DOUBLE_EQ(parse_part("0.5").value(), 0.5);
  for (const char* text : {"", "%", "1/0", "1/", "two", "1/-2", "inf", "nan", "5%/2"})
    EXPECT_FALSE(parse_part(text).has_value()) << text;
}

TEST(CompressOptions, ASingleStepIsARecipe) {
  const std::vector<std::string> args = {"run",           "--out", "small",     "--method", "awq",
                                         "--weights",     "int8",  "--gate.kl", "0.5",      "--export",
                                         "gguf:q8_0,awq", "--dp",  "2",         "--tp",     "2"};
  const CompressArguments a = parse_compress(args, 4);
  EXPECT_EQ(a.model.path, "run");
  EXPECT_EQ(a.model.model.plan.data, 2);
  ASSERT_EQ(a.recipe.steps.size(), 3u);
  EXPECT_EQ(a.recipe.steps[0].quantize.scaling, InputScaling::awq);
  EXPECT_EQ(a.recipe.steps[0].quantize.rounding.spec.format, PackedFormat::int8);
  EXPECT_DOUBLE_EQ(a.recipe.steps[0].gate.divergence.value(), 0.5);
  EXPECT_EQ(a.recipe.steps[1].exported.type, "q8_0");
  EXPECT_EQ(a.recipe.steps[2].exported.format, "awq");
}

TEST(CompressOptions, WhatHasNoEffectIsRefused) {
  const std::pair<std::vector<std::string>, const char*> kCases[] = {
      {{"run"}, "--out DIR is missing"},
      {{"--out", "x"}, "compress takes one MODEL, given 0"},
      {{"run", "--out", "x", "--recipe", "int4", "--group", "32"}, "have no effect beside it"},
      {{"run", "--out", "x", "--recipe", "int3"},
       "no such recipe and no such file; recipes: int8, int4, edge"},
      {{"run", "--out", "x", "--method", "qat"}, "--method qat is for steps of a recipe"},
      {{"run", "--out", "x", "--weights", "int8", "--damping", "0.1", "--method", "nearest"},
       "--damping has no effect with method nearest"},
      {{"run", "--out", "x", "--tp", "2"}, "make 2 rank(s), and 1 were started"},
      {{"run", "--out", "x", "--export", "onnx"}, "--export onnx: 'onnx'; allowed"},
      {{"run", "--out", "x", "--max-seq-len", "4"}, "--max-seq-len is not an option of trireme compress"},
  };
  for (const auto& [args, words] : kCases) {
    try {
      parse_compress(args, 1);
      ADD_FAILURE() << "taken, without: " << words;
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::usage);
      EXPECT_THAT(error.what(), HasSubstr(words));
    }
  }
}

TEST(CompressOptions, CalibrationOptionsGoOverTheRecipes) {
  const std::vector<std::string> args = {
      "run", "--out", "x", "--recipe", "edge", "--calibration.samples", "5", "--gate.size", "1/4"};
  const CompressArguments a = parse_compress(args, 1);
  EXPECT_EQ(a.recipe.calibration.samples, 5);
  for (const RecipeStep& step : a.recipe.steps) EXPECT_DOUBLE_EQ(step.gate.size.value(), 0.25);
}

TEST(CompressOptions, HelpNamesEveryOptionInAHundredColumns) {
  const std::string help = compress_help();
  for (const char* option : {"--recipe", "--gate.same-top", "--calibration.all-experts", "--eval.text",
                             "--dp", "--mixed.budget-bits", "--export", "--restart"})
    EXPECT_THAT(help, HasSubstr(option));
  for (size_t begin = 0; begin < help.size();) {
    const size_t end = help.find('\n', begin);
    EXPECT_LE(end - begin, 100u) << help.substr(begin, end - begin);
    begin = end + 1;
  }
}

}  // namespace
}  // namespace trireme::launch
