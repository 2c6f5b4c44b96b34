// The whole trainer on the host's stand-in for a GPU: the choice of the device, data, steps, evaluation,
// files and the sample of text.
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/config/complete_config.h"
#include "launch/preflight/choose_device.h"
#include "launch/run/trainer.h"
#include "models/families/family.h"
#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "runtime/comm/record/recorder.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/io/json/json_file.h"
#include "runtime/io/safetensors/safetensors.h"
#include "tests/support/cuda_on_host/attention_library.h"
#include "tests/support/cuda_on_host/launch.h"
#include "tests/support/expect_error.h"
#include "tests/support/long_names.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

using namespace launch;

// For all tests of this program, which is started once.
[[maybe_unused]] const bool kComparesOrders = cuda_on_host::compares_orders = whole_tier();

TEST(ChooseDeviceOnHost, RanksOfOneGpuHaveToBeAllowed) {
  RunOptions run;
  const auto self = make_self_communicator();
  EXPECT_EQ(choose_device(run, *self, 0).device, (Device{DeviceType::cuda, 0}));
  EXPECT_FALSE(choose_device(run, *self, 3).is_shared);
  run_thread_ranks(3, [&](Communicator& world) {
    expect_error(ExitCode::usage, {"ranks 0 and 1 would share a GPU", "--run.share-device"},
                 [&] { choose_device(run, world, world.rank()); });
    RunOptions shared = run;
    shared.share_device = true;
    const DeviceChoice choice = choose_device(shared, world, world.rank());
    EXPECT_EQ(choice.device, (Device{DeviceType::cuda, 0}));
    EXPECT_TRUE(choice.is_shared);
  });
  EXPECT_THAT(device_text({DeviceType::cuda, 0}), testing::StartsWith("cuda:0: the host"));
}

RunConfig small_config(const std::string& folder, int tensor) {
  RunConfig c;
  c.data.text = folder + "/text";
  c.data.tokenizer = "char";
  c.model.family = ModelFamily::llama;
  apply_family(c.model, c.model.family);
  c.model.num_layers = 2;
  c.model.hidden_size = 16;
  c.model.num_heads = 2;
  c.model.num_kv_heads = 2;
  c.model.ffn_size = 24;
  c.model.max_positions = c.train.seq_len = 8;
  c.train.steps = 3;
  c.train.micro_batch = 1;
  c.train.global_batch = 2;
  c.train.sample_tokens = 4;
  c.train.sample_prompt = "ab";
  c.parallel.tensor = tensor;
  c.run.threads = 1;
  return c;
}

/// Of metrics.jsonl, whose first line is the evaluation before step 1.
bool is_of_a_step(const std::string& line) { return line.find("\"loss\":") != line.npos; }

struct Outcome {
  std::vector<double> losses;
  std::map<std::string, std::vector<float>> weights;
};

void train_on(const RunConfig& config, int num_ranks, Device device) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> out(std::fopen("/dev/null", "w"), std::fclose);
  run_thread_ranks(num_ranks, [&](Communicator& world) {
    Job job;
    job.world = &world;
    job.device = device;
    Recorder recorder;
    world.set_recorder(&recorder);
    train(config, "", job, out.get());
    world.set_recorder(nullptr);
  });
}

Outcome run_training(const std::string& folder, const std::string& name, int num_ranks, Device device,
                     const RunOptions& options = {}) {
  RunConfig config = small_config(folder, num_ranks);
  config.run = options;
  config.run.threads = 1;
  config.run.dir = folder + "/" + name;
  EXPECT_THAT(complete(config, {"model.ffn", "model.kv-heads", "model.max-positions"}, num_ranks, true),
              testing::IsEmpty());
  train_on(config, num_ranks, device);
  Outcome outcome;
  std::ifstream metrics(config.run.dir + "/metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) {
    if (is_of_a_step(line)) outcome.losses.push_back(parse_json(line, "metrics")["loss"]);
  }
  const SafetensorsReader file(config.run.dir + "/model.safetensors");
  for (const auto& [parameter, stored] : file.tensors()) {
    auto& values = outcome.weights[parameter];
    values.resize(stored.bytes.size() / sizeof(float));
    std::memcpy(values.data(), stored.bytes.data(), stored.bytes.size());
  }
  return outcome;
}

