#include "launch/compress/recipe.h"

#include <algorithm>
#include <set>

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
    const auto quantizes = std::ranges::find(recipe.steps, StepKind::quantize, &RecipeStep::kind);
    ASSERT_NE(quantizes, recipe.steps.end()) << name;
    EXPECT_TRUE(quantizes->quantize.embedding.has_value()) << name;
  }
  const Recipe chain = named_recipe("small");
  ASSERT_EQ(chain.steps.size(), 3u);
  EXPECT_DOUBLE_EQ(chain.steps[0].cut.neurons.part, 0.3);
  EXPECT_TRUE(chain.steps[1].kind == StepKind::train && chain.steps[1].train.distills);
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
      {"[step a]\nmethod = gptq\nsteps = 3\n",
       "steps has no effect with method gptq: distill, train, qat have it"},
      {"[step a]\nmethod = gptq\nformat = gguf\n", "format has no effect with method gptq: export have it"},
      {"[step a]\nmethod = wanda\ngroup = 32\n",
       "group has no effect with method wanda: those that quantize"},
      {"[step a]\nmethod = gptq\nneurons = 3\n", "neurons has no effect with method gptq: cut"},
      {"[step a]\nmethod = cut\n", "method is cut, and nothing is"},
      {"[step a]\nmethod = cut\nneurons = 100%\n", "neurons is '100%'; allowed: the part that goes"},
      {"[step a]\nmethod = cut\nlayers = 0.5\n", "layers is '0.5'"},
      {"[step a]\nmethod = wanda\nsparsity = 1\n", "sparsity is '1'; allowed: a part above 0 and below 1"},
      {"[step a]\nmethod = wanda\npattern = 4:4\n", "pattern is '4:4'; allowed: N:M"},
      {"[step a]\nmethod = wanda\npattern = 2:4\nsparsity = 50%\n", "sparsity has no effect beside pattern"},
      {"[step a]\nmethod = wanda\npattern = 2:4\nglobal = on\n", "global has no effect beside pattern"},
      {"[step a]\nmethod = wanda\ndamping = 0.1\n", "damping has no effect without method sparsegpt"},
      {"[step a]\nmethod = sparsegpt\nscope = matrix\n", "scope has no effect with method sparsegpt"},
      {"[step a]\nmethod = cut\nlayers = 4\n[step b]\nmethod = distill\n", "[step b] steps is missing"},
      {"[step a]\nmethod = cut\nlayers = 4\n[step b]\nmethod = train\nsteps = 2\ndistill.weight = 1\n",
       "distill.* has no effect with method train"},
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

TEST(Recipe, StepsThatTakeAwayAndGiveBackHaveTheirKeys) {
  const Recipe recipe = parse_recipe(
      "[step cut]\nmethod = cut\nneurons = 30%\nlayers = 4\nkv-groups = 2\n"
      "[step back]\nmethod = distill\nsteps = 9\ndistill.weight = 0.5\n"
      "[step prune]\nmethod = sparsegpt\npattern = 2:4\nskip = *.down.weight\nsequential = off\n"
      "[step global]\nmethod = magnitude\nsparsity = 60%\nscope = output\nglobal = on\n"
      "[step alone]\nmethod = train\nsteps = 3\n[step int4]\nmethod = gptq\n",
      "r.ini");
  ASSERT_EQ(recipe.steps.size(), 6u);
  const CutStep& cut = recipe.steps[0].cut;
  EXPECT_DOUBLE_EQ(cut.neurons.part, 0.3);
  EXPECT_EQ(cut.layers.stay, 4);
  EXPECT_EQ(cut.kv_groups.stay, 2);
  EXPECT_FALSE(cut.heads);
  EXPECT_TRUE(recipe.steps[1].train.distills);
  EXPECT_EQ(recipe.steps[1].train.steps, 9);
  EXPECT_EQ(recipe.steps[1].train.train_options, (std::vector<std::string>{"--distill.weight=0.5"}));
  const PruneStep& prune = recipe.steps[2].prune;
  EXPECT_EQ(prune.options.method, PruneMethod::sparsegpt);
  EXPECT_EQ(prune.options.zeros, 2);
  EXPECT_EQ(prune.options.of, 4);
  EXPECT_EQ(prune.skip, (std::vector<std::string>{"*.down.weight"}));
  EXPECT_FALSE(prune.sequential);
  EXPECT_DOUBLE_EQ(recipe.steps[3].prune.options.sparsity, 0.6);
  EXPECT_EQ(recipe.steps[3].prune.options.scope, PruneScope::output);
  EXPECT_TRUE(recipe.steps[3].prune.is_global);
  EXPECT_FALSE(recipe.steps[4].train.distills);
  EXPECT_FALSE(is_sparse_before(recipe, 2));
  EXPECT_TRUE(is_sparse_before(recipe, 5));
}

