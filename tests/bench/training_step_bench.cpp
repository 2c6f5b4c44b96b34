// One optimizer step of a whole model on one rank, as a share of the GEMM rate measured in the same run.
//   training_step_bench [--device=cuda [--peak_tflops=989]] [--benchmark_filter=...]
//                       [--benchmark_out=step.json --benchmark_out_format=json] [--account=account.json]
//                       [--attention=auto|own|cudnn] [--deterministic=on|off]
// With a peak the share of it (MFU; causal attention counted half) is reported too. An account says where the
// time of one more step of each case goes, op by op, but of those that are one graph. Attention and
// deterministic are what run.attention and run.deterministic are to trireme train.
#include <charconv>
#include <map>
#include <string_view>

#include <benchmark/benchmark.h>
#include <nlohmann/json.hpp>

#include "launch/config/attention_choice.h"
#include "launch/profile/step_account.h"
#include "models/cost/model_size.h"
#include "models/families/presets.h"
#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/base/philox.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/io/files/atomic_file.h"
#include "runtime/profile/device_rates.h"

namespace trireme::launch {
namespace {

struct Case {
  const char* preset;
  int64_t vocab;  // where the preset leaves it open
  int64_t batch, seq_len;
  DType precision;
  bool use_graph = false;
  bool muon = false;
};

struct Place {
  Device device;
  double peak_tflops = 0;
  std::string account_file;  // empty: no accounts
  RunOptions run;            // attention, and whether it is deterministic
};

using Accounts = std::map<std::string, StepAccount>;  // by case

std::vector<int32_t> random_ids(int64_t n, int64_t vocab) {
  std::vector<int32_t> ids(static_cast<size_t>(n));
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int32_t>(philox4x32(1, i, 0)[0] % static_cast<uint32_t>(vocab));
  }
  return ids;
}

void training_step(benchmark::State& state, const Place& place, const Case& c, StepAccount* account) {
  Context ctx(place.device, static_cast<int>(state.range(0)), choose_op_settings(place.run, place.device));
  ModelConfig config = find_preset(c.preset)->config;
  if (config.vocab_size == 0) config.vocab_size = c.vocab;
  const auto self = make_self_communicator();
  SessionOptions options{.max_seq_len = c.seq_len, .precision = c.precision, .seed = 1};
  options.step.use_graph = c.use_graph;
  if (c.muon) options.rules = muon_rules();
  options.step.muon.ns_dtype = c.precision == DType::f32 ? DType::f32 : DType::bf16;
  TrainingSession session(ctx, *self, {}, config, options);
  const auto ids = random_ids(c.batch * c.seq_len + 1, config.vocab_size);
  const std::span all(ids);
  MicroBatch mb =
      make_micro_batch(ctx, c.batch, c.seq_len, all.first(ids.size() - 1), all.last(ids.size() - 1));
  // As in a run of the trainer the device is not waited for between steps.
  const int64_t steps_at_once = place.device.type == DeviceType::cpu ? 1 : 8;
  TrainingStep& step = session.step();
  const auto run = [&] { step.apply(step.forward_backward({&mb, 1}), 1e-4); };
  run();  // memory and kernels are found on the first step, graphs are captured in the second
  run();
  const double peak = ops::measure_gemm_rate(ctx, c.precision).flops;
  while (state.KeepRunningBatch(steps_at_once)) {
    for (int64_t i = 0; i < steps_at_once; ++i) run();
    ctx.stream().synchronize();
  }
  const double tokens = static_cast<double>(state.iterations() * c.batch * c.seq_len);
  const double flops = training_flops_per_token(config, c.seq_len) * tokens;
  state.counters["tokens_per_s"] = benchmark::Counter(tokens, benchmark::Counter::kIsRate);
  state.counters["TFLOP_per_s"] = benchmark::Counter(flops * 1e-12, benchmark::Counter::kIsRate);
  state.counters["gemm_TFLOP_per_s"] = peak * 1e-12;
  state.counters["share_of_gemm"] = benchmark::Counter(flops / peak, benchmark::Counter::kIsRate);
  if (place.peak_tflops > 0) {
    state.counters["MFU"] =
        benchmark::Counter(flops / (place.peak_tflops * 1e12), benchmark::Counter::kIsRate);
  }
  const auto stats = ctx.allocator().stats();  // without what the account takes
  if (account != nullptr) {
    const ops::DeviceRates rates{place.peak_tflops > 0 ? place.peak_tflops * 1e12 : peak,
                                 ops::measure_memory_rate(ctx)};
    OpTimeline timeline(ctx);
    run();
    *account = account_of(timeline.stop(), rates);
  }
  for (int i = 0; i < kNumMemoryCategories; ++i) {
    state.counters[fmt::format("peak_MiB_{}", to_string(static_cast<MemoryCategory>(i)))] =
        static_cast<double>(stats.by_category[static_cast<size_t>(i)].peak) / (1 << 20);
  }
}

void add(const Place& place, const char* name, const Case& c, Accounts& accounts) {
  auto* bench = benchmark::RegisterBenchmark(name, [=, &accounts](benchmark::State& s) {
    const bool has_account = !place.account_file.empty() && !c.use_graph;
    const std::string key =
        place.device.type == DeviceType::cpu ? fmt::format("{}, {} threads", name, s.range(0)) : name;
    training_step(s, place, c, has_account ? &accounts[key] : nullptr);
  });
  bench->ArgName("threads")->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond)->MinTime(2.0);
  if (place.device.type == DeviceType::cpu) bench->Arg(2);
}

