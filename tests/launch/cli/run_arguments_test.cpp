#include "launch/cli/run_arguments.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>

#include "launch/cli/config_file.h"
#include "launch/cli/help_text.h"
#include "launch/cli/options/option_table.h"
#include "launch/config/complete_config.h"
#include "launch/report/banner.h"
#include "models/config/attention_pattern.h"
#include "models/config/weight_sharing.h"
#include "models/families/presets.h"
#include "parallel/pipeline/plan_schedule.h"
#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

using Args = std::vector<std::string>;

ArgumentRules train_rules() { return {"train", all_options(), {"dry-run"}, true}; }

RunArguments parse(Args args, int world_size = 1) {
  args.insert(args.begin(), {"--data.text", "a.txt"});
  return parse_run_arguments(train_rules(), args, world_size);
}

std::string fault_of(const Args& args, int world_size = 1) {
  try {
    parse_run_arguments(train_rules(), args, world_size);
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    return error.what();
  }
  return "no fault";
}

class ConfigFile {
 public:
  explicit ConfigFile(const std::string& text)
      : path_(std::filesystem::path(testing::TempDir()) /
              (std::string(testing::UnitTest::GetInstance()->current_test_info()->name()) + ".ini")) {
    std::ofstream(path_) << text;
  }
  ~ConfigFile() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

TEST(RunArguments, FormerNamesAreTakenWithAWarning) {
  const RunArguments given = parse({"--model.load", "w.safetensors"});
  EXPECT_EQ(given.config.start.file, "w.safetensors");
  EXPECT_THAT(given.warnings, ElementsAre(AllOf(HasSubstr("--model.load"), HasSubstr("--model.init-from"))));
  const ConfigFile file("[model]\nload = a.safetensors\n");
  const RunArguments of_file = parse({"--config", file.path()});
  EXPECT_EQ(of_file.config.start.file, "a.safetensors");
  EXPECT_THAT(of_file.warnings,
              ElementsAre(AllOf(HasSubstr(".ini:2: model.load"), HasSubstr(" model.init-from"))));
  EXPECT_THAT(write_config(of_file.config), AllOf(HasSubstr("init-from ="), Not(HasSubstr("\nload ="))));
  EXPECT_EQ(parse({"--config", file.path(), "--init-from", "b.safetensors"}).config.start.file,
            "b.safetensors");
}

TEST(RunArguments, TheLossIsWhatIsAskedFor) {
  EXPECT_EQ(parse({}).config.loss, LossConfig());
  EXPECT_THAT(banner(parse({}).config, {}), HasSubstr("loss       cross-entropy\n"));
  const RunConfig config = parse({"--loss.z", "1e-4", "--loss.label-smoothing", "0.1", "--loss.chunk-tokens",
                                  "512", "--data.documents", "separate"})
                               .config;
  EXPECT_EQ(config.loss, (LossConfig{1e-4, 0.1, 512}));
  EXPECT_EQ(config.data.documents, DocumentsKind::separate);
  EXPECT_THAT(
      banner(config, {}),
      AllOf(HasSubstr("cross-entropy, plus z-loss 0.0001 and label smoothing 0.1 (shown as objective)"),
            HasSubstr("attention within documents only")));
  EXPECT_THAT(fault_of({"--data.text", "a", "--loss.label-smoothing", "1"}),
              HasSubstr("up to, not including"));
  EXPECT_THAT(fault_of({"--data.text", "a", "--data.documents", "separate", "--data.tokenizer", "char"}),
              HasSubstr("has no end-of-text token"));
}

TEST(RunArguments, DefaultsAreCompleted) {
  const RunConfig config = parse({}, 3).config;
  EXPECT_EQ(config.parallel.data, 3);
  EXPECT_EQ(config.train.global_batch, 24);
  EXPECT_EQ(config.train.seq_len, 1024);
  EXPECT_EQ(config.accumulation(), 1);
}

TEST(RunArguments, EveryWayToWriteAnOption) {
  const RunConfig config =
      parse({"--train.steps=7", "--model.bias", "off", "--parallel.overlap=off", "--optimizer.lr", "1e-3",
             "--dp", "2", "--train.sample-prompt=", "--train.seed", "5"},
            2)
          .config;
  EXPECT_EQ(config.train.steps, 7);
  EXPECT_TRUE(config.model.bias == BiasKind::none && !config.parallel.overlap);
  EXPECT_EQ(config.optimizer.lr, 1e-3);
  EXPECT_EQ(config.train.sample_prompt, "");
  EXPECT_EQ(config.train.seed, 5u);
  EXPECT_EQ(parse({"--model.family", "llama", "--model.bias"}).config.model.bias, BiasKind::all)
      << "a switch alone is on";
  EXPECT_EQ(parse({"--train.sample-prompt", "-1"}).config.train.sample_prompt, "-1");
}

TEST(RunArguments, TheLastOfEqualOptionsWins) {
  EXPECT_EQ(parse({"--train.steps", "7", "--train.steps", "8"}).config.train.steps, 8);
}

TEST(RunArguments, PresetFirstThenTheNumbersWhateverTheirOrder) {
  const RunConfig config = parse({"--model.layers", "3", "--model.preset", "gpt2-124m"}).config;
  EXPECT_EQ(config.model.num_layers, 3);
  EXPECT_EQ(config.model.vocab_size, 50257);
  EXPECT_EQ(config.model.name, "gpt2-124m");
}

TEST(RunArguments, WidthsFollowWhatWasGiven) {
  const ModelConfig wide = parse({"--model.hidden", "128", "--model.heads", "4"}).config.model;
  EXPECT_EQ(wide.ffn_size, 512);
  EXPECT_EQ(wide.num_kv_heads, 4);
  const ModelConfig llama =
      parse({"--model.family", "llama", "--model.hidden", "4096", "--model.heads", "32"}).config.model;
  EXPECT_EQ(llama.ffn_size, 11008);
  EXPECT_FALSE(llama.tied_embeddings);
  const ModelConfig grouped = parse({"--preset", "llama3-8b", "--model.heads", "16"}).config.model;
  EXPECT_EQ(grouped.num_kv_heads, 8) << "a preset's grouped heads stay";
  EXPECT_EQ(grouped.ffn_size, 14336);
}

TEST(RunArguments, PositionsOfACustomModelFollowTheSequenceLength) {
  EXPECT_EQ(parse({"--train.seq-len", "64"}).config.model.max_positions, 64);
  EXPECT_EQ(parse({"--model.preset", "gpt2-tiny", "--train.seq-len", "64"}).config.model.max_positions, 256);
  EXPECT_EQ(parse({"--model.preset", "llama3-8b"}).config.train.seq_len, 8192);
  EXPECT_THAT(fault_of({"--data.text", "a", "--model.preset", "gpt2-tiny", "--train.seq-len", "512"}),
              AllOf(HasSubstr("train.seq-len 512"), HasSubstr("model.max-positions 256")));
}

TEST(RunArguments, AllFaultsAtOnceWithPlaceAndNumbers) {
  const ConfigFile file("[train]\nsteps = many\nstep-count = 3\n[optimizer]\nlr 3\n");
  const std::string fault = fault_of({"--config",
                                      file.path(),
                                      "--dp",
                                      "2",
                                      "--pp",
                                      "2",
                                      "--parallel.virtual-stages",
                                      "2",
                                      "--layers",
                                      "4",
                                      "--train.global-batch",
                                      "33",
                                      "--model.heads",
                                      "7",
                                      "--model.preset",
                                      "gpt2-124",
                                      "--optimizer.decay-fraction",
                                      "0.5",
                                      "stray",
                                      "--optimizer.beta1"},
                                     4);
  const std::string path = file.path();
  for (const std::string& part :
       {path + ":2: train.steps is 'many'; allowed: a whole number, 1 or more",
        path + ":3: train.step-count is not an option of trireme train; did you mean train.steps?",
        path + ":5: 'lr 3' is neither",
        std::string("parallel.virtual-stages 2 needs --parallel.schedule interleaved, not 1f1b"),
        std::string("--layers is not an option of trireme train; did you mean --model.layers?"),
        std::string("nearest are 32 (gradient accumulation 2) or 48 (gradient accumulation 3)"),
        std::string("model.hidden 768 does not divide"), std::string("did you mean gpt2-124m?"),
        std::string("optimizer.decay-fraction has no effect"), std::string("'stray'"),
        std::string("optimizer.beta1 needs a value"), std::string("nothing to train on")}) {
    EXPECT_THAT(fault, HasSubstr(part));
  }
  EXPECT_THAT(fault, AllOf(HasSubstr("12 errors:"), HasSubstr("\n  12. "), Not(HasSubstr("\n  13. "))));
}

TEST(RunArguments, FaultsNameWhereTheArgumentsComeFrom) {
  ArgumentRules rules = train_rules();
  rules.given_by = "config";
  const Args args = {"--data.text=a.txt", "--model.laers=3", "--train.steps=many"};
  try {
    parse_run_arguments(rules, args, 1);
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(
        error.what(),
        AllOf(
            HasSubstr("1. config: model.laers is not an option of trireme train; did you mean model.layers?"),
            HasSubstr("config: train.steps is 'many'; allowed:"), Not(HasSubstr("command line"))));
  }
}

TEST(RunArguments, NearestLayoutsAreThoseThatWork) {
  EXPECT_THAT(fault_of({"--data.text", "a", "--model.preset", "gpt2-124m", "--tp", "5", "--dp", "2"}, 8),
              AllOf(HasSubstr("model.heads 12 does not divide by parallel.tensor 5"),
                    HasSubstr("nearest layouts of 8 ranks that work: --dp 2 --tp 4; ")));
  // 5 layers with embedding and head have no use for 8 stages, and the heads none for 8 tensor ranks.
  EXPECT_THAT(
      fault_of({"--data.text", "a", "--model.layers", "5", "--model.hidden", "96", "--model.heads", "3",
                "--pp", "8", "--train.micro-batch", "1", "--train.global-batch", "1"},
               8),
      AllOf(HasSubstr("at most --parallel.pipeline 7"), HasSubstr("that work: --dp 1 --pp 4 --cp 2")));
}

TEST(RunArguments, AScheduleFileIsReadOnceAndThePlanHasItFromThenOn) {
  std::string path;
  RunConfig config;
  {
    const ConfigFile schedule("F0 F1 B0 W0 F2 B1 W1 F3 B2 W2 B3 W3\nF0 B0 W0 F1 B1 W1 F2 B2 W2 F3 B3 W3\n");
    path = schedule.path();
    config = parse({"--pp", "2", "--parallel.schedule", path, "--train.micro-batch", "1",
                    "--train.global-batch", "4"},
                   2)
                 .config;
  }
  ASSERT_FALSE(std::filesystem::exists(path));
  EXPECT_THAT(complete(config, {}, 2, true), IsEmpty());
  EXPECT_THAT(layout_line(config), HasSubstr("pipeline " + path + ", 4 micro-batches per replica: bubble"));
  EXPECT_EQ(training_schedule(config.parallel, 4).actions_of_stage[1].size(), 12u + 8);
  EXPECT_TRUE(has_split_backward(config.parallel.schedule));
  config.parallel.pipeline = 1;  // has no use for it
  EXPECT_THAT(complete(config, {}, 2, true), Not(IsEmpty()));
}

TEST(RunArguments, OneFaultIsOneSentence) {
  EXPECT_THAT(
      fault_of({"--data.text", "a", "--train.precision", "fp64"}),
      testing::StartsWith("command line: train.precision is 'fp64'; allowed: one of fp32, bf16, fp16\n"));
}

TEST(RunArguments, BatchArithmeticNamesWhatWorks) {
  EXPECT_THAT(fault_of({"--data.text", "a", "--train.micro-batch", "5", "--train.global-batch", "12"}, 2),
              AllOf(HasSubstr("12 is not a multiple of train.micro-batch 5 x 2 data-parallel ranks = 10"),
                    HasSubstr("10 (gradient accumulation 1) or 20 (gradient accumulation 2)"),
                    HasSubstr("--train.micro-batch 3")));
  EXPECT_THAT(
      fault_of({"--data.text", "a", "--train.micro-batch", "8", "--train.global-batch", "3"}),
      AllOf(HasSubstr("nearest are 8 (gradient accumulation 1)"), HasSubstr("--train.micro-batch 3")));
  const RunConfig config = parse({"--train.micro-batch", "3", "--train.global-batch", "12"}, 2).config;
  EXPECT_EQ(config.accumulation(), 2);
  EXPECT_EQ(config.tokens_per_step(), 12 * 1024);
}

TEST(RunArguments, OptionsWithoutEffectAreFaults) {
  const std::pair<Args, const char*> cases[] = {
      {{"--optimizer.decay-fraction", "0.2"}, "--optimizer.schedule wsd"},
      {{"--optimizer.min-lr", "1e-5", "--optimizer.schedule", "constant"}, "constant does not decay"},
      {{"--data.bpe-vocab", "512"}, "--data.tokenizer bpe"},
      {{"--data.end-of-text", "<eos>"}, "--data.tokenizer from a file"},
      {{"--train.recompute-every", "2"}, "--train.recompute full"},
      {{"--train.recompute-every", "2", "--train.recompute", "selective"}, "--train.recompute full"},
      {{"--train.sample-prompt", "x", "--train.sample-tokens", "0"}, "--train.sample-tokens is 0"},
      {{"--data.tokens", "b.bin"}, "--data.tokens is given too"},
      {{"--train.eval-every", "5", "--data.valid-fraction", "0"}, "no validation data"},
      {{"--train.eval-batches", "5", "--data.valid-fraction", "0"}, "no validation data"},
      {{"--data.valid-fraction", "0.2", "--data.valid-tokens", "v.bin"}, "--data.valid-tokens names"},
      {{"--model.window-pattern", "2"}, "--model.window above 0"},
      {{"--model.window-pattern", "3", "--model.family", "mistral", "--model.window", "0"},
       "--model.window above 0"},
      {{"--checkpoint.overlap", "skip"}, "--checkpoint.every is 0"},
      {{"--checkpoint.overlap", "skip", "--checkpoint.every", "5", "--checkpoint.async", "off"},
       "--checkpoint.async is off"},
      {{"--model.rotary-theta", "500000"}, "--model.family llama"},
      {{"--model.rotary-original-positions", "64", "--model.family", "llama"},
       "--model.rotary-scaling above 1"},
      {{"--model.window-from", "2"}, "--model.window above 0"},
      {{"--model.rotary-local-theta", "100", "--model.family", "gemma"}, "--model.window above 0"},
      {{"--model.no-rotary-every", "2"}, "--model.positions rotary"},
      {{"--model.rotary-beta-fast", "16", "--preset", "llama3-1b"}, "--model.rotary-scaling-type yarn"},
      {{"--model.rotary-truncate", "off", "--preset", "gemma3-4b"}, "--model.rotary-scaling-type yarn"},
      {{"--model.rotary-attention-factor", "2", "--preset", "llama3-1b"}, "yarn or longrope"},
      {{"--model.rotary-long-factors", "1,2", "--preset", "llama3-1b"},
       "--model.rotary-scaling-type longrope"}};
  for (auto [args, reason] : cases) {
    args.insert(args.begin(), {"--data.text", "a"});
    EXPECT_THAT(fault_of(args), AllOf(HasSubstr("has no effect"), HasSubstr(reason))) << args[2];
  }
}

TEST(RunArguments, WhatTheCommandLineDisablesInAFileIsANote) {
  const ConfigFile file("[optimizer]\nmin-lr = 1e-5\n[data]\ntext = a.txt\nformat = jsonl\n");
  const RunArguments result = parse_run_arguments(
      train_rules(),
      Args{"--config", file.path(), "--optimizer.schedule", "constant", "--data.tokens", "b.bin"}, 1);
  EXPECT_THAT(result.notes, ElementsAre(HasSubstr("--data.tokens replaces data.text"),
                                        AllOf(HasSubstr(".ini:2: optimizer.min-lr has no effect"))));
  EXPECT_EQ(result.config.data.text, "");
  EXPECT_EQ(result.config.data.format, "auto");
}

TEST(RunArguments, FileThenCommandLine) {
  const ConfigFile file(
      "# a comment\n[train]\nsteps = 5  # five\nseed=9\n[data]\ntext = \"a b.txt\" ; quoted\n");
  const RunConfig config =
      parse_run_arguments(train_rules(), Args{"--train.steps", "6", "--config", file.path()}, 1).config;
  EXPECT_EQ(config.train.steps, 6);
  EXPECT_EQ(config.train.seed, 9u);
  EXPECT_EQ(config.data.text, "a b.txt");
}

TEST(RunArguments, AConfigThatCannotBeRead) {
  EXPECT_THAT(fault_of({"--config", "/no/such.ini"}),
              AllOf(HasSubstr("/no/such.ini"), HasSubstr("No such file")));
  EXPECT_THAT(fault_of({"--config", "/tmp"}), HasSubstr("directory"));
}

TEST(RunArguments, LayoutsOfADryRunNeedNoRanks) {
  EXPECT_EQ(parse({"--dry-run", "--dp", "8"}, 1).config.train.global_batch, 64);
  EXPECT_THAT(fault_of({"--data.text", "a", "--dp", "8"}), HasSubstr("mpirun -n 8"));
}

TEST(RunArguments, AFamilyAgainstItsPreset) {
  EXPECT_THAT(fault_of({"--data.text", "a", "--preset", "gpt2-tiny", "--model.family", "llama"}),
              HasSubstr("allowed: gpt2, the family of preset gpt2-tiny"));
}

TEST(RunArguments, OtherChecksAcrossOptions) {
  EXPECT_THAT(fault_of({"--data.text", "a", "--optimizer.warmup", "3000"}),
              AllOf(HasSubstr("optimizer.warmup 3000"), HasSubstr("train.steps 2000")));
  EXPECT_THAT(fault_of({"--data.text", "a", "--optimizer.lr", "1e-4", "--optimizer.min-lr", "1e-3"}),
              HasSubstr("is above"));
  EXPECT_THAT(fault_of({"--data.tokens", "a.bin", "--data.tokenizer", "bpe"}),
              HasSubstr("is built from text"));
  EXPECT_THAT(fault_of({"--data.tokens", "a.bin", "--data.format", "jsonl"}),
              HasSubstr("data.format jsonl is a text format"));
  EXPECT_THAT(fault_of({"--data.text", "a", "--data.format", "nanogpt"}),
              HasSubstr("data.format nanogpt is a token format"));
  EXPECT_THAT(fault_of({"--data.text", "a", "--data.format", "numpy"}), HasSubstr("one of auto, text"));
  const Args named{"--data.tokens", "a.bin", "--data.format", "nanogpt"};
  EXPECT_EQ(parse_run_arguments(train_rules(), named, 1).config.data.format, "nanogpt");
  EXPECT_THAT(fault_of({"--data.text", "a", "--run.backend", "self"}, 2),
              HasSubstr("run.backend self is for one rank"));
  EXPECT_THAT(fault_of({"--data.text", "a", "--run.backend", "nccl", "--run.device", "cpu"}),
              HasSubstr("nccl needs GPUs"));
  EXPECT_THAT(fault_of({"--data.text", "a", "--run.backend", "mpi", "--run.nccl-ctas", "8"}),
              HasSubstr("--run.backend is mpi"));
  EXPECT_THAT(fault_of({"--data.text", "a", "--run.device", "cpu", "--run.share-device"}),
              HasSubstr("uses no GPU"));
  EXPECT_THAT(fault_of({"--data.text", "a", "--train.steps", "1e3"}), HasSubstr("whole number"));
  EXPECT_THAT(fault_of({"--data.text", "a", "--optimizer.lr", "nan"}), HasSubstr("a number, 0 or more"));
  EXPECT_THAT(fault_of({"--data.text", "a", "--train.steps", "99999999999999999999"}),
              HasSubstr("whole number"));
}

TEST(RunArguments, AGraphIsRefusedWhereTheHostDecidesWithinAStep) {
  const auto fault = [](Args more, int world_size = 1) {
    more.insert(more.begin(), {"--data.text", "a", "--run.cuda-graph"});
    return fault_of(more, world_size);
  };
  EXPECT_EQ(fault({"--train.precision", "bf16", "--zero", "3"}, 2), "no fault");
  EXPECT_THAT(fault({"--run.device", "cpu"}), HasSubstr("run.cuda-graph on: run.device cpu"));
  EXPECT_THAT(fault({"--model.preset", "mixtral-tiny"}), HasSubstr("how many tokens each expert gets"));
  EXPECT_THAT(fault({"--pp", "2"}, 2), HasSubstr("use --pp 1"));
  EXPECT_THAT(fault({"--run.backend", "mpi"}, 2), HasSubstr("use nccl"));
  EXPECT_EQ(fault({"--run.backend", "mpi"}), "no fault") << "one rank sends nothing";
  EXPECT_THAT(fault({"--train.precision", "fp16"}),
              AllOf(HasSubstr("dynamic loss scale"), Not(HasSubstr("use stop"))));
  EXPECT_THAT(fault({"--train.nonfinite", "skip", "--train.check", "op"}),
              AllOf(HasSubstr("use stop"), HasSubstr("train.check op")));
}

TEST(RunArguments, AttentionOfGpusIsNotForTheCpu) {
  const auto fault = [](const char* option, const char* value) {
    return fault_of({"--data.text", "a", "--run.device", "cpu", option, value});
  };
  EXPECT_THAT(fault("--run.attention", "cudnn"),
              HasSubstr("run.attention cudnn: run.device is cpu; use auto"));
  EXPECT_THAT(fault("--run.deterministic", "off"), HasSubstr("run.deterministic has no effect"));
  EXPECT_THAT(fault("--run.attention-workspace-mib", "64"),
              HasSubstr("run.attention-workspace-mib has no effect: run.device is cpu"));
  EXPECT_THAT(fault("--run.attention", "flash"), HasSubstr("one of auto, own, cudnn"));
  EXPECT_THAT(fault("--run.attention", "own"), HasSubstr("uses no GPU"));
  EXPECT_EQ(fault("--run.deterministic", "on"), "no fault");
}

TEST(RunArguments, AProfiledStepIsOneOfTheRun) {
  const Args last = {"--data.text", "a", "--train.steps", "20", "--run.profile-step", "20"};
  EXPECT_EQ(fault_of(last), "no fault");
  Args beyond = last, graph = last;
  beyond.back() = "21";
  EXPECT_THAT(fault_of(beyond), HasSubstr("run.profile-step 21: the last step is train.steps 20"));
  graph.emplace_back("--run.cuda-graph");
  EXPECT_THAT(fault_of(graph), HasSubstr("leave one of them out"));
}

TEST(RunArguments, WrittenConfigsReadBackEqual) {
  std::vector<Args> runs = {
      {},
      {"--train.sample-prompt", " \"In the\\\tbeginning\n# ; "},
      {"--optimizer.schedule", "wsd", "--optimizer.decay-fraction", "0.3", "--train.precision", "bf16"},
      {"--optimizer.schedule", "constant", "--train.sample-tokens", "0", "--data.valid-fraction", "0"},
      {"--model.family", "llama", "--model.rotary-theta", "12345.678", "--model.kv-heads", "3",
       "--model.tied", "on", "--model.share", "5"},
      {"--optimizer.lr", "0.1234567890123456", "--parallel.overlap", "off", "--model.bias", "off"},
      {"--preset", "llama3-1b", "--train.seq-len", "128", "--data.tokenizer", "bpe", "--data.bpe-vocab",
       "999"},
      {"--model.bottleneck", "64", "--model.bottleneck-ffns", "3", "--model.heads", "4"},
      {"--preset", "gpt2-124m", "--model.hidden", "384", "--train.global-batch", "48"}};
  for (const Preset& preset : presets()) runs.push_back({"--preset", preset.config.name});
  for (const Args& args : runs) {
    RunConfig config = parse(args, 2).config;
    const std::string text = write_config(config);
    config.data.text = std::filesystem::absolute(config.data.text).string();  // found from any folder
    const ConfigFile file(text);
    const RunArguments again = parse_run_arguments(train_rules(), Args{"--config", file.path()}, 2);
    EXPECT_EQ(again.config, config) << text;
    EXPECT_EQ(write_config(again.config), text);
    EXPECT_THAT(again.notes, IsEmpty());
  }
}

// Every field of it, with values that only the last bit tells apart.
ModelConfig unusual_model(RotaryScaling scaling) {
  ModelConfig c;
  c.family = ModelFamily::olmo2;
  c.vocab_size = 71;
  c.num_layers = 9;
  c.share = 4;
  c.hidden_size = 30;
  c.num_heads = 4;
  c.num_kv_heads = 2;
  c.given_head_dim = 6;
  c.ffn_size = 17;
  c.max_positions = 61;
  c.norm = NormKind::layer_norm;
  c.activation = ActivationKind::gelu_erf;
  c.positions = PositionKind::rotary;
  c.bias = BiasKind::attention;
  c.tied_embeddings = false;
  c.norm_placement = NormPlacement::both;
  c.qk_norm = QkNormKind::head;
  c.scales_embedding = true;
  c.query_scalar = 6.000000000000001;
  c.attention_soft_cap = 0.1 + 0.2;
  c.logit_soft_cap = 29.999999999999996;
  c.window = 7;
  c.window_pattern = 3;
  c.window_from = 2;
  c.convolution = {.kernel = 5, .every = 4, .first_block = 3};
  c.exits = {2, 5};
  c.norm_eps = 1.0000000000000002e-6;
  c.rotary_theta = 1234.5678901234567;
  c.rotary_dims = 4;
  c.rotary_local_theta = 99.999999999999986;
  c.no_rotary_every = 5;
  c.rotary_scaling_factor = 4.0000000000000009;
  c.rotary_scaling = scaling;
  c.rotary_original_positions = 16;
  c.init_std = 0.030000000000000002;
  if (scaling == RotaryScaling::linear) c.rotary_original_positions = ModelConfig().rotary_original_positions;
  if (scaling == RotaryScaling::llama3) {
    c.rotary_low_freq_factor = 1.1000000000000001;
    c.rotary_high_freq_factor = 1.1000000000000003;
  } else if (scaling == RotaryScaling::yarn) {
    c.rotary_beta_fast = 31.999999999999996;
    c.rotary_beta_slow = 0.30000000000000004;
    c.rotary_truncate = false;
    c.rotary_attention_factor = 1.0986122886681098;
  } else if (scaling == RotaryScaling::longrope) {
    c.rotary_attention_factor = 1.1902380714238083;
    c.rotary_short_factors = {1.0299999713897705, 0.30000000000000004};
    c.rotary_long_factors = {1e-3, 64.123456789012345};
  }
  return c;
}

TEST(RunArguments, AnyModelIsWrittenAndReadToTheLastBit) {
  for (const RotaryScaling scaling :
       {RotaryScaling::llama3, RotaryScaling::linear, RotaryScaling::yarn, RotaryScaling::longrope}) {
    RunConfig config = parse({"--train.seq-len", "61", "--parallel.data", "1"}).config;
    config.model = unusual_model(scaling);
    if (scaling == RotaryScaling::linear) set_sharing_text(config.model, "0,0,2,3,4,2,6,3,4");
    if (scaling == RotaryScaling::yarn) {
      set_sharing_text(config.model, "pairs");
      config.model.convolution = {};
    }
    if (scaling == RotaryScaling::longrope) {
      config.model.window = config.model.window_pattern = config.model.window_from = 0;
      config.model.patterns =
          read_attention_patterns("full; window=7 sinks=2 globals=0,60; blocks=4 summary=1 reach=3");
    }
    const std::string text = write_config(config);
    const ConfigFile file(text);
    EXPECT_EQ(parse_run_arguments(train_rules(), Args{"--config", file.path()}, 1).config.model, config.model)
        << text;
  }
}

TEST(RunArguments, NeighboursShareWhateverTheNumberOfLayers) {
  const ModelConfig model =
      parse({"--data.text", "a", "--model.share", "pairs", "--model.layers", "5"}).config.model;
  EXPECT_THAT(model.weights_from, ElementsAre(0, 0, 2, 2, 4));
  EXPECT_THAT(fault_of({"--data.text", "a", "--model.layers", "3", "--model.share", "0,0"}),
              HasSubstr("model.share names the weights of 2 layers, and model.layers is 3"));
  EXPECT_THAT(fault_of({"--data.text", "a", "--model.share", "0,,2"}), HasSubstr("such as 0,0,2,2"));
}

TEST(RunArguments, ListsOfNumbersNameWhatIsWrong) {
  for (const char* list : {"1,", ",1", "1,,2", "1, 2", "0,1", "-1", "1e39", "nan", "x"}) {
    EXPECT_THAT(fault_of({"--data.text", "a", "--model.family", "phi3", "--model.rotary-scaling", "4",
                          "--model.rotary-scaling-type", "longrope", "--model.rotary-long-factors", list}),
                AllOf(HasSubstr("model.rotary-long-factors is"), HasSubstr("such as 1,1.25,2")))
        << list;
  }
}

// A scaled model was trained on its shorter contexts first.
TEST(RunArguments, TheSequenceLengthOfAScaledModelIsTheOriginalOne) {
  EXPECT_EQ(parse({"--preset", "gemma3-4b"}).config.train.seq_len, 16384);
  EXPECT_EQ(parse({"--preset", "llama3-8b"}).config.train.seq_len, 8192);
}

TEST(OptionTable, KeysAreUniqueAndTheirDefaultsReadBack) {
  std::set<std::string> seen;
  for (const Option& option : all_options()) {
    EXPECT_TRUE(seen.insert(option.key()).second) << option.key();
    EXPECT_TRUE(option.alias.empty() || seen.insert(option.alias).second) << option.alias;
    RunConfig config;
    const std::string text = option.value.get(config);
    if (option.key() != "model.preset") {
      EXPECT_EQ(option.value.set(config, text), "") << option.key();
      EXPECT_EQ(config, RunConfig()) << option.key();
    }
  }
}

TEST(HelpText, ShowsEveryOptionWithinAHundredColumns) {
  const std::string help = help_options(all_options());
  for (const Option& option : all_options()) EXPECT_THAT(help, HasSubstr("--" + option.key()));
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
  EXPECT_THAT(help, AllOf(HasSubstr("optimizer steps [2000]"), HasSubstr("--parallel.data, --dp N")));
}

TEST(RunArguments, ThePrecisionDecidesAboutLossScaleAndSkips) {
  const TrainConfig half = parse({"--train.precision", "fp16"}).config.train;
  EXPECT_TRUE(half.loss_scale.dynamic);
  EXPECT_EQ(half.loss_scale.start, 65536);
  EXPECT_EQ(half.nonfinite, NonFinitePolicy::skip);
  const TrainConfig fixed = parse({"--train.precision", "fp16", "--train.loss-scale", "1024"}).config.train;
  EXPECT_FALSE(fixed.loss_scale.dynamic);
  EXPECT_EQ(fixed.loss_scale.start, 1024);
  EXPECT_EQ(fixed.nonfinite, NonFinitePolicy::stop);
  const TrainConfig wide = parse({"--train.precision", "bf16"}).config.train;
  EXPECT_FALSE(wide.loss_scale.dynamic);
  EXPECT_EQ(wide.loss_scale.start, 1);
  const TrainConfig chosen = parse({"--train.loss-scale", "dynamic", "--train.loss-scale-start", "8",
                                    "--train.loss-scale-floor", "0.5", "--train.loss-scale-backoff", "0.25"})
                                 .config.train;
  EXPECT_EQ(chosen.loss_scale.start, 8);
  EXPECT_EQ(chosen.loss_scale.floor, 0.5);
  EXPECT_EQ(chosen.loss_scale.backoff, 0.25);
}

TEST(RunArguments, ALossScaleIsAPowerOfTwo) {
  EXPECT_THAT(fault_of({"--data.text", "a", "--train.loss-scale", "1000"}),
              AllOf(HasSubstr("train.loss-scale is '1000'"), HasSubstr("dynamic, or a power of two")));
  EXPECT_THAT(fault_of({"--data.text", "a", "--train.precision", "fp16", "--train.loss-scale-growth", "3"}),
              HasSubstr("a power of two from 2"));
}

TEST(RunArguments, PrecisionOptionsThatDoNotGoTogether) {
  const auto fault = [](Args args) {
    args.insert(args.begin(), {"--data.text", "a"});
    return fault_of(args);
  };
  EXPECT_THAT(fault({"--train.master", "none"}), HasSubstr("fp32 weights are their own master"));
  EXPECT_THAT(fault({"--train.master", "none", "--train.precision", "fp16"}),
              HasSubstr("use --train.precision bf16"));
  EXPECT_THAT(fault({"--train.precision", "fp16", "--train.nonfinite", "stop"}),
              HasSubstr("a dynamic loss scale relies on overflows"));
  EXPECT_THAT(fault({"--train.loss-scale-start", "8"}), HasSubstr("--train.loss-scale dynamic"));
  EXPECT_THAT(fault({"--train.max-skips", "8"}), HasSubstr("--train.nonfinite is stop"));
  EXPECT_THAT(fault({"--parallel.grad-dtype", "bf16"}), HasSubstr("no gradients are sent"));
  EXPECT_THAT(fault({"--train.precision", "fp8"}), HasSubstr("one of fp32, bf16, fp16"));
  EXPECT_EQ(parse({"--parallel.grad-dtype", "bf16"}, 2).config.parallel.gradient_dtype, DType::bf16);
  EXPECT_FALSE(parse({"--train.master", "none", "--train.precision", "bf16"}).config.train.master);
}

}  // namespace
}  // namespace trireme::launch
