#include <limits>

#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"
#include "launch/config/attention_choice.h"
#include "runtime/watch/hang_limits.h"

namespace trireme::launch {

namespace {
using namespace option_values;
constexpr int64_t kMostRanks = 1 << 20;

std::vector<Option> degree_options(const std::string& section) {
  return {
      {section, "data", "dp",
       whole(
           [](auto& c) -> auto& { return c.parallel.data; }, 0, kMostRanks),
       "data-parallel degree; 0: all ranks that the other degrees leave", "all ranks"},
      {section, "tensor", "tp",
       whole(
           [](auto& c) -> auto& { return c.parallel.tensor; }, 1, kMostRanks),
       "tensor-parallel degree: shard every layer's weights and heads over N ranks; communicates "
       "in every layer, so keep it inside a node",
       ""},
      {section, "pipeline", "pp",
       whole(
           [](auto& c) -> auto& { return c.parallel.pipeline; }, 1, kMostRanks),
       "pipeline-parallel degree: split the blocks into N stages; communicates little, but idles "
       "in the pipeline bubble unless there are many micro-batches",
       ""},
      {section, "context", "cp",
       whole(
           [](auto& c) -> auto& { return c.parallel.context; }, 1, kMostRanks),
       "context-parallel degree: shard every sequence over N ranks (ring attention); for long sequences", ""},
      {section, "expert", "ep",
       whole(
           [](auto& c) -> auto& { return c.parallel.expert; }, 1, kMostRanks),
       "expert-parallel degree: shard the experts over N ranks; must divide moe.experts and "
       "data x context x tensor / expert-tensor",
       ""},
      {section, "expert-tensor", "",
       whole(
           [](auto& c) -> auto& { return c.parallel.expert_tensor; }, 0, kMostRanks),
       "tensor-parallel degree inside each expert (ETP); must divide parallel.tensor; where it "
       "is less, tensor-parallel ranks route different tokens",
       "parallel.tensor", needs_experts},
      {section, "expert-chunks", "",
       whole(
           [](auto& c) -> auto& { return c.parallel.expert_chunks; }, 1, kMostRanks),
       "split the tokens sent to experts into N chunks, so that the all-to-all overlaps with "
       "expert compute; 1: no overlap",
       ""},
  };
}

// A file is named here and read when all options are there (parse_run_arguments).
OptionValue schedule_value() {
  OptionValue value;
  value.placeholder = "NAME";
  value.set = [](RunConfig& config, const std::string& text) -> std::string {
    config.parallel.schedule = ScheduleSpec::named(text);
    return "";
  };
  value.get = [](const RunConfig& config) { return config.parallel.schedule.text(); };
  return value;
}

std::vector<Option> execution_options(const std::string& section) {
  return {
      {section, "zero", "zero",
       whole(
           [](auto& c) -> auto& { return c.parallel.zero_stage; }, 0, 3),
       "ZeRO stage: shard over data-parallel ranks 1: optimizer state; 2: gradients too; 3: "
       "weights too (FSDP), gathered layer by layer at the cost of more communication; 0: replicate all",
       ""},
      {section, "shard", "",
       whole(
           [](auto& c) -> auto& { return c.parallel.shard; }, 0, kMostRanks),
       "shard-group size of ZeRO: shard inside groups of N neighbouring ranks and replicate "
       "across groups (HSDP); 0: shard over all",
       ""},
      {section, "sequence", "", on_off([](auto& c) -> auto& { return c.parallel.sequence; }),
       "sequence parallelism: shard the activations between tensor-parallel layers by token, "
       "which saves memory; needs parallel.tensor of 2 or more",
       ""},
      {section, "tensor-chunks", "",
       whole(
           [](auto& c) -> auto& { return c.parallel.tensor_chunks; }, 1, 1024),
       "split tensor-parallel matrix products into N chunks, each communicated while the next is "
       "computed; 1: no overlap",
       ""},
      {section, "schedule", "", schedule_value(),
       "pipeline schedule: gpipe, 1f1b, interleaved, zb-h1, or the path of a schedule file (see "
       "trireme schedule)",
       ""},
      {section, "virtual-stages", "",
       whole(
           [](auto& c) -> auto& { return c.parallel.virtual_stages; }, 1, kMostRanks),
       "virtual stages (model chunks) per rank of an interleaved pipeline; more make the bubble "
       "smaller and communicate more",
       ""},
      {section, "bucket-mib", "",
       real(
           [](auto& c) -> auto& { return c.parallel.bucket_mib; }, 0.001, 1 << 20),
       "bucket size of the gradient reduction in MiB; larger buckets communicate faster and overlap less",
       ""},
      {section, "overlap", "", on_off([](auto& c) -> auto& { return c.parallel.overlap; }),
       "overlap gradient reduction, and weight gathering (ZeRO 3), with compute", ""},
      {section, "grad-dtype", "",
       choice<DType>([](auto& c) -> auto& { return c.parallel.gradient_dtype; },
                     {{"fp32", DType::f32}, {"bf16", DType::bf16}, {"fp16", DType::f16}}),
       "dtype in which gradients are communicated; 16 bits halve the traffic; sums are accumulated in fp32",
       "",
       [](const RunConfig& c) -> std::string {
         if (c.parallel.gradient_ranks() > 1) return {};
         return "one rank holds each parameter: no gradients are sent";
       }},
  };
}

std::vector<Option> attention_options(const std::string& section) {
  return {
      {section, "attention", "",
       choice<AttentionChoice>([](auto& c) -> auto& { return c.run.attention; },
                               {{"auto", AttentionChoice::automatic},
                                {"own", AttentionChoice::own},
                                {"cudnn", AttentionChoice::cudnn}}),
       "attention kernels on GPUs: own, cudnn (fails where cuDNN cannot), or auto: cuDNN where "
       "it can, else own",
       "",
       [](const RunConfig& c) -> std::string {
         const bool chooses = c.run.attention == AttentionChoice::own;  // of cudnn it is said why not
         return chooses && c.run.device == DeviceKind::cpu ? "--run.device cpu uses no GPU" : "";
       }},
      {section, "attention-workspace-mib", "",
       whole(
           [](auto& c) -> auto& { return c.run.attention_workspace_mib; }, 0, 1 << 20),
       "maximum workspace of cuDNN attention in MiB; shapes that need more use own kernels", "",
       [](const RunConfig& c) { return why_no_cudnn(c); }},
      {section, "deterministic", "", on_off([](auto& c) -> auto& { return c.run.deterministic; }),
       "deterministic results; off: cuDNN attention may sum gradients in any order, which takes less memory",
       "",
       [](const RunConfig& c) {
         const std::string why = c.run.deterministic ? "" : why_no_cudnn(c);
         return why.empty() ? "" : "own kernels always are, and " + why;
       }},
  };
}

OptionValue traced_steps() {
  OptionValue value;
  value.placeholder = "FROM:TO";
  value.set = [](RunConfig& config, const std::string& given) -> std::string {
    const size_t colon = given.find(':');
    StepRange range;
    if (given != "off") {
      const auto first = parse_number<int64_t>(given.substr(0, colon));
      const auto last = colon == given.npos ? first : parse_number<int64_t>(given.substr(colon + 1));
      if (!first || !last || *first < 1 || *last < *first || *last > kMost)
        return "steps FROM:TO, counted from 1, TO no less than FROM, as in 10:12; or off";
      range = {*first, *last};
    }
    config.run.trace = range;
    return "";
  };
  value.get = [](const RunConfig& config) {
    const StepRange& range = config.run.trace;
    return range == StepRange() ? "off" : fmt::format("{}:{}", range.first, range.last);
  };
  return value;
}

OptionValue hang_limits() {
  OptionValue value;
  value.placeholder = "S,PHASE=S,...";
  value.set = [](RunConfig& config, const std::string& given) -> std::string {
    const auto limits = watch::parse_hang_limits(given);
    if (!limits) {
      return "seconds, up to 1e6, for all phases, then PHASE=SECONDS with commas between: setup, step, data, "
             "forward, backward, reduction, update, evaluation, save, sample, teardown, teacher; either may "
             "be left out";
    }
    config.run.hang_limit = *limits;
    return "";
  };
  value.get = [](const RunConfig& config) { return watch::to_string(config.run.hang_limit); };
  return value;
}

}  // namespace

std::vector<Option> parallel_options() {
  std::vector<Option> options = degree_options("parallel");
  const std::vector<Option> more = execution_options("parallel");
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

std::vector<Option> run_options() {
  const std::string section = "run";
  const auto without_nccl = [](const RunConfig& c) -> std::string {
    if (c.run.device == DeviceKind::cpu) return "--run.device cpu uses no GPU";
    const bool is_another = c.run.backend == BackendKind::mpi || c.run.backend == BackendKind::self;
    return is_another ? fmt::format("it belongs to NCCL, --run.backend is {}", to_string(c.run.backend)) : "";
  };
  std::vector<Option> options = {
      {section, "dir", "",
       text(
           [](auto& c) -> auto& { return c.run.dir; }, "DIR"),
       "run directory: logs, metrics, weights and checkpoints; a number is appended if it "
       "exists, unless the run resumes",
       "runs/MODEL-DATA"},
      {section, "resume", "resume",
       text(
           [](auto& c) -> auto& { return c.run.resume; }, "auto|must|never|STEP|PATH"),
       "resume from a checkpoint: auto: the newest of the run directory, if there is one; must: "
       "the newest, or fail; STEP or PATH: that one; never: start new",
       ""},
      {section, "device", "", named<DeviceKind>([](auto& c) -> auto& { return c.run.device; }),
       "device to train on; auto: cuda if a GPU is visible, else cpu", ""},
      {section, "share-device", "", on_off([](auto& c) -> auto& { return c.run.share_device; }),
       "allow several ranks of a host to use one GPU", "",
       [](const RunConfig& c) -> std::string {
         return c.run.device == DeviceKind::cpu ? "--run.device cpu uses no GPU" : "";
       }},
      {section, "backend", "", named<BackendKind>([](auto& c) -> auto& { return c.run.backend; }),
       "communication backend; auto: nccl if each rank has its own GPU, else mpi", ""},
      {section, "nccl-ctas", "",
       whole(
           [](auto& c) -> auto& { return c.run.nccl_ctas; }, 1, 64),
       "maximum CTAs (thread blocks) of an NCCL collective; fewer leave more of the GPU to "
       "overlapping compute",
       "", without_nccl},
      {section, "nccl-channel-ctas", "",
       whole(
           [](auto& c) -> auto& { return c.run.nccl_channel_ctas; }, 1, 64),
       "maximum CTAs of an NCCL message between two ranks, which often waits long for its sender", "",
       without_nccl},
      {section, "cuda-graph", "", on_off([](auto& c) -> auto& { return c.run.cuda_graph; }),
       "replay each step as two CUDA graphs, which saves launch overhead; for dense models on "
       "GPUs without pipeline parallelism",
       ""},
      {section, "breakdown", "", on_off([](auto& c) -> auto& { return c.run.breakdown; }),
       "account for the time of every step (compute, exposed communication by axis, pipeline bubble, load "
       "imbalance, data, optimizer, checkpoints) in metrics.jsonl, and by rank in ranks.jsonl; off also "
       "leaves out the search for stragglers",
       ""},
      {section, "profile-step", "",
       whole(
           [](auto& c) -> auto& { return c.run.profile_step; }, 0),
       "profile this step on every rank, op by op; choose 3 or later, as the first two include "
       "warm-up; 0: none",
       ""},
      {section, "trace", "", traced_steps(),
       "trace these steps on every rank for chrome://tracing and ui.perfetto.dev, in trace-FROM-TO.json of "
       "the "
       "run directory: ops, phases, communication, waits, memory; off: none",
       ""},
      {section, "record-calls", "",
       whole(
           [](auto& c) -> auto& { return c.run.record_calls; }, 16, 32768),
       "last calls to record of each process group (operation, count, layer, phase, step, times), which "
       "name the culprit of a hang; 96 bytes each",
       ""},
      {section, "check-collectives", "", on_off([](auto& c) -> auto& { return c.run.check_collectives; }),
       "compare what the ranks of a group call, and from which layer, phase and step, before a collective "
       "moves data; a mismatch is reported instead of wrong results or a hang; costs an exchange per "
       "collective",
       ""},
      {section, "hang-limit", "", hang_limits(),
       "end the job with exit code 6, naming the ranks to blame, when a rank makes no progress for so many "
       "seconds and nobody it waits for does: one number for all phases, and others by phase: setup, step "
       "(or "
       "data, forward, backward, reduction, update), evaluation, save, sample, teardown, teacher, as in "
       "600,save=1800; "
       "the first step may take as long as setup; 0: no limit",
       ""},
      {section, "watch-interface", "",
       text(
           [](auto& c) -> auto& { return c.run.watch_interface; }, "NAME|ADDRESS"),
       "network interface of the watchdogs, by its name or its address on this host",
       "loopback on one host, else those by which hosts reach each other"},
      {section, "check-memory", "", on_off([](auto& c) -> auto& { return c.run.check_memory; }),
       "refuse a run predicted to need more memory than the host, control group or GPU has", ""},
      {section, "threads", "",
       whole(
           [](auto& c) -> auto& { return c.run.threads; }, 0, 4096),
       "CPU threads per rank; 0: the cores of the host, or of its control group, divided by the ranks on it",
       ""},
  };
  std::vector<Option> attention = attention_options(section);
  options.insert(options.end() - 3, attention.begin(), attention.end());
  return options;
}

std::vector<Option> verify_options() {
  const std::string section = "verify";
  return {
      {section, "steps", "",
       whole(
           [](auto& c) -> auto& { return c.verify.steps; }, 1, 1000),
       "number of training steps to compare", ""},
      {section, "full", "", on_off([](auto& c) -> auto& { return c.verify.full; }),
       "compare the model, sequences and batch at full size; off: reduce them, which is much faster", ""},
  };
}

}  // namespace trireme::launch
