#include "launch/commands/scale_arguments.h"

#include <algorithm>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "launch/cli/command_line.h"
#include "launch/cli/help_text.h"
#include "launch/cli/options/nearest_name.h"
#include "launch/cli/options/option_table.h"
#include "launch/cli/plain_arguments.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/launch_arguments.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

using SetText = std::function<std::string(const std::string&)>;

SetText scale_switch(bool& field) {
  return [&field](const std::string&) {
    field = true;
    return std::string();
  };
}

SetText scale_choice(const std::vector<std::string>& values,
                     const std::function<void(const std::string&)>& take) {
  return [values, take](const std::string& text) -> std::string {
    if (std::ranges::find(values, text) == values.end()) return fmt::format("{}", fmt::join(values, ", "));
    take(text);
    return "";
  };
}

std::vector<PlainOption> scale_options(ScaleArguments& a) {
  constexpr int64_t kMost = 1 << 20;
  return {
      {"ranks", "LIST", "numbers of ranks: 1,2,4,8", "none: it must be given",
       [&a](const std::string& text) {
         a.series.ranks = parse_rank_counts(text);
         return std::string();
       }},
      {"mode", "weak|strong",
       "weak: the batch of a rank is constant, so the global batch grows with the ranks; strong: the global "
       "batch is constant",
       "none: it must be given",
       scale_choice({"weak", "strong"},
                    [&a](const std::string& text) {
                      a.series.mode = text == "weak" ? ScaleMode::weak : ScaleMode::strong;
                    })},
      {"sweep", "OPTION=V,V,...",
       "an option of train and the values that it takes at every number of ranks; several --sweep multiply. "
       "Values with commas are separated by semicolons. Layouts that do not fit are listed and left out",
       "none",
       [&a](const std::string& text) {
         a.series.sweeps.push_back(parse_sweep(text));
         return std::string();
       }},
      {"repeat", "N", "runs of each point; all points are run once before any is repeated", "3",
       whole_into(a.repeat, 1, 1000)},
      {"steps", "N", "steps that are measured in each run", "20", whole_into(a.steps, 1, 1'000'000'000)},
      {"warmup", "N", "steps before these, which are not", "5", whole_into(a.warmup, 1, 1'000'000)},
      {"dir", "DIR",
       "where runs and results are kept; called again with the same arguments a series goes on where it "
       "ended",
       "scale-MODE", text_into(a.dir)},
      {"hosts", "FILE|LIST", "hosts for mpirun: h1:4,h2:4, or a host file with lines 'h1 slots=4'",
       "this machine, or those of the Slurm job", text_into(a.hosts)},
      {"cores", "K", "cores, and threads, of each rank, the same in all runs",
       "--run.threads, else those of a host by the most ranks on it", whole_into(a.cores, 1, kMost)},
      {"gpus", "N", "GPUs of each host, where they are not as on this one; with --submit also asked of Slurm",
       "as on this host", whole_into(a.gpus, 0, 1024)},
      {"launcher", "L",
       "auto, mpirun or srun, as of trireme launch; auto: in a Slurm job that has not as many tasks as each "
       "run has ranks, mpirun for all runs",
       "auto",
       scale_choice({"auto", "mpirun", "srun"}, [&a](const std::string& text) { a.launcher = text; })},
      {"mpirun", "EXTRA", "more options for mpirun, in one word; all runs are mpirun's then", "none",
       text_into(a.mpirun)},
      {"slurm", "EXTRA", "more options for srun or, with --submit, sbatch, in one word", "none",
       text_into(a.slurm)},
      {"submit", "", "outside of a Slurm job: submit a job for each run, one after the other", "",
       scale_switch(a.submit)},
      {"allow-root", "", "let mpirun start ranks as root, as in a container", "", scale_switch(a.allow_root)},
      {"dry-run", "", "list the runs, their commands and what is left out, and exit", "",
       scale_switch(a.dry_run)},
  };
}

/// Why a series sets an option itself; empty: it does not.
std::string set_by_scale(const std::string& key) {
  static const std::map<std::string, std::string> kSet = {
      {"train.steps", "--steps and --warmup say how long runs are"},
      {"train.stop-after", "--steps and --warmup say how long runs are"},
      {"train.log-every", "log windows follow from --warmup"},
      {"train.eval-every", "runs are evaluated as little as can be"},
      {"train.eval-batches", "runs are evaluated as little as can be"},
      {"train.sample-tokens", "runs generate no text"},
      {"train.sample-prompt", "runs generate no text"},
      {"optimizer.warmup", "the learning rate rises through all of a run"},
      {"run.dir", "--dir says where runs go"},
      {"run.resume", "runs begin anew"},
      {"dry-run", "it stands before the --"},
  };
  const auto found = kSet.find(key);
  return found == kSet.end() ? "" : found->second;
}

const Option* option_named(const std::vector<Option>& options, const std::string& name) {
  const auto found = std::ranges::find_if(options, [&](const Option& option) {
    return option.key() == name || (!option.alias.empty() && option.alias == name);
  });
  return found == options.end() ? nullptr : &*found;
}

void check_sweeps(ScaleArguments& a, std::vector<std::string>& errors) {
  const std::vector<Option> options = all_options();
  std::vector<std::string> seen;
  for (Sweep& sweep : a.series.sweeps) {
    const Option* option = option_named(options, sweep.key);
    if (option == nullptr) {
      std::vector<std::string> keys;
      for (const Option& one : options) keys.push_back(one.key());
      errors.push_back(fmt::format("--sweep: {} is not an option of trireme train{}", sweep.key,
                                   did_you_mean(sweep.key, keys, "")));
      continue;
    }
    sweep.key = option->key();
    if (const std::string why = set_by_scale(sweep.key); !why.empty())
      errors.push_back(fmt::format("--sweep {}: trireme scale sets it: {}", sweep.key, why));
    if (std::ranges::find(seen, sweep.key) != seen.end())
      errors.push_back(fmt::format("--sweep {} is there twice: give all values at once", sweep.key));
    seen.push_back(sweep.key);
    for (const std::string& value : sweep.values) {
      RunConfig config;
      if (const std::string allowed = option->value.set(config, value); !allowed.empty())
        errors.push_back(fmt::format("--sweep: {} is '{}'; allowed: {}", sweep.key, value, allowed));
    }
  }
}

/// Options of train that the series sets, or sweeps. All others are checked with each point.
void check_train_options(const ScaleArguments& a, std::vector<std::string>& errors) {
  const std::vector<Option> options = all_options();
  std::vector<std::string> keys = {"config", "dry-run"};
  for (const Option& option : options) {
    keys.push_back(option.key());
    if (!option.alias.empty()) keys.push_back(option.alias);
  }
  for (const Setting& setting : read_command_line(a.series.options, keys).list) {
    const Option* option = option_named(options, setting.key);
    const std::string key = option == nullptr ? setting.key : option->key();
    if (const std::string why = set_by_scale(key); !why.empty())
      errors.push_back(fmt::format("--{} behind the --: trireme scale sets it: {}", key, why));
    if (std::ranges::find(a.series.sweeps, key, &Sweep::key) != a.series.sweeps.end())
      errors.push_back(fmt::format("--{} behind the --: --sweep gives its values", key));
  }
}

}  // namespace

std::string scale_help() {
  ScaleArguments unused;
  return fmt::format(
      "usage: trireme scale --ranks LIST --mode weak|strong [options] -- [train] [options of train]\n\n"
      "  trireme scale --ranks 1,2,4,8 --mode weak -- --config run.ini\n"
      "  trireme scale --ranks 1,2,4 --mode strong --sweep parallel.tensor=1,2 --sweep parallel.zero=0,1 \\\n"
      "      -- --config run.ini --train.global-batch 32\n"
      "  trireme scale --ranks 8,16,32 --mode weak --hosts hosts --cores 12 -- --config run.ini\n"
      "  trireme scale --ranks 8,16,32 --mode weak --submit --slurm \"--ntasks-per-node=8\" \\\n"
      "      -- --config run.ini\n\n"
      "Measures how training scales, and says where the loss goes: short runs at every number of ranks,\n"
      "with a warm-up and repeats; scale.csv, scale.json and scale.html in DIR, and tables here. A signal\n"
      "(Ctrl-C) ends it with exit 75, and the same command goes on. A run that fails is recorded, and its\n"
      "exit code is that of the series. docs/scaling.md defines every figure.\n\n{}",
      help_plain(scale_options(unused)));
}

ScaleArguments parse_scale_arguments(std::span<const std::string> args) {
  ScaleArguments a;
  const auto dashes = std::ranges::find(args, "--");
  std::vector<std::string> errors;
  const std::vector<std::string> own = with_joined_extras({args.begin(), dashes});
  for (const std::string& stray : parse_plain_arguments("scale", scale_options(a), own, errors))
    errors.push_back(fmt::format("unexpected argument '{}': options of train stand behind --", stray));
  const auto was_given = [&own](const std::string& name) {
    return std::ranges::any_of(own, [&](const std::string& word) {
      return word == "--" + name || word.starts_with("--" + name + "=");
    });
  };
  for (const auto& [name, example] :
       {std::pair("ranks", "--ranks 1,2,4"), std::pair("mode", "--mode weak")}) {
    if (!was_given(name)) errors.push_back(fmt::format("--{} is missing, as {}", name, example));
  }
  if (dashes != args.end()) a.series.options.assign(dashes + 1, args.end());
  if (!a.series.options.empty() && a.series.options.front() == "train")
    a.series.options.erase(a.series.options.begin());
  if (a.series.options.empty())
    errors.emplace_back("what shall be trained? trireme scale [options] -- [options of train]");
  if (a.submit && (!a.hosts.empty() || a.launcher != "auto" || !a.mpirun.empty()))
    errors.emplace_back("--submit: --hosts, --launcher and --mpirun have no effect on jobs of Slurm");
  check_sweeps(a, errors);
  check_train_options(a, errors);
  if (!errors.empty()) throw_errors(errors, "scale");
  if (a.dir.empty()) a.dir = "scale-" + to_string(a.series.mode);
  return a;
}

}  // namespace trireme::launch