AttentionChoice attention_of(std::string_view name) {
  if (name == "auto") return AttentionChoice::automatic;
  if (name == "own") return AttentionChoice::own;
  if (name == "cudnn") return AttentionChoice::cudnn;
  throw_usage("--attention={}: one of auto, own, cudnn", name);
}

// Takes the arguments that are not Google Benchmark's.
Place take_place(int& argc, char** argv) {
  Place place;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i], peak = "--peak_tflops=", account = "--account=",
                           attention = "--attention=", deterministic = "--deterministic=";
    if (arg == "--device=cuda") {
      place.device.type = DeviceType::cuda;
    } else if (arg.starts_with(peak)) {
      std::from_chars(arg.data() + peak.size(), arg.data() + arg.size(), place.peak_tflops);
    } else if (arg.starts_with(account)) {
      place.account_file = arg.substr(account.size());
    } else if (arg.starts_with(attention)) {
      place.run.attention = attention_of(arg.substr(attention.size()));
    } else if (arg == "--deterministic=on" || arg == "--deterministic=off") {
      place.run.deterministic = arg.ends_with("on");
    } else if (arg.starts_with(deterministic)) {
      throw_usage("{}: on or off", arg);
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  return place;
}

void write_accounts(const Accounts& accounts, const std::string& file) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [name, account] : accounts) {
    fmt::print("\nwhere a step of {} goes\n{}\n", name, account_text(account, 12));
    json[name] = to_json(account);
  }
  write_file_atomically(file, json.dump(1) + "\n");
}

int run_all(int argc, char** argv) {
  const Place place = take_place(argc, argv);
  Accounts accounts;
  const auto add_case = [&](const char* name, const Case& c) { add(place, name, c, accounts); };
  if (place.device.type == DeviceType::cuda) {
    // As in peers/pytorch_step.py.
    add_case("gpt2_124m_16x1024/bf16", {"gpt2-124m", 50257, 16, 1024, DType::bf16});
    add_case("gpt2_124m_16x1024_graph/bf16", {"gpt2-124m", 50257, 16, 1024, DType::bf16, true});
    add_case("gpt2_124m_16x1024_muon/bf16", {"gpt2-124m", 50257, 16, 1024, DType::bf16, false, true});
    add_case("gpt2_1.5b_4x1024/bf16", {"gpt2-1.5b", 50257, 4, 1024, DType::bf16});
    add_case("gpt2_1.5b_4x1024_graph/bf16", {"gpt2-1.5b", 50257, 4, 1024, DType::bf16, true});
    add_case("llama3_1b_4x2048/bf16", {"llama3-1b", 128256, 4, 2048, DType::bf16});
    add_case("llama3_1b_4x2048_graph/bf16", {"llama3-1b", 128256, 4, 2048, DType::bf16, true});
  } else {
    add_case("gpt2_10m_8x128/f32", {"gpt2-10m", 4096, 8, 128, DType::f32});
    add_case("gpt2_10m_8x128/bf16", {"gpt2-10m", 4096, 8, 128, DType::bf16});
    add_case("gpt2_10m_8x128_muon/f32", {"gpt2-10m", 4096, 8, 128, DType::f32, false, true});
    add_case("gpt2_10m_8x128_muon/bf16", {"gpt2-10m", 4096, 8, 128, DType::bf16, false, true});
    add_case("gpt2_124m_4x256/f32", {"gpt2-124m", 50257, 4, 256, DType::f32});
    add_case("gpt2_124m_4x256/bf16", {"gpt2-124m", 50257, 4, 256, DType::bf16});
  }
  (void)choose_op_settings(place.run, place.device);  // before anything is measured
  if (place.device.type == DeviceType::cuda) {
    benchmark::AddCustomContext("attention", attention_text(place.run, why_no_cudnn(place.run)));
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  if (benchmark::RunSpecifiedBenchmarks() == 0) return 2;  // it says that the filter matches nothing
  if (!place.account_file.empty()) write_accounts(accounts, place.account_file);
  return 0;
}

}  // namespace
}  // namespace trireme::launch

int main(int argc, char** argv) {
  try {
    return trireme::launch::run_all(argc, argv);
  } catch (const trireme::Error& error) {
    fmt::print(stderr, "training_step_bench: {}\n", error.what());
    return static_cast<int>(error.code());
  }
}
