// How a run starts: its directory, and what it resumes from.
#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>

#include <fmt/ranges.h>

#include "launch/checkpoint/agreed.h"
#include "launch/checkpoint/finished_run.h"
#include "launch/checkpoint/restarts.h"
#include "launch/checkpoint/run_changes.h"
#include "launch/preflight/preflight.h"
#include "launch/report/number_text.h"
#include "launch/run/rank_trainer.h"
#include "launch/run/run_paths.h"
#include "parallel/checkpoint/load/resume.h"
#include "runtime/comm/agreed_end.h"
#include "runtime/data/tokenizer_kind.h"
#include "runtime/io/digest/file_digest.h"
#include "runtime/io/files/durable_file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

std::string text(int64_t bytes) { return short_bytes(static_cast<double>(bytes)); }

std::string option_in(const TextMap& options, const std::string& key) {
  const auto found = options.find(key);
  return found == options.end() ? "" : found->second;
}

bool is_step(const std::string& resume) {
  return !resume.empty() && resume.size() < 19 &&
         std::ranges::all_of(resume, [](unsigned char c) { return std::isdigit(c) != 0; });
}

}  // namespace

void Trainer::count_restart() {
  if (!config_.checkpoint.is_on() || !config_.resumes()) return;
  together(world_, [&] {
    if (!is_main()) return;
    const std::string directory = wanted_directory(config_).string();
    const std::string checkpoints = checkpoints_path_of(config_, directory);
    counts_restarts(config_) ? launch::count_restart(directory, checkpoints) : forget_restarts(checkpoints);
  });
}

void Trainer::find_teacher() {
  if (!config_.distill) return;
  together(job_.all(), [&] {
    found_teacher_ = launch::find_teacher(config_, world_.size(), config_.model.vocab_size);
    if (is_main()) check_tokenizer(*found_teacher_, data_);
    if (found_teacher_->tokens) expect_samples(*found_teacher_, config_, data_, digest_of_data());
    config_.distill.memory = memory_of(*found_teacher_, config_);
  });
}

void Trainer::claim_directory() {
  together(world_, [&] {
    if (!is_main()) return;
    const fs::path wanted = wanted_directory(config_);
    run_path_ = (config_.resumes() ? take_run_directory(wanted) : create_run_directory(wanted)).string();
    lock_.emplace(run_path_);
    FileCalls calls;
    const fs::path parent = fs::path(run_path_).parent_path();
    sync_directory(calls, parent.empty() ? "." : parent.string());
    if (!config_.checkpoint.dir.empty()) {
      fs::create_directories(config_.checkpoint.dir);
      checkpoints_lock_.emplace(config_.checkpoint.dir);
    }
    set_log(fs::absolute(fs::path(run_path_) / "log.txt").string());
  });
  share_log();
  if (!is_main()) run_path_ = fs::path(log_path_).parent_path().string();
}

std::string Trainer::checkpoints_path() const { return checkpoints_path_of(config_, run_path_); }

TextMap Trainer::run_facts() const {
  TextMap facts = job_.options;
  facts["model.vocab"] = fmt::to_string(data_.vocab_size);
  facts.merge(TextMap(identity_));
  return facts;
}

bool Trainer::starts_fresh() {
  if (config_.run.resume != "auto") return !config_.resumes();
  run_path_ = wanted_directory(config_).string();
  return agreed_steps(world_, checkpoints_path()).empty();
}

std::string Trainer::digest_of_data() const {
  const std::string& file = config_.data.text.empty() ? config_.data.tokens : config_.data.text;
  std::error_code error;
  return is_main() && fs::is_regular_file(file, error) ? to_string(digest_file(file)) : "";
}

// Known to the first rank, which compares and saves them.
void Trainer::identify_data() {
  if (!is_main()) return;
  if (const std::string digest = digest_of_data(); !digest.empty()) identity_["identity.data"] = digest;
  if (data_.fingerprint != 0) identity_["identity.tokenizer"] = fmt::format("{:016x}", data_.fingerprint);
}

void Trainer::open_checkpoints() {
  if (!config_.checkpoint.is_on() && !config_.resumes()) return;
  checkpoints_.emplace(config_.checkpoint, world_, ctx_.device(), checkpoints_path());
  together(world_, [&] {
    if (is_main()) remove_unfinished(checkpoints_->calls(), checkpoints_->directory());
  });
}

