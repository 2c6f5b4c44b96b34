#include "launch/report/progress.h"

#include <cmath>
#include <memory>
#include <vector>

#include <gmock/gmock.h>

#include "launch/config/complete_config.h"
#include "launch/report/banner.h"
#include "launch/report/number_text.h"
#include "models/families/presets.h"

namespace trireme::launch {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

StepMetrics step(int64_t number) {
  return {.step = number,
          .time = 0,
          .tokens = 0,
          .loss = 4.1234,
          .grad_norm = 1.83,
          .lr = 6e-4,
          .step_ms = 90.4,
          .tok_s = 40300,
          .tflops = 0.312,
          .mfu = 0.22,
          .mem_bytes = int64_t{310} << 20,
          .reserved_bytes = int64_t{352} << 20,
          .val_loss = std::nullopt};
}

/// What a Progress prints for the steps 1 to `steps`.
std::string printed(bool is_terminal, int steps, std::vector<std::string>& log) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), std::fclose);
  {
    Progress progress(file.get(), is_terminal, steps, 2,
                      [&](std::string_view line) { log.emplace_back(line); });
    for (int i = 1; i <= steps; ++i) progress.step(step(i));
  }
  std::fseek(file.get(), 0, SEEK_END);
  std::string text(static_cast<size_t>(std::ftell(file.get())), '\0');
  std::rewind(file.get());
  EXPECT_EQ(std::fread(text.data(), 1, text.size(), file.get()), text.size());
  return text;
}

TEST(Progress, TheStepLine) {
  EXPECT_EQ(step_line(step(10), 2000, 179.9),
            "step 10/2000 | loss 4.1234 | gnorm 1.83 | lr 6.00e-04 | 90 ms | 40.3k tok/s | 0.31 TFLOP/s | "
            "MFU 22% | mem 310 MiB (352 MiB reserved) | eta 3m");
  StepMetrics evaluated = step(10);
  evaluated.val_loss = 1.88;
  EXPECT_EQ(evaluation_line(evaluated, 2000), "step 10/2000 | val loss 1.8800");
}

TEST(Progress, ANarrowTerminalGetsTheFieldsThatMatterMost) {
  StepMetrics m = step(10);
  m.loss_z = 4.5;
  for (const size_t columns : {10u, 25u, 40u, 60u, 79u, 119u, 200u}) {
    const std::string line = step_line(m, 2000, 179.9, columns);
    EXPECT_LE(line.size(), columns);
    EXPECT_EQ(line.substr(0, 10), "step 10/20");
  }
  EXPECT_EQ(step_line(m, 2000, 179.9, 200), step_line(m, 2000, 179.9));
  EXPECT_EQ(step_line(m, 2000, 179.9, 79),
            "step 10/2000 | loss 4.1234 | gnorm 1.83 | 40.3k tok/s | eta 3m | loss z +4.5");
  EXPECT_EQ(step_line(m, 2000, 179.9, 30), "step 10/2000 | loss 4.1234");
}

TEST(Progress, AMeanOverNothingIsSaid) {
  StepMetrics m = step(0);
  m.val_loss = std::nan("");
  EXPECT_THAT(evaluation_line(m, 5), AllOf(HasSubstr("val loss is NaN"), Not(HasSubstr("0.0000"))));
}

TEST(Progress, AScreenThatFailsIsToldOnceInTheLog) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> full(std::fopen("/dev/full", "w"), std::fclose);
  std::vector<std::string> log;
  Progress progress(full.get(), false, 4, 1, [&](std::string_view line) { log.emplace_back(line); });
  for (int i = 1; i <= 4; ++i) progress.step(step(i));
  EXPECT_EQ(progress.failure(), "No space left on device");
  EXPECT_EQ(log.size(), 5u);
  EXPECT_THAT(log[1],
              HasSubstr("standard output cannot be written: No space left on device; the run continues"));
}