constexpr std::string_view kText =
    "abcdefgh, and so on: the quick brown fox jumps over the lazy dog. A tenth of this is for validation, "
    "which takes a sequence and a token at least.";

/// How a run ends whose second step is not finite, up to its element, and how many steps it has written.
std::pair<std::string, size_t> run_until_overflow(const std::string& folder, const std::string& name,
                                                  int num_ranks, Device device) {
  RunConfig config = small_config(folder, num_ranks);
  config.run.dir = folder + "/" + name;
  config.optimizer.lr = 1e38;
  complete(config, {"model.ffn", "model.kv-heads", "model.max-positions"}, num_ranks, true);
  std::string why;
  try {
    train_on(config, num_ranks, device);
  } catch (const UserError& error) {
    why = error.what();
  }
  std::ifstream metrics(config.run.dir + "/metrics.jsonl");
  size_t num_steps = 0;
  for (std::string line; std::getline(metrics, line);) num_steps += is_of_a_step(line) ? 1 : 0;
  return {why.substr(0, why.find(", element")), num_steps};
}

/// On a device the host hears of it when the next step is in flight.
TEST(TrainerOnHost, AStepThatIsNotFiniteEndsTheRunAsOnTheCpu) {
  const TemporaryFolder folder;
  folder.write("text", std::string(kText));
  for (const int num_ranks : {1, 2}) {
    const auto cpu = run_until_overflow(folder.path(), fmt::format("cpu{}", num_ranks), num_ranks, {});
    EXPECT_THAT(cpu.first, testing::HasSubstr("step 2: the loss is"));
    EXPECT_THAT(cpu.first, testing::HasSubstr("first non-finite"));
    EXPECT_EQ(cpu.second, 1);
    EXPECT_EQ(
        run_until_overflow(folder.path(), fmt::format("cuda{}", num_ranks), num_ranks, {DeviceType::cuda, 0}),
        cpu);
  }
}

TEST(TrainerOnHost, ARunOnADeviceWritesWhatTheCpuWrites) {
  const TemporaryFolder folder;
  folder.write("text", std::string(kText));
  const Outcome cpu = run_training(folder.path(), "cpu", 1, {});
  ASSERT_EQ(cpu.losses.size(), 3);
  for (const int num_ranks : {1, 2}) {
    SCOPED_TRACE(num_ranks);
    const Outcome device =
        run_training(folder.path(), fmt::format("cuda{}", num_ranks), num_ranks, {DeviceType::cuda, 0});
    ASSERT_EQ(device.losses.size(), 3);
    for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(device.losses[i], cpu.losses[i], 1e-5 * cpu.losses[i]);
    ASSERT_EQ(device.weights.size(), cpu.weights.size());
    for (const auto& [name, values] : cpu.weights) {
      const auto& own = device.weights.at(name);
      ASSERT_EQ(own.size(), values.size()) << name;
      for (size_t i = 0; i < values.size(); ++i) ASSERT_NEAR(own[i], values[i], 2e-3) << name;
    }
  }
}

