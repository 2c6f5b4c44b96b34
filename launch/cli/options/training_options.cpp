#include <fmt/format.h>

#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"
#include "runtime/data/tokenizer_kind.h"

namespace trireme::launch {

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
       "text or JSONL file to tokenize and train on", "none",
       [](const RunConfig& c) {
         return when(!c.data.tokens.empty(), "--data.tokens is given too: train on one of them");
       }},
      {section, "tokens", "",
       text(
           [](auto& c) -> auto& { return c.data.tokens; }, "FILE"),
       "token file to train on (Trireme, llm.c, nanoGPT or Megatron-LM .bin)", "none"},
      {section, "format", "",
       choice<std::string>([](auto& c) -> auto& { return c.data.format; },
                           {{"auto", "auto"},
                            {"text", "text"},
                            {"jsonl", "jsonl"},
                            {"trireme", "trireme"},
                            {"llmc", "llmc"},
                            {"nanogpt", "nanogpt"},
                            {"megatron", "megatron"}}),
       "format of data.text (text, jsonl) or of the token files (the others); auto: detect it "
       "from the content",
       ""},
      {section, "tokenizer", "",
       text(
           [](auto& c) -> auto& { return c.data.tokenizer; }, "byte|char|bpe|PATH"),
       "byte; char: the characters of the text; bpe: byte-level BPE trained on the text; or the "
       "path of a tokenizer file (tokenizer.json, vocab.bpe)",
       ""},
      {section, "end-of-text", "",
       text(
           [](auto& c) -> auto& { return c.data.end_of_text; }, "TOKEN"),
       "end-of-document token of a tokenizer file", "detected by name",
       [](const RunConfig& c) {
         return when(tokenizer_kind(c.data.tokenizer) != TokenizerKind::file,
                     "it belongs to a --data.tokenizer from a file");
       }},
      {section, "bpe-vocab", "",
       whole(
           [](auto& c) -> auto& { return c.data.bpe_vocab; }, 257, 1 << 24),
       "vocabulary size of the BPE tokenizer trained here", "",
       [](const RunConfig& c) {
         return when(tokenizer_kind(c.data.tokenizer) != TokenizerKind::bpe,
                     "it belongs to --data.tokenizer bpe");
       }},
      {section, "valid-tokens", "",
       text(
           [](auto& c) -> auto& { return c.data.valid_tokens; }, "FILE"),
       "token file to evaluate on", "the last data.valid-fraction of the data"},
      {section, "valid-fraction", "",
       real(
           [](auto& c) -> auto& { return c.data.valid_fraction; }, 0, 1),
       "hold out this fraction of the data, at its end, for validation; 0: none", "",
       [](const RunConfig& c) {
         return when(!c.data.valid_tokens.empty(), "--data.valid-tokens names the validation data");
       }},
      {section, "documents", "", named<DocumentsKind>([](auto& c) -> auto& { return c.data.documents; }),
       "attention in packed samples: attend: across document boundaries; separate: within each "
       "document only, with positions that restart there (documents end at the end-of-text token)",
       ""},
      {section, "prefetch", "",
       whole(
           [](auto& c) -> auto& { return c.data.prefetch; }, 0, 1024),
       "read and copy the batches of N steps ahead on a background thread; 0: read each batch "
       "when its step begins",
       ""},
  };
}