TEST(Progress, TheStepLineNamesTheSlowestRank) {
  StepMetrics m = step(10);
  EXPECT_THAT(step_line(m, 2000, 179.9), Not(HasSubstr("slowest")));
  m.slowest_rank = 3;
  m.slowest_ratio = 1.254;
  EXPECT_THAT(step_line(m, 2000, 179.9), HasSubstr(" | slowest rank 3 (1.25x)"));
  // On a narrow terminal it stays where it is a straggler.
  EXPECT_THAT(step_line(m, 2000, 179.9, 100), Not(HasSubstr("slowest")));
  m.is_straggler = true;
  EXPECT_THAT(step_line(m, 2000, 179.9, 100), HasSubstr("slowest rank 3"));
}

TEST(Progress, TheStepLineSaysWhereAStepWaits) {
  StepMetrics m = step(10);
  m.breakdown = StepBreakdown{.steps = 10,
                              .step_ms = 100,
                              .compute_ms = 60,
                              .exposed_ms = {{"data", 8.2}, {"tensor", 4.9}},
                              .data_ms = 5.1,
                              .imbalance_ms = 12,
                              .optimizer_ms = 9.8};
  EXPECT_THAT(step_line(m, 2000, 179.9), HasSubstr(" | waits: 12% imbalance, 8% exposed data, 5% data"));
  EXPECT_EQ(breakdown_text(*m.breakdown),
            "time of a step, mean over ranks: compute 60.0 %, exposed data 8.2 %, exposed tensor 4.9 %, data "
            "5.1 %, "
            "imbalance 12.0 %, optimizer 9.8 %");
  m.breakdown->step_ms = 1000;
  EXPECT_EQ(step_line(m, 2000, 179.9), step_line(step(10), 2000, 179.9)) << "nothing worth a look";
}

TEST(Progress, TheStepLineSaysWhatIsUnusual) {
  StepMetrics m = step(10);
  m.loss_z = 3.9;
  EXPECT_EQ(step_line(m, 2000, 179.9), step_line(step(10), 2000, 179.9));
  m.loss_scale = 32768;
  m.skips = 3;
  m.loss_z = 4.06;
  m.grad_norm_z = -5;
  EXPECT_EQ(step_line(m, 2000, 179.9),
            step_line(step(10), 2000, 179.9) + " | scale 32768 | skips 3 | loss z +4.1 | gnorm z -5.0");
  m.skipped = true;
  EXPECT_THAT(step_line(m, 2000, 179.9), HasSubstr("| skips 3 (this step) |"));
}

TEST(Progress, PlainLinesEveryFewStepsAndAtTheEnd) {
  std::vector<std::string> log;
  const std::string text = printed(false, 5, log);
  EXPECT_THAT(log, ElementsAre(HasSubstr("step 2/5"), HasSubstr("step 4/5"), HasSubstr("step 5/5")));
  EXPECT_EQ(text, log[0] + "\n" + log[1] + "\n" + log[2] + "\n");
  EXPECT_THAT(log[2], HasSubstr("eta 0s"));
}

TEST(Progress, OneLineOnATerminal) {
  std::vector<std::string> log;
  const std::string text = printed(true, 3, log);
  EXPECT_EQ(std::ranges::count(text, '\r'), 3);
  EXPECT_EQ(std::ranges::count(text, '\n'), 1);
  EXPECT_TRUE(text.ends_with('\n'));
  EXPECT_EQ(log.size(), 2u);
}

TEST(NumberText, Counts) {
  EXPECT_EQ(short_count(950), "950");
  EXPECT_EQ(short_count(40300), "40.3k");
  EXPECT_EQ(short_count(999960), "1.00M");
  EXPECT_EQ(short_count(124439808), "124.4M");
  EXPECT_EQ(short_count(1.746e11), "174.6B");
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(-123456), "-123,456");
  EXPECT_EQ(grouped(124439808), "124,439,808");
}

TEST(NumberText, BytesAndTimes) {
  EXPECT_EQ(short_bytes(310.0 * (1 << 20)), "310 MiB");
  EXPECT_EQ(short_bytes(512 * 1024), "512 KiB");
  EXPECT_EQ(short_bytes(1.25 * (1 << 30)), "1.25 GiB");
  EXPECT_EQ(short_duration(44.7), "45s");
  EXPECT_EQ(short_duration(179.9), "3m");
  EXPECT_EQ(short_duration(2 * 3600 + 300), "2h05m");
  EXPECT_EQ(short_duration(3 * 86400 + 4 * 3600), "3d04h");
  EXPECT_EQ(short_duration(1.0 / 0.0), "?");
}

