#include <fmt/format.h>

#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"
#include "runtime/data/tokenizer_kind.h"

namespace trireme {

namespace {

using namespace option_values;

std::string needs_validation_data(const RunConfig& config) {
  if (!config.data.valid_tokens.empty() || config.data.valid_fraction > 0) return "";
  return "there is no validation data: give --data.valid-fraction or --data.valid-tokens";
}

std::string when(bool no_effect, const char* reason) { return no_effect ? reason : ""; }

}  // namespace

std::vector<Option> data_options() {
  const std::string section = "data";
  return {
      {section, "text", "",
       text(
           [](auto& c) -> auto& { return c.data.text; }, "FILE"),
       "text or JSONL to tokenize and train on", "none",
       [](const RunConfig& c) {
         return when(!c.data.tokens.empty(), "--data.tokens is given too: train on one of them");
       }},
      {section, "tokens", "",
       text(
           [](auto& c) -> auto& { return c.data.tokens; }, "FILE"),
       "token file to train on (Trireme, llm.c, nanoGPT or Megatron .bin)", "none"},
      {section, "format", "",
       choice<std::string>([](auto& c) -> auto& { return c.data.format; },
                           {{"auto", "auto"},
                            {"text", "text"},
                            {"jsonl", "jsonl"},
                            {"trireme", "trireme"},
                            {"llmc", "llmc"},
                            {"nanogpt", "nanogpt"},
                            {"megatron", "megatron"}}),
       "of --data.text (text, jsonl) or of the token files; auto: known by their content", ""},
      {section, "tokenizer", "",
       text(
           [](auto& c) -> auto& { return c.data.tokenizer; }, "byte|char|bpe|PATH"),
       "bytes, the text's characters, byte-level BPE trained on the text, or a tokenizer's file", ""},
      {section, "end-of-text", "",
       text(
           [](auto& c) -> auto& { return c.data.end_of_text; }, "TOKEN"),
       "token of the tokenizer's file that stands between documents", "known by its name",
       [](const RunConfig& c) {
         return when(tokenizer_kind(c.data.tokenizer) != TokenizerKind::file,
                     "it belongs to a --data.tokenizer from a file");
       }},
      {section, "bpe-vocab", "",
       whole(
           [](auto& c) -> auto& { return c.data.bpe_vocab; }, 257, 1 << 24),
       "size of the BPE vocabulary trained here", "",
       [](const RunConfig& c) {
         return when(tokenizer_kind(c.data.tokenizer) != TokenizerKind::bpe,
                     "it belongs to --data.tokenizer bpe");
       }},
      {section, "valid-tokens", "",
       text(
           [](auto& c) -> auto& { return c.data.valid_tokens; }, "FILE"),
       "token file to evaluate on", "the last valid-fraction of the data"},
      {section, "valid-fraction", "",
       real(
           [](auto& c) -> auto& { return c.data.valid_fraction; }, 0, 1),
       "last part of the data, kept for evaluation; 0: none", "",
       [](const RunConfig& c) {
         return when(!c.data.valid_tokens.empty(), "--data.valid-tokens names the validation data");
       }},
      {section, "documents", "", named<DocumentsKind>([](auto& c) -> auto& { return c.data.documents; }),
       "what a token of a packed sample attends to: attend, the documents before it too; separate, its own "
       "alone "
       "(they end at the end-of-text token)",
       ""},
      {section, "prefetch", "",
       whole(
           [](auto& c) -> auto& { return c.data.prefetch; }, 0, 1024),
       "steps whose batches a thread reads and copies in advance; 0: each as it is needed", ""},
  };
}

std::vector<Option> train_options() {
  const std::string section = "train";
  return {
      {section, "steps", "",
       whole(
           [](auto& c) -> auto& { return c.train.steps; }, 1),
       "optimizer steps", ""},
      {section, "seq-len", "",
       whole(
           [](auto& c) -> auto& { return c.train.seq_len; }, 0, 1 << 28),
       "tokens a sample", "model.max-positions; stretched rotary models: rotary-original-positions"},
      {section, "micro-batch", "",
       whole(
           [](auto& c) -> auto& { return c.train.micro_batch; }, 1, 1 << 24),
       "samples that go through a rank at once", ""},
      {section, "global-batch", "",
       whole(
           [](auto& c) -> auto& { return c.train.global_batch; }, 0, int64_t{1} << 32),
       "samples an optimizer step = micro-batch x accumulation x data ranks", "micro-batch x data ranks"},
      {section, "seed", "",
       whole(
           [](auto& c) -> auto& { return c.train.seed; }, 0),
       "of initial weights, the order of samples and jitter", ""},
      {section, "recompute", "",
       choice<RecomputeMode>([](auto& c) -> auto& { return c.train.recomputation.mode; },
                             {{"none", RecomputeMode::none},
                              {"selective", RecomputeMode::selective},
                              {"full", RecomputeMode::full}}),
       "activations made again in the backward pass: attention's core, or whole blocks", ""},
      {section, "recompute-every", "",
       whole(
           [](auto& c) -> auto& { return c.train.recomputation.every; }, 1),
       "every N-th block: 0, N, 2N, ...", "",
       [](const RunConfig& c) {
         return when(c.train.recomputation.mode != RecomputeMode::full,
                     "it belongs to --train.recompute full");
       }},
      {section, "stop-after", "",
       whole(
           [](auto& c) -> auto& { return c.train.stop_after; }, 0),
       "save after this step and end with exit code 75, to be resumed; 0: no", "",
       [](const RunConfig& c) -> std::string {
         if (c.train.stop_after == 0) return "";
         if (!c.checkpoint.is_on()) return "--checkpoint.keep is 0: there would be nothing to resume";
         return c.train.stop_after < c.train.steps
                    ? ""
                    : fmt::format("the run ends after --train.steps {} anyhow", c.train.steps);
       }},
      {section, "eval-every", "",
       whole(
           [](auto& c) -> auto& { return c.train.eval_every; }, 0),
       "steps between evaluations; 0: only at start and end", "", needs_validation_data},
      {section, "eval-batches", "",
       whole(
           [](auto& c) -> auto& { return c.train.eval_batches; }, 0),
       "global batches an evaluation; 0: all validation data", "", needs_validation_data},
      {section, "log-every", "",
       whole(
           [](auto& c) -> auto& { return c.train.log_every; }, 1),
       "steps between printed lines; metrics.jsonl has every step", ""},
      {section, "sample-tokens", "",
       whole(
           [](auto& c) -> auto& { return c.train.sample_tokens; }, 0),
       "tokens of text generated at the end; 0: none", ""},
      {section, "sample-prompt", "",
       text(
           [](auto& c) -> auto& { return c.train.sample_prompt; }, "TEXT"),
       "what the generated text goes on from", "",
       [](const RunConfig& c) { return when(c.train.sample_tokens == 0, "--train.sample-tokens is 0"); }},
  };
}

std::vector<Option> optimizer_options() {
  const std::string section = "optimizer";
  using Kind = LrScheduleKind;
  std::vector<Option> options = {
      {section, "kind", "",
       choice<OptimizerKind>([](auto& c) -> auto& { return c.optimizer.kind; },
                             {{"adamw", OptimizerKind::adamw}, {"muon", OptimizerKind::muon}}),
       "muon: for the linear layers' matrices; AdamW updates all else", ""},
      {section, "lr", "",
       real(
           [](auto& c) -> auto& { return c.optimizer.lr; }, 0),
       "learning rate after warm-up", ""},
      {section, "schedule", "",
       choice<Kind>([](auto& c) -> auto& { return c.optimizer.schedule; },
                    {{"cosine", Kind::cosine},
                     {"linear", Kind::linear},
                     {"constant", Kind::constant},
                     {"wsd", Kind::wsd}}),
       "how the rate falls after warm-up; wsd: it stays, then decays", ""},
      {section, "min-lr", "",
       real(
           [](auto& c) -> auto& { return c.optimizer.min_lr; }, 0),
       "rate at which decay ends, one step after the last", "",
       [](const RunConfig& c) {
         return when(c.optimizer.schedule == Kind::constant, "--optimizer.schedule constant does not decay");
       }},
      {section, "warmup", "",
       whole(
           [](auto& c) -> auto& { return c.optimizer.warmup; }, 0),
       "steps of linear warm-up; fewer than train.steps", ""},
      {section, "decay-fraction", "",
       real(
           [](auto& c) -> auto& { return c.optimizer.decay_fraction; }, 0, 1),
       "wsd: share of the steps, at the end, that decays", "",
       [](const RunConfig& c) {
         return when(c.optimizer.schedule != Kind::wsd, "it belongs to --optimizer.schedule wsd");
       }},
      {section, "weight-decay", "",
       real(
           [](auto& c) -> auto& { return c.optimizer.weight_decay; }, 0),
       "on matrices and embeddings", ""},
      {section, "beta1", "",
       real(
           [](auto& c) -> auto& { return c.optimizer.beta1; }, 0, 1),
       "decay of the first moment", ""},
      {section, "beta2", "",
       real(
           [](auto& c) -> auto& { return c.optimizer.beta2; }, 0, 1),
       "decay of the second moment", ""},
      {section, "eps", "",
       real(
           [](auto& c) -> auto& { return c.optimizer.eps; }, 0),
       "added to the root of the second moment", ""},
      {section, "clip", "",
       real(
           [](auto& c) -> auto& { return c.optimizer.clip; }, 0),
       "largest global gradient norm; 0: no clipping", ""},
  };
  for (Option& option : muon_options()) options.push_back(std::move(option));
  return options;
}

}  // namespace trireme
