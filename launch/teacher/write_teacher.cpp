#include "launch/teacher/write_teacher.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>

#include "launch/checkpoint/agreed.h"
#include "launch/compress/work_line.h"
#include "launch/evaluate/trained_samples.h"
#include "launch/generate/model_files.h"
#include "launch/process/stop_request.h"
#include "launch/report/number_text.h"
#include "launch/report/progress.h"
#include "launch/run/sample_orders.h"
#include "launch/run/training_data.h"
#include "launch/teacher/partial_files.h"
#include "launch/teacher/teacher_passes.h"
#include "models/formats/open_weights.h"
#include "models/inference/inference_model.h"
#include "runtime/base/error.h"
#include "runtime/io/digest/file_digest.h"
#include "runtime/io/json/json_file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int64_t kPlainBytes = 6;  // of an id in 32 bits and a value in 16

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Equal on all ranks but for the line, which rank 0 shows, and the directory, which is its own.
struct Writing {
  Context& ctx;
  Communicator& world;
  const TeacherArguments& arguments;
  ModelFiles files;
  RunConfig run;
  TrainingData data;
  TeacherDescription description;
  PartialFiles partial;
  WorkLine line;
  std::vector<int64_t> missing;  ///< shards

  bool is_first() const { return world.rank() == 0; }
  void say(const std::string& text) {
    if (is_first()) line.note(text);
  }
};

/// Rank 0's text on all ranks.
std::string shared_text(Context& ctx, Communicator& world, std::string text) {
  auto size = static_cast<int64_t>(text.size());
  world.broadcast(ctx.host_stream(), Tensor::borrow(&size, {1}, DType::i64), 0);
  text.resize(static_cast<size_t>(size));
  if (size > 0) world.broadcast(ctx.host_stream(), Tensor::borrow(text.data(), {size}, DType::u8), 0);
  return text;
}

/// What tells the weights from other ones under their name.
std::string weights_of(const std::string& path) {
  std::error_code error;
  uintmax_t bytes = 0;
  int64_t newest = 0;
  const auto add = [&](const fs::path& file) {
    bytes += fs::file_size(file, error);
    newest = std::max<int64_t>(newest, fs::last_write_time(file, error).time_since_epoch().count());
  };
  const fs::path place = find_weights(path).path;
  if (!fs::is_directory(place, error))
    add(place);
  else
    for (const auto& entry : fs::directory_iterator(place, error)) {
      if (entry.is_regular_file(error) && entry.path().extension() != ".lock") add(entry.path());
    }
  return fmt::format("{} bytes, changed at {}", bytes, newest);
}

int64_t seq_len_of(const Writing& w) {
  const int64_t longest = w.files.config.max_positions, asked = w.run.train.seq_len;
  if (asked > longest)
    throw_usage("--train.seq-len {}: {} has positions for {} tokens", asked, w.files.path, longest);
  if (asked > 0) return asked;
  const int64_t trained = trained_samples_of(w.files.path).seq_len;
  return trained > 0 ? std::min(trained, longest) : longest;
}

void load_data(Writing& w) {
  const int64_t vocab_size = w.files.config.vocab_size;
  try {
    w.data = load_training_data(w.ctx, w.world, w.run.data, vocab_size);
  } catch (const UserError& error) {
    const std::string_view words = error.what();
    if (!words.starts_with("--model.vocab")) throw;
    throw_usage(
        "{} has a vocabulary of {} tokens, and the data one of more: name the teacher's tokenizer "
        "(--data.tokenizer PATH)",
        w.files.path, vocab_size);
  }
  together(w.world, [&] {
    if (!w.is_first() || w.data.fingerprint == 0) return;
    const std::unique_ptr<Tokenizer> tokenizer = tokenizer_of(w.files);
    if (tokenizer == nullptr || tokenizer->fingerprint() == w.data.fingerprint) return;
    throw_bad_input(
        "{} has another tokenizer than the data: their fingerprints differ ({:016x} and {:016x}); name the "
        "teacher's (--data.tokenizer {}), or the data that it made",
        w.files.path, tokenizer->fingerprint(), w.data.fingerprint,
        w.files.tokenizer.empty() ? "PATH" : w.files.tokenizer);
  });
}