/// By events of the device, of steps that overlap but for the last; with graphs as far as it is seen.
TEST(TrainerOnHost, ABreakdownHasAllStepsAndAllTheirTime) {
  const TemporaryFolder folder;
  folder.write("text", std::string(kText));
  for (const auto& [num_ranks, use_graph] : {std::pair(1, false), {1, true}, {2, false}}) {
    SCOPED_TRACE(fmt::format("{} ranks, graphs {}", num_ranks, use_graph));
    RunConfig config = small_config(folder.path(), num_ranks);
    config.train.steps = 5;
    config.train.log_every = 2;
    config.run.cuda_graph = use_graph;
    config.run.dir = fmt::format("{}/{}{}", folder.path(), num_ranks, use_graph);
    complete(config, {"model.ffn", "model.kv-heads", "model.max-positions"}, num_ranks, true);
    train_on(config, num_ranks, {DeviceType::cuda, 0});
    std::vector<std::pair<int, int>> windows;
    std::ifstream metrics(config.run.dir + "/metrics.jsonl");
    for (std::string line; std::getline(metrics, line);) {
      const auto json = parse_json(line, "metrics");
      if (!json.contains("breakdown")) continue;
      const auto& breakdown = json.at("breakdown");
      windows.emplace_back(json.at("step"), breakdown.at("steps"));
      double sum = 0;
      for (const auto& [part, ms] : breakdown.items()) {
        if (ms.is_number() && part != "steps" && part != "step_ms") sum += ms.get<double>();
      }
      for (const auto& [axis, ms] : breakdown.at("exposed_ms").items()) sum += ms.get<double>();
      EXPECT_NEAR(sum, breakdown.at("step_ms"), 1e-6 * sum);
      EXPECT_GT(breakdown.at("compute_ms"), 0);
      EXPECT_GT(breakdown.at("optimizer_ms"), 0);
      EXPECT_EQ(breakdown.at("exposed_ms").contains("tensor"), num_ranks == 2);
      EXPECT_EQ(json.contains("slowest_rank"), num_ranks == 2);
    }
    EXPECT_THAT(windows, testing::ElementsAre(testing::Pair(2, 2), testing::Pair(4, 2), testing::Pair(5, 1)));
    EXPECT_EQ(std::ifstream(config.run.dir + "/ranks.jsonl").good(), num_ranks == 2);
  }
}

/// Evaluations between the steps and the sample at the end included.
TEST(TrainerOnHost, ARunOfGraphsWritesWhatOneWithoutWrites) {
  const TemporaryFolder folder;
  folder.write("text", std::string(kText));
  const Device device{DeviceType::cuda, 0};
  RunOptions with_graphs;
  with_graphs.cuda_graph = true;
  const Outcome plain = run_training(folder.path(), "plain", 1, device),
                graphs = run_training(folder.path(), "graphs", 1, device, with_graphs);
  ASSERT_EQ(plain.losses.size(), 3);
  EXPECT_EQ(graphs.losses, plain.losses);
  EXPECT_EQ(graphs.weights, plain.weights);
}

/// Saves behind each step, which the next ones, given to the device at once, do not change.
TEST(TrainerOnHost, ARunThatIsStoppedAndResumedEndsAsOneThatIsNot) {
  const TemporaryFolder folder;
  folder.write("text", std::string(kText));
  for (const bool use_graph : {false, true}) {
    RunConfig config = small_config(folder.path(), 1);
    config.train.steps = 6;
    config.checkpoint.every = 1;
    config.run.cuda_graph = use_graph;
    const std::set<std::string> given = {"model.ffn", "model.kv-heads", "model.max-positions"};
    ASSERT_THAT(complete(config, given, 1, true), testing::IsEmpty());
    const auto run = [&](const std::string& name, int64_t stop_after) {
      config.run.dir = fmt::format("{}/{}{}", folder.path(), name, use_graph);
      config.train.stop_after = stop_after;
      train_on(config, 1, {DeviceType::cuda, 0});
    };
    run("whole", 0);
    config.run.resume = "auto";
    expect_error(ExitCode::resumable, {"--train.stop-after 4"}, [&] { run("stopped", 4); });
    run("stopped", 0);
    const auto proof_of = [&](const char* name, int64_t step) {
      return read_manifest(
                 fmt::format("{}/{}{}/checkpoints/{}", folder.path(), name, use_graph, checkpoint_name(step)))
          .proof;
    };
    for (const int64_t step : {4, 5, 6})
      EXPECT_EQ(proof_of("stopped", step), proof_of("whole", step)) << step;
    EXPECT_NE(proof_of("whole", 5), proof_of("whole", 6));
  }
}

std::map<std::string, std::vector<std::byte>> weights_of(const std::string& path) {
  std::map<std::string, std::vector<std::byte>> weights;
  const SafetensorsReader file(path);
  for (const auto& [name, tensor] : file.tensors())
    weights[name].assign(tensor.bytes.begin(), tensor.bytes.end());
  return weights;
}