void Trainer::resume() {
  if (!config_.resumes()) return;
  const std::string& from = config_.run.resume;
  const std::string& directory = checkpoints_->directory();
  if (from == "auto") return resume_newest();
  std::string path = from;
  if (from == "must" || is_step(from)) {
    const std::vector<int64_t> steps = agreed_steps(world_, directory);
    const int64_t step = from != "must" ? std::atoll(from.c_str()) : steps.empty() ? -1 : steps.front();
    if (std::ranges::find(steps, step) == steps.end()) {
      throw AgreedEnd(ExitCode::checkpoint,
                      fmt::format("--resume {}: {}{}", from,
                                  steps.empty() ? "there is no checkpoint in " + directory
                                                : fmt::format("{} has checkpoints of the steps ", directory),
                                  fmt::join(steps, ", ")));
    }
    path = directory + "/" + checkpoint_name(step);
  }
  try {
    const Manifest manifest = read_manifest_together(world_, path);
    take_checkpoint(path, manifest);
    continue_from(path, manifest.state);
  } catch (const AgreedEnd&) {
    throw;
  } catch (const UserError& error) {
    throw AgreedEnd(error.code(), fmt::format("--resume {}: {}", from, error.what()));
  }
}

void Trainer::resume_newest() {
  const std::string& directory = checkpoints_->directory();
  std::vector<std::string> warnings;
  const std::vector<int64_t> steps = agreed_steps(world_, directory);
  const auto resumed = load_newest(
      world_, directory, steps,
      [&](const std::string& path, const Manifest& manifest) { take_checkpoint(path, manifest); }, warnings);
  for (const std::string& warning : warnings) start_notes_.push_back("warning: " + warning);
  if (resumed) {
    resumes_before_ = resumed->resumes_before;
    return continue_from(resumed->path, resumed->manifest.state);
  }
  if (!steps.empty()) {
    throw AgreedEnd(ExitCode::checkpoint, fmt::format("none of the checkpoints in {} can be loaded:\n"
                                                      "  {}\n"
                                                      "  a new run needs another --run.dir",
                                                      directory, fmt::join(warnings, "\n  ")));
  }
  start_notes_.push_back(
      fmt::format("--resume auto: there is no checkpoint in {}: a new run begins", directory));
}

void Trainer::take_checkpoint(const std::string& path, const Manifest& manifest) {
  RunChanges changes;
  together(world_, [&] {
    if (!is_main()) return;
    changes = compare_runs(manifest.state.config, run_facts());
    if (manifest.state.step > config_.train.steps) {
      changes.refused.push_back(fmt::format("train.steps: it has done {}, and {} are asked for",
                                            manifest.state.step, config_.train.steps));
    }
    const int64_t stop = config_.train.stop_after;
    if (stop > 0 && manifest.state.step >= stop) {
      changes.refused.push_back(
          fmt::format("train.stop-after {}: step {} is already done", stop, manifest.state.step));
    }
    if (changes.refused.empty()) return;
    throw_usage(
        "{} belongs to a different training run:\n"
        "  {}\n"
        "  use the options it was trained with, or start a new run from its weights: --init-from {}",
        path, fmt::join(changes.refused, "\n  "), path);
  });
  const auto differs = [&](const char* key) {
    return option_in(manifest.state.config, key) != option_in(job_.options, key);
  };
  // What has masks, and whether there are any.
  const auto differs_in_masks = [&](const char* key) {
    return manifest.state.config.contains(key) ? differs(key) : static_cast<bool>(config_.prune);
  };
  const bool is_other = differs("optimizer.kind") || differs("optimizer.rules") ||
                        differs_in_masks("prune.sparsity") || differs_in_masks("prune.pattern") ||
                        differs_in_masks("prune.unit") || differs_in_masks("prune.keep-zeros");
  const std::vector<std::string> fresh = session_->load_checkpoint(
      path, manifest, is_other ? LoadedState::all_but_new_optimizer : LoadedState::all);
  resume_notes_.clear();
  check_proof(path, manifest, is_other);
  for (const std::string& change : changes.passed) resume_notes_.push_back("changed: " + change);
  for (const std::string& state : fresh)
    resume_notes_.push_back("starting from zero: optimizer state " + state);
}

