#include <limits>

#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"
#include "launch/config/attention_choice.h"

namespace trireme {

namespace {
using namespace option_values;
constexpr int64_t kMostRanks = 1 << 20;

std::vector<Option> degree_options(const std::string& section) {
  return {
      {section, "data", "dp",
       whole(
           [](auto& c) -> auto& { return c.parallel.data; }, 0, kMostRanks),
       "data-parallel ranks; 0: what the other degrees leave", "all ranks"},
      {section, "tensor", "tp",
       whole(
           [](auto& c) -> auto& { return c.parallel.tensor; }, 1, kMostRanks),
       "tensor-parallel ranks", ""},
      {section, "pipeline", "pp",
       whole(
           [](auto& c) -> auto& { return c.parallel.pipeline; }, 1, kMostRanks),
       "pipeline stages", ""},
      {section, "context", "cp",
       whole(
           [](auto& c) -> auto& { return c.parallel.context; }, 1, kMostRanks),
       "context-parallel ranks: each holds 1/N of every sequence (ring attention)", ""},
      {section, "expert", "ep",
       whole(
           [](auto& c) -> auto& { return c.parallel.expert; }, 1, kMostRanks),
       "expert-parallel degree: each rank holds 1/N of the experts; divides data x context x tensor / "
       "expert-tensor",
       ""},
      {section, "expert-tensor", "",
       whole(
           [](auto& c) -> auto& { return c.parallel.expert_tensor; }, 0, kMostRanks),
       "ranks that divide the width of an expert, of parallel.tensor; the others pass rows of their own",
       "parallel.tensor", needs_experts},
      {section, "expert-chunks", "",
       whole(
           [](auto& c) -> auto& { return c.parallel.expert_chunks; }, 1, kMostRanks),
       "parts in which rows travel to experts and back while the experts of other parts compute", ""},
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
       "ZeRO: data ranks divide 1 the optimizer's state, 2 gradients too, 3 weights too", ""},
      {section, "shard", "",
       whole(
           [](auto& c) -> auto& { return c.parallel.shard; }, 0, kMostRanks),
       "ZeRO divides among so many neighbours, and the others hold copies (HSDP); 0: among all", ""},
      {section, "sequence", "", on_off([](auto& c) -> auto& { return c.parallel.sequence; }),
       "sequence parallelism beside tensor parallelism", ""},
      {section, "tensor-chunks", "",
       whole(
           [](auto& c) -> auto& { return c.parallel.tensor_chunks; }, 1, 1024),
       "tensor-parallel products in so many parts, each communicated while the next is computed", ""},
      {section, "schedule", "", schedule_value(),
       "gpipe, 1f1b, interleaved, zb-h1, or the file of one (see trireme schedule)", ""},
      {section, "virtual-stages", "",
       whole(
           [](auto& c) -> auto& { return c.parallel.virtual_stages; }, 1, kMostRanks),
       "stages of a rank in an interleaved pipeline", ""},
      {section, "bucket-mib", "",
       real(
           [](auto& c) -> auto& { return c.parallel.bucket_mib; }, 0.001, 1 << 20),
       "gradients are reduced in buckets of this size", ""},
      {section, "overlap", "", on_off([](auto& c) -> auto& { return c.parallel.overlap; }),
       "reduce buckets, and gather weights (ZeRO 3), while layers compute", ""},
      {section, "grad-dtype", "",
       choice<DType>([](auto& c) -> auto& { return c.parallel.gradient_dtype; },
                     {{"fp32", DType::f32}, {"bf16", DType::bf16}, {"fp16", DType::f16}}),
       "what gradients are sent as; summed in fp32", "",
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
       "on GPUs; auto: cuDNN's where it serves, else own kernels; cudnn: an error where it does not", "",
       [](const RunConfig& c) -> std::string {
         const bool chooses = c.run.attention == AttentionChoice::own;  // of cudnn it is said why not
         return chooses && c.run.device == DeviceKind::cpu ? "--run.device cpu uses no GPU" : "";
       }},
      {section, "attention-workspace-mib", "",
       whole(
           [](auto& c) -> auto& { return c.run.attention_workspace_mib; }, 0, 1 << 20),
       "the most memory that cuDNN's attention may take; what wants more is left to own kernels", "",
       [](const RunConfig& c) { return why_no_cudnn(c); }},
      {section, "deterministic", "", on_off([](auto& c) -> auto& { return c.run.deterministic; }),
       "off: cuDNN's attention may add up gradients in any order, which takes less memory", "",
       [](const RunConfig& c) {
         const std::string why = c.run.deterministic ? "" : why_no_cudnn(c);
         return why.empty() ? "" : "own kernels always are, and " + why;
       }},
  };
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
       "where the run's files go; a number is added when it exists, but with --resume", "runs/MODEL-DATA"},
      {section, "resume", "resume",
       text(
           [](auto& c) -> auto& { return c.run.resume; }, "auto|must|never|STEP|PATH"),
       "go on from the newest checkpoint of the run directory: auto where there is one, must it has to be "
       "there; or "
       "from one by its step or path",
       ""},
      {section, "device", "", named<DeviceKind>([](auto& c) -> auto& { return c.run.device; }),
       "auto: cuda where the program sees a GPU, else cpu", ""},
      {section, "share-device", "", on_off([](auto& c) -> auto& { return c.run.share_device; }),
       "several ranks of a host may use one GPU", "",
       [](const RunConfig& c) -> std::string {
         return c.run.device == DeviceKind::cpu ? "--run.device cpu uses no GPU" : "";
       }},
      {section, "backend", "", named<BackendKind>([](auto& c) -> auto& { return c.run.backend; }),
       "of communication among ranks; auto: nccl where each has a GPU of its own, else mpi", ""},
      {section, "nccl-ctas", "",
       whole(
           [](auto& c) -> auto& { return c.run.nccl_ctas; }, 1, 64),
       "most thread blocks of a GPU that a collective of NCCL takes from the arithmetic beside it", "",
       without_nccl},
      {section, "nccl-channel-ctas", "",
       whole(
           [](auto& c) -> auto& { return c.run.nccl_channel_ctas; }, 1, 64),
       "and a message between two ranks, whose receiver is often there long before the sender", "",
       without_nccl},
      {section, "cuda-graph", "", on_off([](auto& c) -> auto& { return c.run.cuda_graph; }),
       "submit each step as two CUDA graphs; for dense models on GPUs, without pipeline", ""},
      {section, "profile-step", "",
       whole(
           [](auto& c) -> auto& { return c.run.profile_step; }, 0),
       "say where the time of this step goes, op by op, on every rank; the first two also start things; 0: "
       "none",
       ""},
      {section, "check-memory", "", on_off([](auto& c) -> auto& { return c.run.check_memory; }),
       "refuse a run that is predicted to need more memory than its host, control group or GPU has", ""},
      {section, "threads", "",
       whole(
           [](auto& c) -> auto& { return c.run.threads; }, 0, 4096),
       "threads a rank; 0: the host's cores divided by its ranks, or as many as its control groups grant",
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
       "steps that both train", ""},
      {section, "full", "", on_off([](auto& c) -> auto& { return c.verify.full; }),
       "the model, sequences and batch as they are, not made small", ""},
  };
}

}  // namespace trireme
