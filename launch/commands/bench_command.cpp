// trireme bench: the measures of launch/bench, from arguments to tables.
#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/bench/collectives_bench.h"
#include "launch/bench/op_cases.h"
#include "launch/cli/help_text.h"
#include "launch/cli/options/nearest_name.h"
#include "launch/cli/plain_arguments.h"
#include "launch/cli/plain_choices.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/bench_generation.h"
#include "launch/commands/bench_serving.h"
#include "launch/commands/commands.h"
#include "launch/commands/rank_world.h"
#include "launch/config/attention_choice.h"
#include "launch/preflight/choose_device.h"
#include "launch/process/build_info.h"
#include "runtime/base/error.h"
#include "runtime/device/cpu/cpu_device.h"
#include "runtime/io/files/atomic_file.h"
#include "runtime/profile/device_rates.h"

namespace trireme::launch {

namespace {

struct BenchOptions {
  RunOptions run;
  std::string json;  ///< a file for the results; empty: none
  CollectivesBenchOptions collectives;
  DType dtype = DType::bf16;
  int64_t tokens = 1024;
  int64_t milliseconds = 200;
  std::string only;
};

std::vector<std::pair<std::string, std::string>> same(std::vector<std::string> names) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const std::string& name : names) pairs.emplace_back(name, name);
  return pairs;
}

std::vector<PlainOption> common_options(BenchOptions& o) {
  return {
      {"device", "auto|cpu|cuda", "device; auto: cuda if a GPU is visible, else cpu", "auto",
       one_of<DeviceKind>(o.run.device, choices_of<DeviceKind>())},
      {"threads", "N", "CPU threads per rank", "ops: all cores; collectives: 1",
       whole_into(o.run.threads, 1, 4096)},
      {"json", "FILE", "also write the results as JSON", "none", text_into(o.json)},
  };
}

std::vector<PlainOption> collectives_options(BenchOptions& o) {
  std::vector<std::string> operations = {"all"};
  operations.insert(operations.end(), collective_names().begin(), collective_names().end());
  CollectivesBenchOptions& c = o.collectives;
  std::vector<PlainOption> options = {
      {"op", "NAME", fmt::format("collective: {}", fmt::join(operations, ", ")), "all",
       one_of(c.operation, same(operations))},
      {"min-bytes", "N", "smallest message, by the larger of a rank's input and output",
       fmt::to_string(c.min_bytes), whole_into(c.min_bytes, 8, int64_t{1} << 36)},
      {"max-bytes", "N", "largest size", fmt::to_string(c.max_bytes),
       whole_into(c.max_bytes, 8, int64_t{1} << 36)},
      {"factor", "N", "factor from one size to the next", fmt::to_string(c.factor),
       whole_into(c.factor, 2, 1 << 20)},
      {"dtype", "NAME", "element type: f32, f64, bf16, f16, i32, i64", "f32",
       one_of<DType>(c.dtype, {{"f32", DType::f32},
                               {"f64", DType::f64},
                               {"bf16", DType::bf16},
                               {"f16", DType::f16},
                               {"i32", DType::i32},
                               {"i64", DType::i64}})},
      {"redop", "sum|max|min", "reduction operation", "sum",
       one_of<ReduceOp>(c.op, {{"sum", ReduceOp::sum}, {"max", ReduceOp::max}, {"min", ReduceOp::min}})},
      {"warmup", "N", "untimed warm-up calls", fmt::to_string(c.warmup), whole_into(c.warmup, 0, 1 << 20)},
      {"iterations", "N", "timed calls", fmt::to_string(c.iterations), whole_into(c.iterations, 1, 1 << 20)},
      {"backend", "auto|mpi|nccl", "communication backend; auto: nccl if each rank has its own GPU, else mpi",
       "auto", one_of<BackendKind>(o.run.backend, choices_of<BackendKind>(BackendKind::self))},
      {"nccl-ctas", "N", "maximum CTAs of an NCCL collective", fmt::to_string(o.run.nccl_ctas),
       whole_into(o.run.nccl_ctas, 1, 64)},
      {"nccl-channel-ctas", "N", "maximum CTAs of an NCCL message between two ranks",
       fmt::to_string(o.run.nccl_channel_ctas), whole_into(o.run.nccl_channel_ctas, 1, 64)},
      {"share-device", "", "allow several ranks of a host to use one GPU", "", [&o](const std::string&) {
         o.run.share_device = true;
         return std::string();
       }}};
  const auto common = common_options(o);
  options.insert(options.end(), common.begin(), common.end());
  return options;
}

