// Grammars that are kept for the next request.
#include "launch/serve/protocol/request/grammar_store.h"

#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

using nlohmann::ordered_json;

ordered_json schema_of(size_t number) { return {{"const", {{"number", number}}}}; }

TEST(RequestGrammars, KeepTheLastFew) {
  GrammarStore store;
  const auto first = store.of_schema(schema_of(0)), second = store.of_schema(schema_of(1));
  for (size_t i = 2; i <= GrammarStore::kMost; ++i) {
    EXPECT_EQ(store.of_schema(schema_of(0)), first) << "used again and again";
    store.of_schema(schema_of(i));
  }
  EXPECT_EQ(store.of_schema(schema_of(0)), first);
  EXPECT_NE(store.of_schema(schema_of(1)), second) << "the one that was not asked for longest";
  const ordered_json reversed{{"properties", {{"b", true}, {"a", true}}}};
  const ordered_json ordered{{"properties", {{"a", true}, {"b", true}}}};
  EXPECT_NE(store.of_schema(reversed), store.of_schema(ordered)) << "members stand in the schema's order";
  const ordered_json large{{"const", std::string(GrammarStore::kLongest, 'a')}};
  EXPECT_NE(store.of_schema(large), store.of_schema(large));
  for (int time = 0; time < 2; ++time) EXPECT_THROW(store.of_schema({{"not", true}}), UserError);
}

TEST(RequestGrammars, OfSeveralThreadsGetOne) {
  GrammarStore store;
  std::vector<std::shared_ptr<const ByteGrammar>> found(4);
  std::vector<std::thread> threads;
  for (auto& grammar : found) threads.emplace_back([&] { grammar = store.of_schema(schema_of(7)); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& grammar : found) EXPECT_EQ(grammar, found[0]);
}

}  // namespace
}  // namespace trireme::launch
