#include "launch/run/found_teacher.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include <fmt/ranges.h>

#include "launch/config/complete_config.h"
#include "launch/config/distill_errors.h"
#include "launch/generate/model_files.h"
#include "launch/report/banner.h"
#include "launch/report/number_text.h"
#include "launch/report/visible_text.h"
#include "models/config/validate.h"
#include "models/cost/model_size.h"
#include "models/cost/teacher_memory.h"
#include "models/formats/open_weights.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

std::optional<ops::PackedSpec> packed_spec(const std::string& weights) {
  constexpr int64_t kGroup = 32;
  if (weights == "f32") return ops::PackedSpec{ops::PackedFormat::f32};
  if (weights == "bf16") return ops::PackedSpec{ops::PackedFormat::bf16};
  if (weights == "int8") return ops::PackedSpec{.format = ops::PackedFormat::int8, .group = kGroup};
  if (weights == "int4") return ops::PackedSpec{.format = ops::PackedFormat::int4, .group = kGroup};
  if (weights == "fp8") return ops::PackedSpec{ops::PackedFormat::fp8};
  return std::nullopt;
}

/// All of one model: the file, or those of its folder.
int64_t bytes_of_files(const std::string& path) {
  std::error_code error;
  if (fs::is_regular_file(path, error)) return static_cast<int64_t>(fs::file_size(path, error));
  int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (entry.path().extension() == ".safetensors" && entry.is_regular_file(error))
      bytes += static_cast<int64_t>(entry.file_size(error));
  }
  return bytes;
}

double bytes_per_weight(const std::string& path, const ModelConfig& model, const InferenceOptions& options) {
  const auto computed = static_cast<double>(size_of(options.compute_type));
  if (options.weights) {
    switch (options.weights->format) {
      case ops::PackedFormat::f32:
        return 4;
      case ops::PackedFormat::bf16:
        return 2;
      case ops::PackedFormat::int4:
        return 0.5625;
      default:
        return 1.0625;
    }
  }
  const WeightPlace place = find_weights(path);
  const auto bytes = static_cast<double>(bytes_of_files(place.path));
  const auto count = static_cast<double>(size_of(model).parameters);
  return bytes == 0 ? computed : std::min(computed, bytes / count);
}

/// Errors of a layout name its options as the student's.
std::string with_own_names(std::string error) {
  constexpr std::string_view kTheirs = "parallel.", kOwn = "distill.";
  for (size_t at = 0; (at = error.find(kTheirs, at)) != std::string::npos; at += kOwn.size())
    error.replace(at, kTheirs.size(), kOwn);
  return error;
}

/// How two tokenizers differ in what a model is told of a text; empty: in nothing. Files of other programs
/// may have one tokenizer in several forms, so that what they do counts.
std::string tokenizer_difference(const TrainingData& data, const Tokenizer& teacher) {
  if (data.fingerprint == teacher.fingerprint()) return "";
  const std::string fingerprints =
      fmt::format("their fingerprints differ ({:016x} and {:016x})", teacher.fingerprint(), data.fingerprint);
  if (!data.tokenizer) return fingerprints;
  const Tokenizer& student = *data.tokenizer;
  const auto text_of = [](const Tokenizer& tokenizer, int32_t id) {
    return tokenizer.decode(std::span(&id, 1));
  };
  const int64_t common = std::min(teacher.vocab_size(), student.vocab_size());
  for (int64_t id = 0; id < common; ++id) {
    const std::string a = text_of(teacher, static_cast<int32_t>(id)),
                      b = text_of(student, static_cast<int32_t>(id));
    if (a != b) return fmt::format("its token {} is {}, and theirs {}", id, visible(a), visible(b));
  }
  constexpr int64_t kProbe = 16384;
  std::vector<int32_t> ids(static_cast<size_t>(std::min(kProbe, data.train->num_tokens())));
  data.train->read(0, std::ssize(ids), ids.data());
  std::erase_if(ids, [&](int32_t id) { return id >= common || student.is_special(id); });
  const std::string text = student.decode(ids);
  const auto encoded = [&](const Tokenizer& tokenizer) -> std::vector<int32_t> {
    try {
      return tokenizer.encode(text);
    } catch (const UserError&) {
      return {-1};
    }
  };
  return encoded(teacher) == encoded(student) ? "" : "they cut the text of the data into other tokens";
}

TeacherInputs memory_inputs_of(const FoundTeacher& teacher, const RunConfig& config) {
  const TrainConfig& train = config.train;
  const int64_t vocab = std::max<int64_t>(known_vocab_size(config), 1);
  const int64_t rows = train.micro_batch * train.seq_len / config.parallel.context;
  const int64_t columns = (vocab + config.parallel.tensor - 1) / config.parallel.tensor;
  TeacherInputs in;
  in.model = teacher.model;
  in.plan = teacher.options.plan;
  in.precision = config.distill.precision;
  in.bytes_per_weight = teacher.bytes_per_weight;
  in.is_here = config.distill.ranks == 0;
  in.micro_batch = train.micro_batch;
  in.seq_len = train.seq_len;
  in.student = config.parallel;
  in.student_vocab = vocab;
  in.student_precision = train.precision;
  in.micro_batches = config.accumulation();
  in.logit_rows =
      config.loss.rows_at_once(rows, columns * static_cast<int64_t>(size_of(train.precision)), true);
  return in;
}

/// Ids and probabilities of the micro-batches of a step.
TeacherMemory memory_of_tokens(const TeacherCode& code, const RunConfig& config) {
  constexpr int64_t kBytes = 8;
  const int64_t rows = config.train.micro_batch * config.train.seq_len / config.parallel.context;
  return {.weights = 0, .activations = config.accumulation() * rows * code.width() * kBytes};
}

