#include "launch/commands/bench_serving.h"

#include <sstream>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace trireme::launch {

namespace {

void refuse(const std::string& line, std::initializer_list<std::string_view> words) {
  std::istringstream in(line);
  std::vector<std::string> args;
  for (std::string word; in >> word;) args.push_back(word);
  test::expect_error(ExitCode::usage, words, [&] { bench_serve(args, {}); });
}

TEST(BenchServe, OptionsThatDoNotFitAreNamed) {
  refuse("", {"MODEL", "--url"});
  refuse("model --url http://host", {"--url has no effect with a MODEL"});
  refuse("one two", {"one MODEL at most, given 2"});
  refuse("--url http://host -- --threads 2", {"what follows --"});
  refuse("--url host:80", {"http://"});
  refuse("--url http://host --clients 0", {"--clients", "'0'", "numbers from 1"});
  refuse("--url http://host --clients 1,,2", {"--clients"});
  refuse("--url http://host --rate nan", {"--rate"});
  refuse("--url http://host --rate 3 --clients 2", {"--clients has no effect with --rate"});
  refuse("--url http://host --rate 3 --overload 2", {"--overload", "--rate"});
  refuse("--url http://host --long-prompt 9 --overload 2", {"--overload and --long-prompt"});
  refuse("--url http://host --long-prompt 9 --rate 2", {"--rate has no effect with --long-prompt"});
  refuse("--url http://host --long-prompt 9 --requests 2", {"--requests has no effect"});
  refuse("--url http://host --prompt-tokens 10 --shared-prefix 7",
         {"--shared-prefix 7", "--prompt-tokens 10"});
  refuse("--url http://host --vocab 100", {"--vocab"});
  refuse("--url http://host --client 2", {"did you mean --clients?"});
}

TEST(BenchServe, IsOneClient) {
  test::expect_error(ExitCode::usage, {"mpirun"}, [] { bench_serve({}, {.world_size = 2}); });
}

}  // namespace

}  // namespace trireme::launch