TeacherDescription describe(const Writing& w, const SampleOrder& order) {
  const TeacherArguments& a = w.arguments;
  TeacherDescription d;
  d.teacher = fs::absolute(a.model.path).lexically_normal().string();
  if (w.data.fingerprint != 0) d.tokenizer = fmt::format("{:016x}", w.data.fingerprint);
  d.code = {a.kind, a.num_tokens, w.files.config.vocab_size};
  d.temperature = a.temperature;
  d.draw_seed = a.draw_seed.value_or(w.run.train.seed);
  const std::string& file = w.run.data.text.empty() ? w.run.data.tokens : w.run.data.text;
  std::error_code error;
  if (fs::is_regular_file(file, error)) d.samples.data = to_string(digest_file(file));
  d.samples.data_tokens = w.data.train->num_tokens();
  d.samples.seq_len = order.seq_len();
  d.samples.order_seed = w.run.train.seed;
  d.samples.end_of_text = w.data.end_of_text;
  d.samples.num_samples = a.samples > 0 ? a.samples : order.samples_per_epoch();
  d.samples_a_shard = std::max<int64_t>(1, a.shard_tokens / order.seq_len());
  return d;
}

/// The description and the shards that are missing, on all ranks.
void open_files(Writing& w, const SampleOrder& order) {
  std::string text;
  together(w.world, [&] {
    if (!w.is_first()) return;
    const TeacherDescription d = describe(w, order);
    w.missing = w.partial.open(d, weights_of(w.files.path), w.arguments.restarts);
    nlohmann::ordered_json json = json_of(d);
    json["missing"] = w.missing;
    text = json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  });
  const nlohmann::json json = nlohmann::json::parse(shared_text(w.ctx, w.world, text));
  w.description = teacher_description_of(json, "the description");
  w.missing = json["missing"].get<std::vector<int64_t>>();
}

FewTokensOptions options_of(const TeacherDescription& d) {
  return {d.code.kind, d.code.num_tokens, d.temperature, d.draw_seed};
}

/// Of a sample, measured by one that is not kept: the second of two passes over the first.
struct Measured {
  double seconds = 0;
  int64_t bytes = 0;
};

Measured measure_sample(Writing& w, TeacherPasses& passes) {
  Measured measured;
  TeacherDescription one = w.description;
  one.samples.num_samples = one.samples_a_shard = 1;
  for (int i = 0; i < 2; ++i) {
    TeacherShard shard(one, 0);
    const auto begin = Clock::now();
    passes.run(0, 1, true, [&](auto ids, auto probabilities) { shard.add(ids, probabilities); });
    measured = {seconds_since(begin), shard.bytes()};
  }
  double most[] = {measured.seconds, static_cast<double>(measured.bytes)};
  w.world.all_reduce(w.ctx.host_stream(), Tensor::borrow(most, {2}, DType::f64), ReduceOp::max);
  return {most[0], static_cast<int64_t>(most[1])};
}

void predict(Writing& w, TeacherPasses& passes, int64_t replicas) {
  const Measured sample = measure_sample(w, passes);
  const TeacherDescription& d = w.description;
  int64_t left = 0;
  for (const int64_t shard : w.missing) left += d.count_of(shard);
  const double bytes = static_cast<double>(sample.bytes * d.samples.num_samples);
  w.say(fmt::format("predicted   about {} ({:.1f} bytes a token of text) and {}", short_bytes(bytes),
                    static_cast<double>(sample.bytes) / static_cast<double>(d.samples.seq_len),
                    short_duration(sample.seconds * static_cast<double>((left + replicas - 1) / replicas))));
  together(w.world, [&] {
    if (!w.is_first()) return;
    std::error_code error;
    const fs::space_info space = fs::space(w.partial.path(), error);
    const double needed = bytes * static_cast<double>(left) / static_cast<double>(d.samples.num_samples);
    if (!error && static_cast<double>(space.available) < needed)
      throw_environment(
          "{} more are needed in {}, and {} are free there: fewer samples (--samples) or tokens "
          "(--tokens), or another disk",
          short_bytes(needed), w.partial.path(), short_bytes(static_cast<double>(space.available)));
  });
}

void end_if_asked(Writing& w) {
  auto signal = static_cast<int64_t>(StopRequest::signal());
  w.world.all_reduce(w.ctx.host_stream(), Tensor::borrow(&signal, {1}, DType::i64), ReduceOp::max);
  if (signal == 0) return;
  throw AgreedEnd(
      ExitCode::resumable,
      fmt::format("ended by {}: the shards that are done are kept in {}; the same command goes on",
                  signal_name(static_cast<int>(signal)), w.partial.path()));
}