/// Of tokens that a teacher has written: what they are is said there, and no model is run.
FoundTeacher find_tokens(const RunConfig& config) {
  const DistillChoice& distill = config.distill;
  FoundTeacher teacher;
  teacher.path = distill.teacher;
  auto files = std::make_shared<TeacherFiles>(distill.teacher);
  const TeacherDescription& description = files->description();
  std::vector<std::string> errors;
  const auto refuse = [&](bool is_given, const char* name) {
    if (is_given)
      errors.push_back(fmt::format("distill.{}: {} has a teacher's tokens, and no model: leave it out", name,
                                   distill.teacher));
  };
  refuse(distill.ranks > 0, "ranks");
  refuse(distill.tensor > 1, "tensor");
  refuse(distill.pipeline > 1, "pipeline");
  refuse(distill.expert > 1, "expert");
  refuse(!distill.weights.empty(), "weights");
  refuse(distill.loss.hidden_weight > 0, "hidden-weight");
  refuse(distill.loss.tokens != TeacherTokens::all, "tokens");
  DistillConfig loss = distill.loss;
  loss.tokens = description.code.kind;
  loss.num_tokens = description.code.num_tokens;
  for (const std::string& error : distill_errors(loss, config.loss.label_smoothing))
    errors.push_back(fmt::format("distillation by the tokens of {}: {}", distill.teacher, error));
  if (!errors.empty()) throw_usage("{}", fmt::join(errors, "\n"));
  teacher.common_vocab = description.code.vocab_size;
  teacher.tokens = std::move(files);
  return teacher;
}

}  // namespace

FoundTeacher find_teacher(const RunConfig& config, int student_ranks, int64_t student_vocab) {
  const DistillChoice& distill = config.distill;
  if (TeacherFiles::are_at(distill.teacher)) return find_tokens(config);
  const ModelFiles files = find_model_files(distill.teacher, "");
  FoundTeacher teacher;
  teacher.path = files.path;
  teacher.model = files.config;
  teacher.ranks = distill.ranks > 0 ? distill.ranks : student_ranks;
  teacher.common_vocab = std::min(student_vocab, files.config.vocab_size);
  InferenceOptions& options = teacher.options;
  options.plan = teacher_plan(distill, teacher.ranks);
  options.compute_type = distill.precision;
  options.weights = packed_spec(distill.weights);
  options.activations = ops::Activations::exact;
  options.max_seq_len = config.train.seq_len;
  options.without_head = true;
  std::vector<std::string> errors;
  if (config.train.seq_len > files.config.max_positions) {
    errors.push_back(fmt::format(
        "train.seq-len {}: the teacher {} has {} positions; use at most so many, or another teacher",
        config.train.seq_len, distill.teacher, files.config.max_positions));
  }
  if (distill.expert > 1 && files.config.moe.num_experts == 0)
    errors.push_back(fmt::format("distill.expert {}: the teacher {} has no experts to divide; use 1",
                                 distill.expert, distill.teacher));
  if (distill.loss.hidden_weight > 0 && files.config.hidden_size != config.model.hidden_size) {
    errors.push_back(fmt::format(
        "distill.hidden-weight {}: states of the teacher have {} numbers, and the student's {}; it "
        "needs a student as wide as its teacher: leave it out",
        distill.loss.hidden_weight, files.config.hidden_size, config.model.hidden_size));
  }
  for (std::string& error : layout_errors(files.config, options.plan, {}))
    errors.push_back(fmt::format("of the teacher: {}", with_own_names(std::move(error))));
  if (!errors.empty()) throw_usage("{}", fmt::join(errors, "\n"));
  teacher.bytes_per_weight = bytes_per_weight(distill.teacher, files.config, options);
  return teacher;
}

void expect_samples(FoundTeacher& teacher, const RunConfig& config, const TrainingData& data,
                    const std::string& data_digest) {
  StudentData student;
  student.vocab_size = data.vocab_size;
  if (data.fingerprint != 0) student.tokenizer = fmt::format("{:016x}", data.fingerprint);
  student.samples = {.data = data_digest,
                     .data_tokens = data.train->num_tokens(),
                     .seq_len = config.train.seq_len,
                     .order_seed = config.train.seed,
                     .end_of_text = data.end_of_text,
                     .num_samples = config.train.steps * config.train.global_batch};
  student.temperature = config.distill.loss.temperature;
  teacher.tokens->expect(student);
}

void check_tokenizer(FoundTeacher& teacher, const TrainingData& data) {
  if (teacher.tokens) return;
  const ModelFiles files = find_model_files(teacher.path, "");
  const std::unique_ptr<Tokenizer> own = tokenizer_of(files);
  if (!own) {
    teacher.tokenizer_note = "it has no tokenizer beside it: its ids are taken to be the data's";
  } else if (data.fingerprint == 0) {
    teacher.tokenizer_note = "the tokenizer of the data is not known, and taken to be the teacher's";
  } else if (const std::string difference = tokenizer_difference(data, *own); !difference.empty()) {
    throw_bad_input(
        "the teacher {} has the tokenizer {}, and the data was made with another: {}; a teacher needs "
        "the student's tokenizer: use --data.tokenizer {}, or another teacher",
        teacher.path, files.tokenizer, difference, files.tokenizer);
  }
}

TeacherMemory memory_of(const FoundTeacher& teacher, const RunConfig& config) {
  if (teacher.tokens) return memory_of_tokens(teacher.tokens->description().code, config);
  return teacher_memory(memory_inputs_of(teacher, config));
}

int64_t memory_of_own_rank(const FoundTeacher& teacher, const RunConfig& config) {
  return own_rank_bytes(memory_inputs_of(teacher, config));
}

}  // namespace trireme::launch
