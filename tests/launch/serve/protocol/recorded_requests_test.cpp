// What clients send (requests/*.json, one a file): a recorded request gets the status and the members that
// the client reads.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tests/launch/serve/protocol/api_rig.h"
#include "tests/support/folders.h"

namespace trireme::launch::test {
namespace {

/// `wanted` is a type's name, or the string that has to be there.
void expect_member(const ordered_json& reply, const std::string& pointer, const std::string& wanted) {
  const ordered_json::json_pointer place(pointer);
  ASSERT_TRUE(reply.contains(place)) << pointer << " of " << reply;
  const ordered_json& value = reply.at(place);
  if (value.type_name() == wanted) return;
  EXPECT_EQ(value, wanted) << pointer;
}

/// A few letters for every text, with the scores that are asked for.
void answer_scored(std::vector<ServedText>& texts) {
  for (ServedText& text : texts) {
    const std::vector<int32_t>& prompt = text.generation.prompt;
    std::vector<ScoredToken> scores;
    for (size_t i = 1; i < prompt.size(); ++i) scores.push_back({{prompt[i], -1}, {{prompt[i], -1}}});
    if (text.generation.scores_prompt) text.sink->on_prompt_scores(scores);
  }
  plays("ab")(texts);
}

void replay(const ordered_json& recorded) {
  ApiRig rig;
  rig.engine.play = answer_scored;
  std::vector<std::pair<std::string, std::string>> headers;
  for (const auto& [name, value] : recorded["headers"].items()) headers.emplace_back(name, value);
  const auto reply = rig.ask(recorded["method"], recorded["path"],
                             recorded.contains("body") ? recorded["body"].dump() : "", headers);
  EXPECT_EQ(reply->status, recorded["status"]) << reply->body;
  ordered_json first = reply->is_stream ? ordered_json() : reply->json();
  if (recorded.contains("last")) {
    const auto events = reply->events();
    ASSERT_GE(events.size(), 3u);
    EXPECT_EQ(events.back(), recorded["last"]);
    first = events.front();
    const ordered_json& usage = events[events.size() - 2];
    if (recorded.value("usage_chunk", false)) {
      EXPECT_TRUE(usage["choices"].empty());
      expect_member(usage, "/usage/completion_tokens", "number");
    }
  }
  EXPECT_EQ(reply->is_stream, recorded.contains("last"));
  for (const auto& [pointer, wanted] : recorded["reply"].items()) expect_member(first, pointer, wanted);
}

TEST(RecordedRequests, OfClientsAreAnswered) {
  const std::filesystem::path folder =
      std::filesystem::path(trireme::test::source_folder()) / "tests/launch/serve/protocol/requests";
  int num = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    SCOPED_TRACE(entry.path().filename().string());
    std::ifstream file(entry.path());
    replay(ordered_json::parse(file));
    ++num;
  }
  EXPECT_GE(num, 20);
}

}  // namespace
}  // namespace trireme::launch::test
