// Requests that ask for the same response_format share its grammar.
#include <gtest/gtest.h>

#include "launch/serve/protocol/request/api_request.h"
#include "tests/launch/serve/protocol/api_rig.h"

namespace trireme::launch::test {
namespace {

ordered_json asking_for(int number) {
  const ordered_json described{{"name", "s"}, {"schema", {{"const", number}}}};
  return {{"prompt", {97}}, {"response_format", {{"type", "json_schema"}, {"json_schema", described}}}};
}

TEST(SharedRequestGrammars, AreSharedByRequestsOfOneSchema) {
  MarkedBytes tokenizer;
  ServedModel model;
  model.tokenizer = &tokenizer;
  model.end_tokens = {256};
  model.vocab_size = 258;
  model.max_seq_len = 64;
  model.masks = std::make_shared<TokenMasks>(std::vector<std::string>(258, "a"));
  const auto grammar = [&](const ordered_json& body) {
    return read_completion_request(body, model, {}).grammar;
  };
  const auto first = grammar(asking_for(1));
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(grammar(asking_for(1)), first);
  EXPECT_NE(grammar(asking_for(2)), first);
  const ordered_json object{{"prompt", {97}}, {"response_format", {{"type", "json_object"}}}};
  EXPECT_EQ(grammar(object), grammar(object));
  EXPECT_NE(grammar(object), first);
}

}  // namespace
}  // namespace trireme::launch::test