RunConfig some_run(const char* preset) {
  RunConfig config;
  config.model = find_preset(preset)->config;
  config.data.text = "bible.txt";
  config.train.global_batch = 32;
  EXPECT_THAT(complete(config, {}, 2, true), testing::IsEmpty());
  return config;
}

TEST(Banner, SaysWhatIsInForce) {
  const RunPlace place{{{"node1", 1}, {"node2", 1}}, "cpu", "mpi", 2, "runs/x"};
  const std::string text = banner(some_run("gpt2-124m"), place);
  for (const char* part :
       {"trireme 0.1.0", "2 ranks on 2 hosts: node1 x 1, node2 x 1", "data 2 x tensor 1", "124,439,808",
        "global batch 32 = micro-batch 8 x gradient accumulation 2 x 2 data-parallel ranks",
        "32,768 tokens per step", "communication by mpi", "2 threads per rank", "weights 475 MiB",
        "lr 0.0006 cosine to 0", "runs/x"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(Banner, SaysWhatNcclTakesOfAGpu) {
  RunConfig config = some_run("gpt2-124m");
  config.run.nccl_ctas = 8;
  const RunPlace place{{{"node1", 2}}, "cuda:0", "nccl", 1, "runs/x"};
  EXPECT_THAT(banner(config, place),
              HasSubstr("communication by nccl (8 CTAs per collective, 4 per message)"));
}

TEST(Banner, ZeroDividesThePrediction) {
  RunConfig config = some_run("gpt2-124m");
  config.parallel.zero_stage = 2;
  EXPECT_THAT(banner(config, {}),
              HasSubstr("ZeRO 2: optimizer state and gradients sharded over 2 ranks (full "
                        "gradients during accumulation)"));
  EXPECT_THAT(banner(config, {}), HasSubstr("optimizer 475 MiB"));
  config.train.micro_batch = 16;
  EXPECT_THAT(banner(config, {}), Not(HasSubstr("full gradients")));
  config.parallel.zero_stage = 1;
  EXPECT_THAT(banner(config, {}), HasSubstr("weights 475 MiB, gradients 475 MiB, optimizer 475 MiB"));
}

TEST(Banner, SaysWhatIsRecomputed) {
  RunConfig config = some_run("gpt2-124m");
  EXPECT_THAT(banner(config, {}), Not(HasSubstr("recompute")));
  config.train.recomputation = {RecomputeMode::full, 5};
  EXPECT_THAT(banner(config, {}), HasSubstr("recompute  full: 3 of 12 blocks; 5.9 % more"));
  config.train.recomputation = {RecomputeMode::selective};
  EXPECT_THAT(banner(config, {}),
              HasSubstr("recompute  selective: core attention of every block; 2.4 % more"));
}

TEST(Banner, ZeroThreeAndShardsSayWhoHoldsWhat) {
  RunConfig config = some_run("gpt2-124m");
  config.parallel.data = 8;
  config.train.global_batch = 64;
  config.parallel.zero_stage = 3;
  EXPECT_THAT(banner(config, {}),
              HasSubstr("ZeRO 3: optimizer state, gradients and weights sharded over 8 ranks, the next layer "
                        "prefetched"));
  // 474.7 MiB / 8, the vectors' 0.5, and of the matrices of table, positions and a layer 150.2 + 27.0.
  EXPECT_THAT(banner(config, {}), HasSubstr("weights 237 MiB"));
  config.parallel.shard = 4;
  config.parallel.overlap = false;
  EXPECT_THAT(banner(config, {}), HasSubstr("weights sharded over 4 ranks, 2 replicas, no prefetch"));
  EXPECT_THAT(banner(config, {}), HasSubstr("optimizer 237 MiB"));
}

TEST(Banner, AVocabularyThatIsNotKnownYet) {
  RunConfig config = some_run("gpt2-tiny");
  config.data.tokenizer = "char";
  EXPECT_THAT(banner(config, {}), HasSubstr("826,112 + 128 per token of the vocabulary"));
  config.data.tokenizer = "bpe";
  EXPECT_THAT(banner(config, {}), HasSubstr("1,350,400 ("));
}

}  // namespace
}  // namespace trireme::launch