/// The host hears of it when a later step has changed the weights already.
TEST(TrainerOnHost, ASaveThatFailsEndsTheRunWithWeightsOfTheStepThatIsNamed) {
  const TemporaryFolder folder;
  folder.write("text", std::string(kText));
  RunConfig config = small_config(folder.path(), 1);
  config.optimizer.schedule = LrScheduleKind::constant;
  config.train.sample_tokens = 0;
  config.train.steps = 40;
  config.run.dir = folder.path("run");
  config.checkpoint.every = 10;
  config.checkpoint.failure = SaveFailurePolicy::stop;
  config.checkpoint.dir = directory_of_too_long_names(folder);
  const std::set<std::string> given = {"model.ffn", "model.kv-heads", "model.max-positions"};
  ASSERT_THAT(complete(config, given, 1, true), testing::IsEmpty());
  std::string why;
  try {
    train_on(config, 1, {DeviceType::cuda, 0});
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::checkpoint);
    why = error.what();
  }
  const std::string words = "The weights after step ";
  const size_t at = why.find(words);
  ASSERT_NE(at, why.npos) << why;
  const int64_t step = std::stoll(why.substr(at + words.size()));
  const auto left = weights_of(fmt::format("{}/model-unfinished-step-{}.safetensors", config.run.dir, step));
  config.checkpoint = CheckpointConfig();
  config.checkpoint.keep = 0;
  config.train.steps = step;
  config.run.dir = folder.path("same");
  train_on(config, 1, {DeviceType::cuda, 0});
  EXPECT_EQ(left, weights_of(config.run.dir + "/model.safetensors"));
}

/// The losses of a run on this thread, and what its log says of attention.
std::pair<std::vector<double>, std::string> run_with_attention(const std::string& folder,
                                                               AttentionChoice choice) {
  RunConfig config = small_config(folder, 1);
  config.train.precision = DType::bf16;
  config.train.sample_prompt = "a";  // one token, of which cuDNN is not asked
  config.run.attention = choice;
  config.run.dir = fmt::format("{}/{}", folder, static_cast<int>(choice));
  EXPECT_THAT(complete(config, {"model.ffn", "model.kv-heads", "model.max-positions"}, 1, true),
              testing::IsEmpty());
  const auto self = make_self_communicator();
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> out(std::fopen("/dev/null", "w"), std::fclose);
  Job job;
  job.world = self.get();
  job.device = {DeviceType::cuda, 0};
  train(config, "", job, out.get());
  std::vector<double> losses;
  std::ifstream metrics(config.run.dir + "/metrics.jsonl"), log(config.run.dir + "/log.txt");
  for (std::string line; std::getline(metrics, line);) {
    if (is_of_a_step(line)) losses.push_back(parse_json(line, "metrics")["loss"]);
  }
  std::string said;
  for (std::string line; std::getline(log, line);) {
    if (line.starts_with("  attention ")) said = line;
  }
  return {losses, said};
}

TEST(TrainerOnHost, CudnnsAttentionTrainsAsOwnKernelsDo) {
  const TemporaryFolder folder;
  folder.write("text", std::string(kText));
  const cuda_on_host::Cudnn before = cuda_on_host::cudnn();
  cuda_on_host::cudnn() = {.is_built = true};
  const auto [by_cudnn, said] = run_with_attention(folder.path(), AttentionChoice::cudnn);
  EXPECT_EQ(said, "  attention  cuDNN 0.0.0, with at most 256 MiB of workspace; deterministic");
  EXPECT_EQ(cuda_on_host::cudnn().num_backward, 3 * 2 * 2) << "steps, micro-batches, layers";
  const auto [by_own, own] = run_with_attention(folder.path(), AttentionChoice::own);
  EXPECT_EQ(own, "  attention  own kernels, deterministic");
  EXPECT_EQ(cuda_on_host::cudnn().num_backward, 3 * 2 * 2);
  cuda_on_host::cudnn() = before;
  ASSERT_EQ(by_cudnn.size(), 3);
  ASSERT_EQ(by_own.size(), 3);
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(by_cudnn[i], by_own[i], 1e-2) << i;
}

