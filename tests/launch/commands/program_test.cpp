// The program as people start it: what it prints, and its exit codes.
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/folders.h"

namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

struct Outcome {
  int code;
  std::string output;  ///< standard output and error
};

Outcome run(const std::string& arguments, const std::string& with = "") {
  const std::string command = with + trireme::test::build_folder() + "/trireme " + arguments + " 2>&1";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  Outcome outcome{-1, ""};
  std::array<char, 4096> buffer;
  for (size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    outcome.output.append(buffer.data(), n);
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) outcome.code = WEXITSTATUS(status);
  return outcome;
}

TEST(Program, HelpAndVersion) {
  for (const char* arguments : {"", "--help", "-h", "help"}) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, 0);
    EXPECT_THAT(outcome.output, AllOf(HasSubstr("usage: trireme COMMAND"), HasSubstr("exit codes")));
  }
  EXPECT_THAT(run("--version").output, StartsWith("trireme 0.1.0 ("));
  EXPECT_THAT(run("train --help").output, HasSubstr("--train.micro-batch N"));
  EXPECT_THAT(run("info -h").output, HasSubstr("--params"));
}

TEST(Program, AnUnknownCommand) {
  const Outcome outcome = run("trian");
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.output, HasSubstr("trireme: error: unknown command 'trian'; did you mean train?"));
}

TEST(Program, WrongOptionsAreListedAtOnceWithExitCodeTwo) {
  const Outcome outcome = run("train --data.text x --train.stesp 3 --optimizer.lr fast --model.heads 7");
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.output,
              AllOf(StartsWith("trireme: error: 3 errors:"), HasSubstr("did you mean --train.steps?"),
                    HasSubstr("'fast'"), HasSubstr("model.heads 7")));
}

// What libgomp says it is told, each time that it is loaded.
std::vector<std::string> spin_counts(const std::string& arguments, const std::string& set) {
  const Outcome outcome =
      run(arguments,
          "env -u OMP_WAIT_POLICY -u GOMP_SPINCOUNT -u OMPI_COMM_WORLD_LOCAL_SIZE OMP_DISPLAY_ENV=verbose " +
              set + " ");
  std::vector<std::string> counts;
  const std::string key = "GOMP_SPINCOUNT = '";
  for (size_t at = 0; (at = outcome.output.find(key, at)) != std::string::npos;) {
    at += key.size();
    counts.push_back(outcome.output.substr(at, outcome.output.find('\'', at) - at));
  }
  return counts;
}

TEST(Program, SpinningIsBoundedWhereSeveralThreadsCompute) {
  using testing::ElementsAre;
  using testing::SizeIs;
  const auto bounded = spin_counts("train --run.threads 2", "OMPI_COMM_WORLD_LOCAL_SIZE=1");
  ASSERT_THAT(bounded, SizeIs(2));  // once as the user started it
  EXPECT_LE(std::stoll(bounded[1]), 20'000);
  // More threads than any machine has cores take turns.
  EXPECT_EQ(spin_counts("train --run.threads 4096", "").back(), "0");
  EXPECT_EQ(spin_counts("train --run.threads 2", "OMPI_COMM_WORLD_LOCAL_SIZE=100000").back(), "0");
  // What the user has set stays.
  EXPECT_THAT(spin_counts("train --run.threads 4096", "GOMP_SPINCOUNT=77"), ElementsAre("77"));
  EXPECT_THAT(spin_counts("train --run.threads 4096", "OMP_WAIT_POLICY=active"), SizeIs(1));
  EXPECT_THAT(spin_counts("train --run.threads 1", ""), SizeIs(1));
  EXPECT_THAT(spin_counts("train --run.threads 2 --help", ""), SizeIs(1));
  EXPECT_THAT(spin_counts("info", ""), SizeIs(1));
}

TEST(Program, ADryRunNeedsNoDataAndPrintsARunnableConfig) {
  const Outcome outcome = run("train --data.text /no/such/text --preset gpt2-124m --dp 4 --dry-run");
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(
      outcome.output,
      AllOf(HasSubstr("global batch 32 = micro-batch 8 x gradient accumulation 1 x 4 data-parallel ranks"),
            HasSubstr("124,439,808"), HasSubstr("predicted"), HasSubstr("\n[model]\npreset = gpt2-124m")));
}

TEST(Program, ShippedConfigsAreWithoutFaults) {
  const std::string configs = trireme::test::source_folder() + "/launch/configs/";
  EXPECT_EQ(run("train --dry-run --config " + configs + "shakespeare-char.ini --dp 4").code, 0);
  EXPECT_EQ(run("train --dry-run --config " + configs + "quickstart.ini --data.text x --dp 2").code, 0);
}

TEST(Program, InfoShowsMachinePresetsAndTables) {
  const Outcome machine = run("info");
  EXPECT_EQ(machine.code, 0);
  EXPECT_THAT(machine.output, AllOf(HasSubstr("processor"), HasSubstr("llama3-405b"), HasSubstr("405.9B")));
  const Outcome model = run("info --preset llama3-405b --params");
  EXPECT_EQ(model.code, 0);
  EXPECT_THAT(model.output, AllOf(HasSubstr("405,853,388,800"), HasSubstr("layers.125.ffn.gate.weight")));
  EXPECT_EQ(run("info --optimizer.lr 1").code, 2) << "is not an option of info";
}

TEST(Program, InfoShowsWhatAGgufFileHolds) {
  const std::string file = trireme::test::source_folder() + "/tests/golden/gguf_tiny.gguf";
  const Outcome shown = run("info " + file + " --params");
  EXPECT_EQ(shown.code, 0);
  EXPECT_THAT(shown.output, AllOf(HasSubstr("GGUF version 3"), HasSubstr("llama.block_count"),
                                  HasSubstr("[\"a\", \"Grüße\", \"\"]"), HasSubstr("listed_only"),
                                  HasSubstr("cannot be read")));
  EXPECT_EQ(run("info " + file + " --seed").code, 2);
  EXPECT_EQ(run("info " + trireme::test::source_folder() + "/README.md").code, 3);
}

TEST(Program, OutputThatCannotBeWritten) {
  EXPECT_EQ(run("info > /dev/full").code, 7);
  EXPECT_EQ(run("train --help > /dev/full").code, 7);
}

TEST(Program, DataIsBuiltAndInspected) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / fmt::format("program_test_data_{}", ::getpid());
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "a.txt") << std::string(2000, 'a') << "\n";
  const std::string where = folder.string();
  const Outcome built = run("data build " + where + "/a.txt --out " + where + "/tokens --valid-fraction 0.2");
  EXPECT_EQ(built.code, 0) << built.output;
  const Outcome inspected = run("data inspect " + where + "/tokens/train.tok --show 4");
  EXPECT_EQ(inspected.code, 0) << inspected.output;
  EXPECT_EQ(run("data inspect " + where + "/a.txt").code, 3) << "text is not a token file";
  std::filesystem::remove_all(folder);
}