std::vector<PlainOption> ops_options(BenchOptions& o) {
  std::vector<PlainOption> options = {
      {"dtype", "f32|bf16|f16", "dtype of the tensors", "bf16",
       one_of<DType>(o.dtype, {{"f32", DType::f32}, {"bf16", DType::bf16}, {"f16", DType::f16}})},
      {"tokens", "N", "tokens: rows of the activations", fmt::to_string(o.tokens),
       whole_into(o.tokens, 1, 1 << 24)},
      {"only", "TEXT", "measure only ops whose name or shape contains this text", "all", text_into(o.only)},
      {"milliseconds", "N", "minimum time to measure each op", fmt::to_string(o.milliseconds),
       whole_into(o.milliseconds, 1, 600'000)},
      {"attention", "auto|own|cudnn",
       "attention kernels on GPUs: own, cudnn, or auto: cuDNN where it "
       "can, else own",
       "auto",
       one_of<AttentionChoice>(o.run.attention, {{"auto", AttentionChoice::automatic},
                                                 {"own", AttentionChoice::own},
                                                 {"cudnn", AttentionChoice::cudnn}})},
      {"attention-workspace-mib", "N", "maximum workspace of cuDNN attention in MiB",
       fmt::to_string(o.run.attention_workspace_mib), whole_into(o.run.attention_workspace_mib, 0, 1 << 20)},
      {"deterministic", "on|off",
       "deterministic results; off: cuDNN attention may sum gradients in "
       "any order",
       "on", one_of<bool>(o.run.deterministic, {{"on", true}, {"off", false}})}};
  const auto common = common_options(o);
  options.insert(options.end(), common.begin(), common.end());
  return options;
}

std::string bench_help() {
  BenchOptions collectives, ops;
  return fmt::format(
      "usage: mpirun -n RANKS trireme bench collectives [options]   time and check collectives; "
      "columns as\n"
      "                                                             in nccl-tests\n"
      "       trireme bench ops [options]                           measure TFLOP/s and GB/s of each "
      "op, and\n"
      "                                                             their share of the machine's "
      "peak\n"
      "       trireme bench generate [MODEL] [options]              measure tokens/s of prompts and of "
      "decoding, and\n"
      "                                                             their share of the memory's rate\n"
      "       trireme bench serve MODEL [options] [-- SERVE OPTIONS]   load a server with clients: "
      "tokens/s,\n"
      "       trireme bench serve --url URL [options]               time to the first token, gaps of "
      "streams\n\n"
      "  mpirun -n 2 trireme bench collectives --op all_reduce --max-bytes 67108864\n"
      "  trireme bench ops --dtype f32 --only attention\n"
      "  trireme bench generate --preset llama3-1b --weights q4_k --threads 2\n"
      "  trireme bench serve model.gguf --clients 1,16 --max-tokens 128 -- --threads 2\n"
      "  trireme bench serve --url http://127.0.0.1:8000 --clients 8 --max-tokens 512 --long-prompt 4000\n"
      "  trireme bench serve --url http://127.0.0.1:8000 --clients 16,32 --overload "
      "2\n\ncollectives\n{}\nops\n{}"
      "\ngenerate\n{}\nserve\n{}",
      help_plain(collectives_options(collectives)), help_plain(ops_options(ops)), bench_generate_help(),
      bench_serve_help());
}

void parse(const std::string& command, std::vector<PlainOption> options, std::span<const std::string> args,
           std::vector<std::string> errors = {}) {
  for (const std::string& stray : parse_plain_arguments(command, options, args, errors)) {
    errors.push_back(fmt::format("unexpected argument '{}'", stray));
  }
  if (!errors.empty()) throw_errors(errors, "bench");
}

void write_json(const std::string& path, const nlohmann::json& json) {
  if (path.empty()) return;
  write_file_atomically(path, json.dump(2) + "\n");
}

void bench_collectives(std::span<const std::string> args, const RankPlace& place) {
  BenchOptions o;
  o.run.threads = 1;
  parse("bench collectives", collectives_options(o), args);
  const CollectivesBenchOptions& c = o.collectives;
  if (c.min_bytes > c.max_bytes)
    throw_usage("--min-bytes {} is more than --max-bytes {}", c.min_bytes, c.max_bytes);
  const Fact arguments[] = {{"arguments", fmt::format("bench collectives {}", fmt::join(args, " ")), ""}};
  const RankWorld ranks = make_world(o.run, place, arguments);
  Context ctx(ranks.device, o.run.threads);
  const auto times = run_collectives_bench(ctx, *ranks.world, c);
  if (place.rank != 0) return;
  const std::string device = device_text(ctx.device());
  fmt::print("# {}\n# {} rank(s) over {}; rank 0 on {}\n", build_line(), ranks.world->size(),
             ranks.world->backend(), device);
  print_collectives(stdout, c, times);
  nlohmann::json rows = nlohmann::json::array();
  int64_t num_wrong = 0;
  for (const CollectiveTime& t : times) {
    num_wrong += t.num_wrong;
    rows.push_back({{"operation", t.operation},
                    {"bytes", t.bytes},
                    {"count", t.count},
                    {"type", to_string(c.dtype)},
                    {"redop", to_string(c.op)},
                    {"us", t.seconds * 1e6},
                    {"algbw_gb_s", t.algorithm_bandwidth * 1e-9},
                    {"busbw_gb_s", t.bus_bandwidth * 1e-9},
                    {"wrong", t.num_wrong}});
  }
  write_json(o.json, {{"ranks", ranks.world->size()},
                      {"backend", ranks.world->backend()},
                      {"device", device},
                      {"collectives", rows}});
  if (num_wrong > 0) throw_user(ExitCode::numerics, "{} elements are wrong", num_wrong);
}

/// Empty on the CPU, where there is nothing to choose.
std::string attention_of(const BenchOptions& o, Device device) {
  if (device.type == DeviceType::cpu) return "";
  return attention_text(o.run, o.dtype == DType::f32 ? "cuDNN attention has no fp32" : why_no_cudnn(o.run));
}

void bench_ops(std::span<const std::string> args, const RankPlace& place) {
  BenchOptions o;
  o.run.threads = cpu::num_available_cores();
  parse("bench ops", ops_options(o), args);
  if (place.world_size > 1) throw_usage("trireme bench ops runs on one rank: start it without mpirun");
  std::vector<OpCaseMaker> makers = op_cases();
  std::erase_if(makers, [&](const OpCaseMaker& maker) {
    return (maker.name + " " + maker.shape).find(o.only) == std::string::npos;
  });
  if (makers.empty()) throw_usage("--only '{}' matches no op's name or shape", o.only);
  const RankWorld alone = make_world(o.run, place, {});
  Context ctx(alone.device, o.run.threads, choose_op_settings(o.run, alone.device));
  const std::string device = device_text(ctx.device());
  fmt::print("# {}\n# {} on {}, {} threads, {} tokens\n", build_line(), to_string(o.dtype), device,
             ctx.num_threads(), o.tokens);
  const std::string attention = attention_of(o, alone.device);
  if (!attention.empty()) fmt::print("# attention: {}\n", attention);
  const ops::DeviceRates rates = ops::measure_device_rates(ctx, o.dtype);
  fmt::print("# measured peak: {:.3f} TFLOP/s of a large matrix product, {:.1f} GB/s of memory\n",
             rates.flops * 1e-12, rates.bytes * 1e-9);
  fmt::print("{:<28} {:<34} {:>12} {:>9} {:>9} {:>9}\n", "# op", "shape", "time (us)", "TFLOP/s", "GB/s",
             "of limit");
  nlohmann::json rows = nlohmann::json::array();
  for (const OpCaseMaker& maker : makers) {
    const OpTime t = time_op(ctx, maker, o.dtype, o.tokens, static_cast<double>(o.milliseconds) * 1e-3);
    const double tflops = t.flops / t.seconds * 1e-12, gigabytes = t.bytes / t.seconds * 1e-9;
    const double of_limit = rates.least_seconds(t.flops, t.bytes) / t.seconds;
    fmt::print("{:<28} {:<34} {:>12.1f} {:>9} {:>9.1f} {:>7.0f} %\n", t.name, t.shape, t.seconds * 1e6,
               t.flops > 0 ? fmt::format("{:.3f}", tflops) : "-", gigabytes, 100 * of_limit);
    std::fflush(stdout);
    rows.push_back({{"op", t.name},
                    {"shape", t.shape},
                    {"us", t.seconds * 1e6},
                    {"gb_s", gigabytes},
                    {"of_limit", of_limit}});
    if (t.flops > 0) rows.back()["tflop_s"] = tflops;
  }
  write_json(o.json, {{"device", device},
                      {"dtype", to_string(o.dtype)},
                      {"tokens", o.tokens},
                      {"attention", attention},
                      {"gemm_tflop_s", rates.flops * 1e-12},
                      {"memory_gb_s", rates.bytes * 1e-9},
                      {"ops", rows}});
}

}  // namespace

void run_bench(std::span<const std::string> args, const RankPlace& place) {
  const std::vector<std::string> names = {"collectives", "ops", "generate", "serve"};
  if (args.empty() || asks_for_help(args)) {
    if (place.rank == 0) fmt::print("{}", bench_help());
  } else if (args[0] == "collectives") {
    bench_collectives(args.subspan(1), place);
  } else if (args[0] == "ops") {
    bench_ops(args.subspan(1), place);
  } else if (args[0] == "generate") {
    bench_generate(args.subspan(1), place);
  } else if (args[0] == "serve") {
    bench_serve(args.subspan(1), place);
  } else {
    throw_usage("unknown benchmark '{}'{}; there are collectives, ops, generate and serve", args[0],
                did_you_mean(args[0], names));
  }
}

}  // namespace trireme::launch