TEST(TrainerOnHost, ExpertsAreTimedOnTheirDevice) {
  const TemporaryFolder folder;
  folder.write("text", std::string(kText));
  RunConfig config = small_config(folder.path(), 1);
  config.model.moe.num_experts = 4;
  config.parallel.expert = 2;
  config.run.dir = folder.path() + "/run";
  const std::set<std::string> given = {"model.ffn", "model.kv-heads", "model.max-positions"};
  ASSERT_THAT(complete(config, given, 2, true), testing::IsEmpty());
  train_on(config, 2, {DeviceType::cuda, 0});
  std::ifstream metrics(config.run.dir + "/metrics.jsonl");
  int num_steps = 0;
  for (std::string line; std::getline(metrics, line);) {
    if (!is_of_a_step(line)) continue;
    ++num_steps;
    const auto experts = parse_json(line, "metrics").at("experts");
    ASSERT_EQ(experts.size(), 2) << "layers";
    for (const auto& router : experts) {
      EXPECT_GT(router.at("expert_ms"), 0);
      EXPECT_GE(router.at("lost_ms"), 0);
    }
  }
  EXPECT_EQ(num_steps, 3);
}

/// On a device too, whose steps are otherwise submitted ahead of their numbers.
TEST(TrainerOnHost, AProfiledStepChangesNothingAndHasItsOpsAlone) {
  const TemporaryFolder folder;
  folder.write("text", std::string(kText));
  for (const Device device : {Device{}, Device{DeviceType::cuda, 0}}) {
    SCOPED_TRACE(to_string(device));
    const std::string name = fmt::format("of_{}", device.type == DeviceType::cpu ? "cpu" : "cuda");
    RunOptions profiled;
    profiled.profile_step = 2;
    const Outcome plain = run_training(folder.path(), "plain_" + name, 2, device),
                  outcome = run_training(folder.path(), name, 2, device, profiled);
    EXPECT_EQ(outcome.losses, plain.losses);
    EXPECT_EQ(outcome.weights, plain.weights);
    const auto json = read_json_file(folder.path() + "/" + name + "/profile.json");
    std::map<std::string, int> calls, waits;  // of rank 1
    for (const auto& event : json.at("traceEvents")) {
      if (event.at("pid") != 1 || event.at("ph") != "X") continue;
      if (event.at("tid") == 0) ++calls[event.at("name")];
      if (event.at("tid") == 1) ++waits[event.at("name")];
    }
    EXPECT_GE(waits["all_reduce"], 2 * 2 * 4) << "two a layer and pass";
    EXPECT_EQ(calls["attention"], 2 * 2) << "layers, micro-batches";
    EXPECT_EQ(calls["attention_backward"], 2 * 2);
    EXPECT_EQ(calls["adamw"], 2) << "weights of matrices and of vectors";
  }
}

/// Slices of a rank by row and name; each row in the order of time, without overlap but of what lies within.
std::map<std::pair<int, std::string>, int> slices_of(const nlohmann::json& trace, int rank) {
  std::map<std::pair<int, std::string>, int> slices;
  std::map<int, double> last_begin;
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("ph") != "X" || event.at("pid") != rank) continue;
    const int row = event.at("tid");
    ++slices[{row, event.at("name").get<std::string>()}];
    EXPECT_GE(event.at("dur"), 0);
    const double begin = event.at("ts");
    EXPECT_GE(begin, last_begin[row]) << event;
    last_begin[row] = begin;
  }
  return slices;
}

TEST(TrainerOnHost, StepsThatOverlapAreTraced) {
  const TemporaryFolder folder;
  folder.write("text", std::string(kText));
  const Device device{DeviceType::cuda, 0};
  RunOptions traced;
  traced.trace = {2, 3};
  const Outcome plain = run_training(folder.path(), "plain", 2, device),
                outcome = run_training(folder.path(), "traced", 2, device, traced);
  EXPECT_EQ(outcome.losses, plain.losses);
  EXPECT_EQ(outcome.weights, plain.weights);
  const auto trace = read_json_file(folder.path() + "/traced/trace-2-3.json");
  for (const int rank : {0, 1}) {
    auto slices = slices_of(trace, rank);
    for (const char* name : {"step 2", "step 3"}) EXPECT_EQ((slices[{2, name}]), 1) << name;
    EXPECT_EQ((slices[{2, "update"}]), 2);
    EXPECT_EQ((slices[{2, "backward 0"}]), 2);
    EXPECT_EQ((slices[{0, "attention"}]), 2 * 2 * 2) << "steps, layers, micro-batches";
    EXPECT_GE((slices[{1, "all_reduce"}]), 2 * 2 * 2 * 4) << "two a layer and pass";
  }
}

}  // namespace
}  // namespace trireme::test