TEST(Program, VerifyRefusesWhatItCannotCompare) {
  EXPECT_EQ(run("verify --preset llama-tiny --tp 2 --verify.steps 1").code, 0);
  const Outcome float8 = run("verify --tp 2 --train.precision bf16 --train.fp8 on");
  EXPECT_EQ(float8.code, 2) << float8.output;
  EXPECT_THAT(float8.output, HasSubstr("--train.fp8 off"));
  const Outcome weights = run("verify --tp 2 --model.load weights.safetensors");
  EXPECT_EQ(weights.code, 2) << weights.output;
  EXPECT_THAT(weights.output, HasSubstr("--verify.full on"));
  EXPECT_THAT(run("verify --tp 2 --run.profile-step 3").output, HasSubstr("does not profile"));
  const Outcome graph = run("verify --tp 2 --run.cuda-graph");
  EXPECT_EQ(graph.code, 2) << graph.output;
  EXPECT_THAT(graph.output, HasSubstr("leave it out"));
  EXPECT_EQ(run("verify --tp 2 --model.load /no/such --verify.full on --verify.steps 1").code, 3);
}

TEST(Program, BenchMeasuresOpsAndCollectives) {
  const Outcome ops = run("bench ops --only 'width 768' --tokens 5 --milliseconds 1 --dtype f32");
  EXPECT_EQ(ops.code, 0) << ops.output;
  EXPECT_THAT(ops.output, AllOf(HasSubstr("layer norm backward"), HasSubstr("of limit")));
  const Outcome alone = run("bench collectives --op all_reduce --max-bytes 4096 --iterations 1");
  EXPECT_EQ(alone.code, 0) << alone.output;
  EXPECT_THAT(alone.output, AllOf(HasSubstr("busbw"), HasSubstr("1 rank(s) over self")));
  EXPECT_THAT(run("bench ops --device cpu --deterministic off").output,
              HasSubstr("run.deterministic off applies to cuDNN attention, but this run has no GPU"));
  EXPECT_THAT(run("bench colectives").output, HasSubstr("did you mean collectives?"));
  EXPECT_THAT(run("bench ops --only nothing-like-it").output, HasSubstr("matches no op's name"));
  EXPECT_THAT(run("bench collectives --op gather --factor 1").output, HasSubstr("2 errors"));
  EXPECT_EQ(run("bench").code, 0);
}

TEST(Program, DataNamesItsFaults) {
  const Outcome build = run("data build --tokeniser bpe --bpe-vocab few");
  EXPECT_EQ(build.code, 2);
  EXPECT_THAT(build.output, AllOf(HasSubstr("5 errors"), HasSubstr("did you mean --tokenizer?"),
                                  HasSubstr("'few'"), HasSubstr("FILE"), HasSubstr("--out")));
  EXPECT_THAT(run("data biuld").output, HasSubstr("did you mean build?"));
  EXPECT_EQ(run("data").code, 0);
  EXPECT_EQ(run("data build /no/such --out /tmp/x").code, 3);
}

}  // namespace