// What was loaded is what was saved, element by element, wherever it went.
void Trainer::check_proof(const std::string& path, const Manifest& manifest, bool is_other_state) {
  const auto same = [&](const char* key) {
    return option_in(manifest.state.config, key) == option_in(job_.options, key);
  };
  if (is_other_state || !same("train.precision") || !same("train.master")) return;
  const ProofHash proof = trireme::sum_over_ranks(world_, proof_of(ctx_, session_->state_slices()));
  if (proof != manifest.proof) {
    throw_user(ExitCode::checkpoint, "{}: its state has proof hash {}, the loaded state {}", path,
               to_string(manifest.proof), to_string(proof));
  }
  resume_notes_.push_back(fmt::format("proof hash {} of the loaded state matches", to_string(proof)));
}

void Trainer::continue_from(const std::string& path, const TrainingState& state) {
  resumed_step_ = steps_done_ = state.step;
  tokens_seen_ = state.tokens;
  samples_seen_ = state.data.epoch * reader_->order().samples_per_epoch() + state.data.sample;
  checkpoints_->continue_from(path, state);
  if (state.loss_scaler) {
    LossScalerState scaler = *state.loss_scaler;
    if (option_in(state.config, "train.loss-scale") != option_in(job_.options, "train.loss-scale")) {
      scaler.scale = loss_scaler_.scale();
      scaler.clean_steps = scaler.skips_in_a_row = 0;
    }
    loss_scaler_.restore(scaler);
  }
  for (const auto& [name, score] : {std::pair("loss", &loss_z_), std::pair("grad_norm", &grad_norm_z_)}) {
    const auto found = state.z_scores.find(name);
    if (found != state.z_scores.end())
      score->restore({found->second.count, found->second.mean, found->second.variance});
  }
  together(world_, [&] {
    if (!is_main()) return;
    remove_finished_mark(run_path_);
    for (const int64_t step : checkpoint_steps(checkpoints_->directory())) {
      if (step <= state.step) continue;
      const std::string aside = set_aside(checkpoints_->calls(), checkpoints_->directory(), step);
      start_notes_.push_back(fmt::format("the later checkpoint of step {} was renamed to {}", step, aside));
    }
  });
  start_notes_.push_back(fmt::format("resumed from {} after step {}", path, state.step));
  start_notes_.insert(start_notes_.end(), resume_notes_.begin(), resume_notes_.end());
}

// A note that cannot be written is no reason not to train.
void Trainer::note_resumes(int64_t number) {
  if (!is_main()) return;
  try {
    trireme::note_resumes(checkpoints_->calls(), checkpoints_->directory(), *resumed_step_, number);
  } catch (const Error& error) {
    tell(fmt::format("warning: {}", error.what()));
  }
}

void Trainer::check_checkpoint_room() {
  if (!checkpoints_ || !config_.checkpoint.is_on()) return;
  double bytes = 0;
  for (const SliceSource& source : session_->state_slices())
    bytes += static_cast<double>(source.slice.bytes());
  const auto each = static_cast<int64_t>(sum_over_ranks(bytes));
  together(world_, [&] {
    if (!is_main()) return;
    const auto there = std::ssize(checkpoint_steps(checkpoints_->directory()));
    const int64_t most = config_.checkpoint.keep + 1 + (config_.checkpoint.best ? 1 : 0);
    const int64_t needed = each * std::max<int64_t>(1, most - there);
    start_notes_.push_back(fmt::format("checkpoints of {} each in {}, at most {} at a time: {}", text(each),
                                       checkpoints_->directory(), most, text(each * most)));
    std::error_code error;
    const auto space = fs::space(checkpoints_->directory(), error);
    const int64_t weights = model_file_bytes(config_.model);
    if (error || space.available >= static_cast<uint64_t>(needed + weights)) return;
    throw_environment(
        "{}: No space left on device: checkpoints need up to {} and the weights {}, and there is {} "
        "left; free some, keep fewer (--checkpoint.keep {}), or use another --checkpoint.dir",
        checkpoints_->directory(), text(needed), text(weights), text(static_cast<int64_t>(space.available)),
        config_.checkpoint.keep);
  });
}

}  // namespace trireme::launch
