#include "launch/run/teacher_ranks.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "launch/checkpoint/agreed.h"
#include "launch/config/attention_choice.h"
#include "launch/preflight/preflight.h"
#include "launch/process/stop_request.h"
#include "launch/report/number_text.h"
#include "launch/run/rank_trainer.h"
#include "launch/run/run_teacher.h"
#include "launch/run/sample_orders.h"
#include "models/distill/serve_teacher.h"
#include "models/formats/open_weights.h"
#include "models/formats/trained_codes.h"
#include "runtime/comm/agreed_end.h"

namespace trireme::launch {

namespace {

void expect_room(const FoundTeacher& files, const RunConfig& config, const Job& job) {
  const AvailableMemory available = available_memory(job.device);
  const int num_ranks = job.device.type == DeviceType::cpu ? std::min(job.local_size, files.ranks) : 1;
  const int64_t needed = memory_of_own_rank(files, config) * num_ranks;
  if (available.bytes == 0 || !config.run.check_memory || needed <= available.bytes) return;
  throw_environment(
      "{} of the teacher {} predicted to need {}, but {} has {} left: give it more ranks (--distill.ranks, "
      "--distill.tensor, --distill.pipeline), or smaller weights (--distill.weights)\n"
      "  --run.check-memory off starts the run anyway",
      num_ranks == 1 ? "the rank here" : fmt::format("the {} ranks here", num_ranks),
      num_ranks == 1 ? "is" : "are", short_bytes(static_cast<double>(needed)), available.of,
      short_bytes(static_cast<double>(available.bytes)));
}

/// One of the teacher's ranks, from the student's begin to its end.
TeacherEnd follow(const RunConfig& given, const Job& job, Communicator& group) {
  if (const auto end = await_student(*job.world, group)) return *end;
  RunConfig config = given;
  Context ctx(job.device, threads_of_rank(config, job), choose_op_settings(config.run, job.device));
  if (job.world->recorder() != nullptr) ctx.set_recorder(job.world->recorder());
  const TrainingData data = load_training_data(ctx, *job.world, config.data, config.model.vocab_size);
  config.model.vocab_size = data.vocab_size;
  const BatchReader reader(data.train, training_order(config, data), data.vocab_size, data.end_of_text);
  std::optional<FoundTeacher> files;
  together(*job.world, [&] { files = find_teacher(config, group.size(), data.vocab_size); });
  expect_room(*files, config, job);
  const auto source =
      trained_codes(open_weights(find_weights(files->path), files->model), files->model.quantization);
  InferenceModel model(ctx, group, *source, files->model, files->options);
  const DistillBatches batches = distill_batches(config, reader);
  const TeacherRounds passes(model, batches, read_samples(reader));
  const StateRoutes routes(ctx, *job.world, teacher_place(model.parallel()));
  StopRequest::defer();
  const TeacherEnd end = serve_teacher(ctx, *job.world, group, routes, passes, batches);
  if (ctx.recorder() != nullptr) ctx.recorder()->enter(Phase::teardown);
  return end;
}

}  // namespace

void train_beside_teacher(const RunConfig& config, const Job& job,
                          const std::function<void(const Job& student)>& train) {
  Communicator& world = *job.world;
  const int first = world.size() - config.distill.ranks;
  const bool is_teachers = world.rank() >= first;
  const auto group = world.split(is_teachers ? 1 : 0, world.rank(), is_teachers ? "teacher" : "student");
  if (is_teachers) {
    const TeacherEnd end = follow(config, job, *group);
    if (end.code != ExitCode::ok) throw AgreedEnd(end.code, end.reason);
    return;
  }
  std::optional<TeacherOrders> orders;
  if (world.rank() == 0) orders.emplace(world, first);
  Job student = job;
  student.world = group.get();
  student.all_ranks = &world;
  student.orders = orders ? &*orders : nullptr;
  try {
    train(student);
  } catch (const AgreedEnd& end) {
    if (orders) orders->end(end.code(), end.what());
    throw;
  }
  if (orders) orders->end(ExitCode::ok, "");
}

}  // namespace trireme::launch