TEST(Recipe, EqualTextsAreEqualSteps) {
  const auto text = [](const std::string& keys) {
    return canonical(parse_recipe("[step a]\nmethod = cut\nneurons = 30%\n[step b]\n" + keys, "r").steps[1]);
  };
  const std::vector<std::string> kSteps = {"method = wanda\n",
                                           "method = wanda\nsparsity = 60%\n",
                                           "method = wanda\npattern = 2:4\n",
                                           "method = wanda\nscope = matrix\n",
                                           "method = wanda\nglobal = on\n",
                                           "method = wanda\nsequential = off\n",
                                           "method = wanda\nskip = *.up.weight\n",
                                           "method = magnitude\n",
                                           "method = sparsegpt\n",
                                           "method = sparsegpt\ndamping = 0.1\n",
                                           "method = cut\nneurons = 30%\n",
                                           "method = cut\nneurons = 30\n",
                                           "method = cut\nheads = 30%\n",
                                           "method = distill\nsteps = 30\n",
                                           "method = distill\nsteps = 30\noptimizer.lr = 1e-3\n",
                                           "method = train\nsteps = 30\n"};
  std::set<std::string> texts;
  for (const std::string& step : kSteps) texts.insert(text(step));
  EXPECT_EQ(texts.size(), kSteps.size());
  EXPECT_EQ(text("method = wanda\n"), text("method = wanda\nsparsity = 1/2\n"));
}

TEST(Recipe, OrdersWithoutSenseNameBothSteps) {
  const std::string cut = "[step cut]\nmethod = cut\nneurons = 30%\n",
                    prune = "[step prune]\nmethod = wanda\n",
                    train = "[step back]\nmethod = distill\nsteps = 3\n",
                    four = "[step four]\nmethod = gptq\n", file = "[step file]\nmethod = export\nformat = ";
  EXPECT_THAT(refusal(prune + cut),
              HasSubstr("[step cut] cuts units behind [step prune], which makes weights zero: "
                        "cut first, then prune, then quantize"));
  EXPECT_THAT(refusal(four + cut), HasSubstr("[step cut] cuts units behind [step four], which quantizes"));
  EXPECT_THAT(refusal(four + prune), HasSubstr("[step prune] makes weights zero behind [step four]"));
  EXPECT_THAT(refusal(cut + four + train),
              HasSubstr("train before it, or through its format with method qat"));
  EXPECT_THAT(refusal(train + four),
              HasSubstr("before any step that cuts, shares or prunes: there is nothing to train back"));
  EXPECT_THAT(refusal(cut + file + "gptq\n"), HasSubstr("exports codes to gptq, and no step quantizes"));
  EXPECT_THAT(refusal(file + "gguf\ntype = q8_0\n"), HasSubstr("comes before any other step"));
  EXPECT_THAT(refusal(cut + "[step q]\nmethod = qat\nsteps = 1\n" + four),
              HasSubstr("before any step that quantizes"));
  EXPECT_EQ(parse_recipe(cut + train + prune + "[step again]\nmethod = train\nsteps = 3\n" + four + file +
                             "gguf\ntype = q8_0\n",
                         "r")
                .steps.size(),
            6u);
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
       "no such recipe and no such file; recipes: int8, int4, edge, small"},
      {{"run", "--out", "x", "--method", "qat"}, "--method qat is for steps of a recipe"},
      {{"run", "--out", "x", "--method", "distill"},
       "--method distill is for steps of a recipe, behind one that cuts"},
      {{"run", "--out", "x", "--method", "wanda", "--export", "awq"},
       "exports codes to awq, and no step quantizes"},
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

TEST(CompressOptions, GatesOfTheCommandLineAreOnTheResult) {
  const std::vector<std::string> args = {"run",         "--out", "x",        "--recipe", "small",
                                         "--gate.size", "1/8",   "--export", "gguf:q4_0"};
  const CompressArguments a = parse_compress(args, 1);
  ASSERT_EQ(a.recipe.steps.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(a.recipe.steps[i].gate.size.has_value(), i >= 2) << i;
}

TEST(CompressOptions, ASingleStepPrunesOrCuts) {
  const std::vector<std::string> cut = {"run",     "--out", "x",        "--method", "cut",
                                        "--heads", "25%",   "--layers", "3"};
  EXPECT_DOUBLE_EQ(parse_compress(cut, 1).recipe.steps.at(0).cut.heads.part, 0.25);
  EXPECT_EQ(parse_compress(cut, 1).recipe.steps.at(0).cut.layers.stay, 3);
  const std::vector<std::string> prune = {"run", "--out", "x", "--method", "wanda", "--pattern", "2:4"};
  EXPECT_EQ(parse_compress(prune, 1).recipe.steps.at(0).prune.options.of, 4);
}

TEST(CompressOptions, HelpNamesEveryOptionInAHundredColumns) {
  const std::string help = compress_help();
  for (const char* option :
       {"--recipe", "--gate.same-top", "--calibration.all-experts", "--eval.text", "--dp",
        "--mixed.budget-bits", "--kv-groups", "--pattern", "--export", "--restart"})
    EXPECT_THAT(help, HasSubstr(option));
  for (size_t begin = 0; begin < help.size();) {
    const size_t end = help.find('\n', begin);
    EXPECT_LE(end - begin, 100u) << help.substr(begin, end - begin);
    begin = end + 1;
  }
}

}  // namespace
}  // namespace trireme::launch
