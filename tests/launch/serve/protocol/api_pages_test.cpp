// Pages beside texts, and who may ask for them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/serve/protocol/api_rig.h"

namespace trireme::launch::test {
namespace {

using ::testing::HasSubstr;

TEST(ApiPages, SayWhatTheModelIs) {
  ApiRig rig;
  const auto models = rig.ask("GET", "/v1/models")->json();
  EXPECT_EQ(models["object"], "list");
  EXPECT_EQ(models["data"][0]["id"], "tiny");
  EXPECT_EQ(models["data"][0]["object"], "model");
  EXPECT_EQ(models["data"][0]["created"], 1700000000);
  EXPECT_EQ(models["data"][0]["max_model_len"], ApiRig::kLongest);
  EXPECT_EQ(rig.ask("GET", "/v1/models/tiny")->json(), models["data"][0]);
  EXPECT_EQ(rig.ask("GET", "/v1/models/huge")->json()["error"]["code"], "model_not_found");
  EXPECT_TRUE(rig.ask("GET", "/version")->json()["version"].is_string());
  const auto info = rig.ask("GET", "/tokenizer_info")->json();
  EXPECT_EQ(info["eos_token"], "</s>");
  EXPECT_EQ(info["bos_token"], "<s>");
  EXPECT_TRUE(info["pad_token"].is_null());
  EXPECT_EQ(info["chat_template"], kChatTemplate);
}

TEST(ApiPages, TokenizeAndDetokenizeAreInverse) {
  ApiRig rig;
  const auto tokens = rig.post("/tokenize", {{"prompt", "aé"}, {"return_token_strs", true}})->json();
  EXPECT_EQ(tokens["tokens"], ordered_json({257, 97, 0xc3, 0xa9}));
  EXPECT_EQ(tokens["count"], 4);
  EXPECT_EQ(tokens["max_model_len"], ApiRig::kLongest);
  EXPECT_EQ(tokens["token_strs"], ordered_json({"<s>", "a", "bytes:\\xc3", "bytes:\\xa9"}));
  EXPECT_EQ(rig.post("/tokenize", {{"prompt", "aé"}, {"add_special_tokens", false}})->json()["count"], 3);
  EXPECT_EQ(rig.post("/detokenize", {{"tokens", {97, 0xc3, 0xa9}}})->json()["prompt"], "aé");
  EXPECT_EQ(rig.post("/detokenize", {{"tokens", {97, 0xc3}}})->json()["prompt"], "a\uFFFD");
  EXPECT_EQ(rig.post("/detokenize", {{"tokens", {258}}})->status, 400);
  const auto chat = rig.post("/tokenize", {{"messages", {{{"role", "user"}, {"content", "u"}}}}})->json();
  EXPECT_EQ(rig.post("/detokenize", {{"tokens", chat["tokens"]}})->json()["prompt"], "<user>u</><assistant>");
  EXPECT_EQ(rig.post("/tokenize", ordered_json::object())->status, 400);
}

TEST(ApiPages, OfHealthFollowTheEngine) {
  ApiRig rig;
  EXPECT_EQ(rig.ask("GET", "/health")->status, 200);
  rig.engine.now = {.is_ready = false, .trouble = "no step for 60 s"};
  const auto reply = rig.ask("GET", "/health");
  EXPECT_EQ(reply->status, 503);
  EXPECT_EQ(reply->json()["status"], "no step for 60 s");
}

TEST(ApiPages, AnswerHeadAsGet) {
  ApiRig rig;
  for (const char* path : {"/health", "/v1/models", "/v1/models/tiny", "/tokenizer_info", "/version"}) {
    const auto reply = rig.ask("HEAD", path);
    EXPECT_EQ(reply->status, 200) << path;
    EXPECT_EQ(reply->body, rig.ask("GET", path)->body) << "the server drops it, but says its length";
  }
  EXPECT_THAT(rig.ask("GET", "/metrics")->body, HasSubstr(R"(method="HEAD",path="/health",status="200")"));
  rig.engine.now = {.is_ready = false, .trouble = "stopping"};
  EXPECT_EQ(rig.ask("HEAD", "/health")->status, 503);
}

TEST(ApiPages, AreCountedByPathsOfAKnownFew) {
  ApiRig rig;
  rig.ask("GET", "/../../etc/passwd");
  rig.ask("BREW", "/health");
  rig.ask("GET", "/v1/models/secret");
  const auto page = rig.ask("GET", "/metrics");
  EXPECT_EQ(page->content_type, "text/plain; version=0.0.4; charset=utf-8");
  for (const char* word : {"passwd", "BREW", "secret"})
    EXPECT_EQ(page->body.find(word), std::string::npos) << word;
}

TEST(ApiAccess, OtherPathsMethodsAndTypesAreNamed) {
  ApiRig rig;
  const auto missing = rig.ask("GET", "/v1/embeddings");
  EXPECT_EQ(missing->status, 404);
  EXPECT_THAT(missing->json()["error"]["message"].get<std::string>(), HasSubstr("POST /v1/completions"));
  for (const char* method : {"GET", "OPTIONS", "DELETE"}) {
    const auto reply = rig.ask(method, "/v1/completions");
    EXPECT_EQ(reply->status, 405);
    EXPECT_EQ(reply->header("Allow"), "POST");
  }
  EXPECT_EQ(rig.ask("HEAD", "/v1/completions")->status, 405);
  EXPECT_EQ(rig.ask("DELETE", "/health")->header("Allow"), "GET, HEAD");
  for (const char* type : {"text/plain", "application/x-www-form-urlencoded", "application/jsonx"})
    EXPECT_EQ(rig.ask("POST", "/tokenize", R"({"prompt":"a"})", {{"Content-Type", type}})->status, 415)
        << type;
  for (const char* type : {"application/json; charset=utf-8", "Application/JSON"})
    EXPECT_EQ(rig.ask("POST", "/tokenize", R"({"prompt":"a"})", {{"Content-Type", type}})->status, 200)
        << type;
}

TEST(ApiAccess, AsksForOneOfItsKeys) {
  ApiRig rig({"first-key", "second-key"});
  const auto status = [&](const char* path, std::vector<std::pair<std::string, std::string>> headers) {
    return rig.ask("GET", path, "", std::move(headers))->status;
  };
  for (const char* open : {"/health", "/metrics", "/version"}) EXPECT_EQ(status(open, {}), 200) << open;
  for (const char* closed : {"/v1/models", "/tokenizer_info"}) {
    EXPECT_EQ(status(closed, {{"authorization", "Bearer second-key"}}), 200);
    EXPECT_EQ(status(closed, {{"Authorization", "bearer first-key"}}), 200);
    for (const char* wrong : {"", "Bearer ", "Bearer first", "Bearer first-keyfirst-key", "Bearer first-kez",
                              "first-key", "Basic first-key"})
      EXPECT_EQ(status(closed, {{"Authorization", wrong}}), 401) << wrong;
    EXPECT_EQ(status(closed, {}), 401);
  }
  EXPECT_EQ(rig.ask("GET", "/v1/models")->header("WWW-Authenticate"), "Bearer");
  EXPECT_EQ(rig.post("/v1/completions", {{"prompt", "a"}})->status, 401);
  EXPECT_EQ(rig.engine.num_submissions, 0);
}

TEST(ApiAccess, RequestsKeepTheirIds) {
  ApiRig rig;
  EXPECT_EQ(rig.ask("GET", "/health", "", {{"X-Request-Id", "run-7.a:b_c"}})->header("x-request-id"),
            "run-7.a:b_c");
  EXPECT_EQ(rig.ask("GET", "/health", "", {{"x-request-id", "a\r\nSet-Cookie: b"}})->header("x-request-id"),
            "aSet-Cookie:b");
  EXPECT_EQ(rig.ask("GET", "/health", "", {{"x-request-id", std::string(1000, 'a')}})
                ->header("x-request-id")
                .size(),
            128u);
  const auto id = [&] { return rig.ask("GET", "/nowhere")->header("x-request-id"); };
  EXPECT_EQ(id().size(), 32u);
  EXPECT_NE(id(), id());
}

}  // namespace
}  // namespace trireme::launch::test