std::vector<Option> train_options() {
  const std::string section = "train";
  return {
      {section, "steps", "",
       whole(
           [](auto& c) -> auto& { return c.train.steps; }, 1),
       "number of optimizer steps", ""},
      {section, "seq-len", "",
       whole(
           [](auto& c) -> auto& { return c.train.seq_len; }, 0, 1 << 28),
       "sequence length in tokens", "model.max-positions; with RoPE scaling: rotary-original-positions"},
      {section, "micro-batch", "",
       whole(
           [](auto& c) -> auto& { return c.train.micro_batch; }, 1, 1 << 24),
       "micro-batch size per data-parallel rank, in samples; larger runs faster and takes more "
       "activation memory",
       ""},
      {section, "global-batch", "",
       whole(
           [](auto& c) -> auto& { return c.train.global_batch; }, 0, int64_t{1} << 32),
       "global batch size in samples = train.micro-batch x gradient accumulation steps x "
       "data-parallel degree",
       "micro-batch x data-parallel degree"},
      {section, "seed", "",
       whole(
           [](auto& c) -> auto& { return c.train.seed; }, 0),
       "random seed of initial weights, sample order and router jitter", ""},
      {section, "recompute", "",
       choice<RecomputeMode>([](auto& c) -> auto& { return c.train.recomputation.mode; },
                             {{"none", RecomputeMode::none},
                              {"selective", RecomputeMode::selective},
                              {"full", RecomputeMode::full}}),
       "activation recomputation in the backward pass: selective recomputes core attention, full "
       "whole blocks; saves activation memory for extra compute (full: about one more forward pass)",
       ""},
      {section, "recompute-every", "",
       whole(
           [](auto& c) -> auto& { return c.train.recomputation.every; }, 1),
       "recompute only every N-th block: 0, N, 2N, ...", "",
       [](const RunConfig& c) {
         return when(c.train.recomputation.mode != RecomputeMode::full,
                     "it belongs to --train.recompute full");
       }},
      {section, "stop-after", "",
       whole(
           [](auto& c) -> auto& { return c.train.stop_after; }, 0),
       "save a checkpoint after step N and exit with code 75, to be resumed later; 0: off", "",
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
       "evaluate every N steps; 0: only at the start and at the end", "", needs_validation_data},
      {section, "eval-batches", "",
       whole(
           [](auto& c) -> auto& { return c.train.eval_batches; }, 0),
       "evaluate on N global batches; 0: on all validation data", "", needs_validation_data},
      {section, "log-every", "",
       whole(
           [](auto& c) -> auto& { return c.train.log_every; }, 1),
       "print a line every N steps; metrics.jsonl has every step", ""},
      {section, "sample-tokens", "",
       whole(
           [](auto& c) -> auto& { return c.train.sample_tokens; }, 0),
       "generate N tokens of text after training; 0: none", ""},
      {section, "sample-prompt", "",
       text(
           [](auto& c) -> auto& { return c.train.sample_prompt; }, "TEXT"),
       "prompt of the generated text", "",
       [](const RunConfig& c) { return when(c.train.sample_tokens == 0, "--train.sample-tokens is 0"); }},
  };
}

std::vector<Option> optimizer_options() {
  const std::string section = "optimizer";
  using Kind = LrScheduleKind;
  std::vector<Option> options = {
      {section, "kind", "", named<OptimizerKind>([](auto& c) -> auto& { return c.optimizer.kind; }),
       "adamw; or muon: Muon for the matrices of linear layers, AdamW for all other parameters", ""},
      {section, "lr", "",
       real(
           [](auto& c) -> auto& { return c.optimizer.lr; }, 0),
       "peak learning rate, reached after warm-up", ""},
      {section, "schedule", "",
       choice<Kind>([](auto& c) -> auto& { return c.optimizer.schedule; },
                    {{"cosine", Kind::cosine},
                     {"linear", Kind::linear},
                     {"constant", Kind::constant},
                     {"wsd", Kind::wsd}}),
       "learning-rate decay after warm-up; wsd: constant, then decay in the last steps", ""},
      {section, "min-lr", "",
       real(
           [](auto& c) -> auto& { return c.optimizer.min_lr; }, 0),
       "learning rate at which the decay ends, one step after the last", "",
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
       "wsd: fraction of the steps, at the end, over which the learning rate decays", "",
       [](const RunConfig& c) {
         return when(c.optimizer.schedule != Kind::wsd, "it belongs to --optimizer.schedule wsd");
       }},
      {section, "weight-decay", "",
       real(
           [](auto& c) -> auto& { return c.optimizer.weight_decay; }, 0),
       "decoupled weight decay of matrices and embeddings; norms and biases have none", ""},
      {section, "beta1", "",
       real(
           [](auto& c) -> auto& { return c.optimizer.beta1; }, 0, 1),
       "beta1 of AdamW: decay rate of the first moment", ""},
      {section, "beta2", "",
       real(
           [](auto& c) -> auto& { return c.optimizer.beta2; }, 0, 1),
       "beta2 of AdamW: decay rate of the second moment", ""},
      {section, "eps", "",
       real(
           [](auto& c) -> auto& { return c.optimizer.eps; }, 0),
       "epsilon of AdamW, added to the root of the second moment", ""},
      {section, "clip", "",
       real(
           [](auto& c) -> auto& { return c.optimizer.clip; }, 0),
       "clip gradients to this global norm; 0: off", ""},
  };
  for (Option& option : muon_options()) options.push_back(std::move(option));
  return options;
}

}  // namespace trireme::launch