/// The replicas take the missing shards in turn, and make as many passes: some over nothing.
void write_shards(Writing& w, TeacherPasses& passes, const ParallelContext& parallel) {
  const TeacherDescription& d = w.description;
  const int64_t replicas = parallel.data().size(), replica = parallel.data().rank();
  const int64_t at_once = std::min(w.run.train.micro_batch, d.samples_a_shard);
  int64_t done = 0, left = 0;
  for (const int64_t shard : w.missing) left += d.count_of(shard);
  w.line.begin("teacher");
  for (int64_t round = 0; round < std::ssize(w.missing); round += replicas) {
    const bool has_one = round + replica < std::ssize(w.missing);
    const int64_t number = has_one ? w.missing[static_cast<size_t>(round + replica)] : w.missing.front();
    TeacherShard shard(d, number);
    for (int64_t at = 0; at < d.samples_a_shard; at += at_once) {
      end_if_asked(w);
      const int64_t count = std::min(at_once, d.count_of(number) - at);
      const bool counts = has_one && count > 0;
      if (counts)
        passes.run(d.first_of(number) + at, count, true,
                   [&](auto ids, auto probabilities) { shard.add(ids, probabilities); });
      else if (parallel.plan().in_lockstep())
        passes.run(d.first_of(number), 1, false, {});
      int64_t made = counts && passes.is_writer() ? count : 0;
      w.world.all_reduce(w.ctx.host_stream(), Tensor::borrow(&made, {1}, DType::i64));
      done += made;
      if (w.is_first()) w.line.show(done, left, "samples");
    }
    if (has_one && passes.is_writer()) shard.write(w.partial.shard_path(number));
  }
  w.line.end();
}

void say_result(Writing& w, double took) {
  together(w.world, [&] {
    if (!w.is_first()) return;
    const TeacherFiles files(w.arguments.out);
    const TeacherDescription& d = files.description();
    const auto tokens = static_cast<double>(d.samples.num_samples * d.samples.seq_len);
    w.line.note(fmt::format(
        "{}: {} of {} tokens, {}, {:.1f} bytes a token of text ({:.0f} as plain ids and "
        "values); took {}",
        w.arguments.out, counted(d.samples.num_samples, "sample"), d.samples.seq_len,
        short_bytes(static_cast<double>(files.bytes())), static_cast<double>(files.bytes()) / tokens,
        static_cast<double>(kPlainBytes * d.code.width()), short_duration(took)));
  });
}

}  // namespace

std::vector<std::string> errors_of(const TeacherArguments& a) {
  std::vector<std::string> errors;
  if (a.out.empty()) errors.emplace_back("--out DIR is missing: where the files are to be");
  if (a.run.data.text.empty() == a.run.data.tokens.empty())
    errors.emplace_back("name the data of the training: --data.text FILE or --data.tokens FILE");
  return errors;
}

void write_teacher(Context& ctx, Communicator& world, const TeacherArguments& arguments, std::FILE* out) {
  const auto begin = Clock::now();
  Writing w{.ctx = ctx,
            .world = world,
            .arguments = arguments,
            .files = {},
            .run = arguments.run,
            .data = {},
            .description = {},
            .partial = PartialFiles(arguments.out),
            .line = WorkLine(out, is_watched(out)),
            .missing = {}};
  together(world, [&] {
    w.files = find_model_files(arguments.model.path, arguments.model.tokenizer);
    w.run.train.seq_len = seq_len_of(w);
  });
  const ModelConfig& config = fitting(w.files.config, arguments.model);
  load_data(w);
  const SampleOrder order = training_order(w.run, w.data);
  open_files(w, order);
  const TeacherDescription& d = w.description;
  w.say(fmt::format("data        {}", w.data.description));
  w.say(fmt::format("samples     {} of {} tokens, {} make an epoch; {} each", grouped(d.samples.num_samples),
                    d.samples.seq_len, grouped(order.samples_per_epoch()),
                    d.code.kind == TeacherTokens::top_k
                        ? fmt::format("the {} likeliest tokens", d.code.num_tokens)
                        : fmt::format("{} drawn tokens", d.code.num_tokens)));
  if (std::ssize(w.missing) < d.num_shards())
    w.say(fmt::format("going on: {} of {} done", d.num_shards() - std::ssize(w.missing),
                      counted(d.num_shards(), "shard")));
  StopRequest::defer();
  if (!w.missing.empty()) {
    InferenceOptions options = arguments.model.model;
    options.max_seq_len = order.seq_len();
    InferenceModel model(ctx, world, w.files.path, config, options);
    check_formats(arguments.model, model.loaded());
    const BatchReader reader(w.data.train, order, config.vocab_size, w.data.end_of_text);
    TeacherPasses passes(ctx, model, reader, options_of(d));
    predict(w, passes, model.parallel().data().size());
    write_shards(w, passes, model.parallel());
  }
  world.barrier(ctx.stream());
  together(world, [&] {
    if (w.is_first()) w.partial.publish(d);
  });
  say_result(w, seconds_since(begin));
}

}  // namespace trireme::launch
