// Options of trireme serve, keys from files, and what is said of addresses.
#include "launch/serve/serve_options.h"

#include <gmock/gmock.h>

#include <fstream>

#include <sys/stat.h>

#include "launch/serve/api_keys.h"
#include "launch/serve/serve_banner.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

using test::expect_error;
using test::TemporaryFolder;
using testing::HasSubstr;

ServeArguments parsed(const std::vector<std::string>& args) { return parse_serve(args, 1); }

TEST(ServeOptions, DefaultsAreThoseOfTheHelp) {
  const ServeArguments a = parsed({"runs/mine/"});
  EXPECT_EQ(a.name, "mine");
  EXPECT_EQ(a.model.batch_tokens, 128);
  EXPECT_EQ(a.address, "127.0.0.1");
  EXPECT_EQ(a.port, 8000);
  EXPECT_TRUE(a.reuses_prefixes);
  EXPECT_EQ(parsed({"dir/model.gguf"}).name, "model.gguf");
  EXPECT_EQ(parsed({"."}).name, ".");
}

TEST(ServeOptions, AreTaken) {
  const ServeArguments a =
      parsed({"m", "--port", "0", "--name", "n", "--max-sequences", "7", "--no-prefix-cache",
              "--stop-seconds", "0.5", "--max-body", "1000", "--speculate", "4", "--batch-tokens", "64"});
  EXPECT_EQ((std::vector<int64_t>{a.port, a.max_sequences, a.http.body_bytes, a.speculation.tokens,
                                  a.model.batch_tokens}),
            (std::vector<int64_t>{0, 7, 1000, 4, 64}));
  EXPECT_EQ(a.stop_seconds, 0.5);
  EXPECT_FALSE(a.reuses_prefixes);
}

TEST(ServeOptions, WhatIsWrongIsListedTogether) {
  expect_error(ExitCode::usage,
               {"--port", "from 0 to 65535", "--stuck-seconds", "given 2", "--draft-model d has no effect"},
               [] {
                 parsed({"m", "more", "--port", "65536", "--stuck-seconds", "0", "--draft-model", "d"});
               });
}

TEST(ServeOptions, AKeyIsNoArgument) {
  for (const auto& args : std::vector<std::vector<std::string>>{
           {"m", "--api-key", "secret"}, {"--api-key=secret", "m"}, {"m", "--api-key"}}) {
    try {
      parsed(args);
      ADD_FAILURE() << "taken";
    } catch (const UserError& error) {
      EXPECT_THAT(error.what(), HasSubstr("--api-key-file"));
      EXPECT_THAT(error.what(), testing::Not(HasSubstr("secret")));
    }
  }
}

TEST(ApiKeys, AreThoseOfTheFileElseOfTheVariable) {
  const TemporaryFolder folder;
  const std::string file = folder.path("keys");
  std::ofstream(file) << "one\r\n\n  two  \n";
  ::chmod(file.c_str(), 0600);
  EXPECT_THAT(read_api_keys(file, "three").keys, testing::ElementsAre("one", "two"));
  EXPECT_EQ(read_api_keys(file, nullptr).warning, "");
  ::chmod(file.c_str(), 0644);
  EXPECT_THAT(read_api_keys(file, nullptr).warning, HasSubstr("chmod 600"));
  EXPECT_THAT(read_api_keys("", " three\n").keys, testing::ElementsAre("three"));
  EXPECT_TRUE(read_api_keys("", nullptr).keys.empty());
}

TEST(ApiKeys, ThatNobodyCouldSendAreRefused) {
  const TemporaryFolder folder;
  const std::string file = folder.path("keys");
  expect_error(ExitCode::bad_input, {file}, [&] { (void)read_api_keys(file, nullptr); });
  std::ofstream(file) << "\n \n";
  expect_error(ExitCode::bad_input, {file, "no key"}, [&] { (void)read_api_keys(file, nullptr); });
  std::ofstream(file) << "fine\nnot fine\n";
  expect_error(ExitCode::bad_input, {file + ":2"}, [&] { (void)read_api_keys(file, nullptr); });
  expect_error(ExitCode::bad_input, {"TRIREME_API_KEY"}, [] { (void)read_api_keys("", " "); });
  expect_error(ExitCode::bad_input, {"TRIREME_API_KEY"}, [] { (void)read_api_keys("", "a\xc3\xa4"); });
}

TEST(ServedAddress, IsAUrlAndWarnsWhereOthersReachIt) {
  EXPECT_EQ(url_of("127.0.0.1", 8000), "http://127.0.0.1:8000");
  EXPECT_EQ(url_of("::1", 80), "http://[::1]:80");
  ServeArguments a;
  EXPECT_EQ(address_warning(a, false), "");
  a.address = "::1";
  EXPECT_EQ(address_warning(a, false), "");
  a.address = "0.0.0.0";
  EXPECT_THAT(address_warning(a, false), HasSubstr("--api-key-file"));
  EXPECT_THAT(address_warning(a, true), HasSubstr("TLS"));
}

}  // namespace
}  // namespace trireme::launch
