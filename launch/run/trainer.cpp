#include "launch/run/trainer.h"

#include <exception>
#include <functional>
#include <new>
#include <optional>

#include "launch/checkpoint/agreed.h"
#include "launch/checkpoint/finished_run.h"
#include "launch/config/memory_inputs.h"
#include "launch/preflight/memory_advice.h"
#include "launch/process/stop_request.h"
#include "launch/report/files/run_directory.h"
#include "launch/report/number_text.h"
#include "launch/run/end_at_start.h"
#include "launch/run/rank_trainer.h"
#include "launch/run/teacher_ranks.h"
#include "models/cost/memory_estimate.h"
#include "runtime/base/error.h"
#include "runtime/comm/agreed_end.h"
#include "runtime/device/cpu/cpu_device.h"
#include "runtime/device/cuda/cuda_device.h"

namespace trireme::launch {

namespace {

/// A run that is to continue and has nothing left to do: says so.
bool is_finished(const RunConfig& config, const Job& job, std::FILE* out) {
  if (config.run.resume != "auto" && config.run.resume != "must") return false;
  const std::string directory = wanted_directory(config).string();
  int64_t steps = 0;
  together(*job.world, [&] {
    if (job.world->rank() == 0) steps = finished_steps(directory);
  });
  const auto stream = cpu::make_compute_stream();
  job.world->broadcast(*stream, Tensor::borrow(&steps, {1}, DType::i64), 0);
  if (steps < config.train.steps) return false;
  if (job.world->rank() == 0)
    fmt::print(out, "{}: all {} steps are done, there is nothing to do\n", directory, steps);
  return true;
}

}  // namespace

void rethrow_ended(const RunConfig& config, const Job& job,
                   const std::function<std::string(const std::string&)>& ended) {
  try {
    throw;
  } catch (const AgreedEnd&) {
    throw;
  } catch (const OutOfMemory& error) {
    const int64_t capacity =
        job.device.type == DeviceType::cuda ? cuda::device_info(job.device.index).bytes : 0;
    const std::string advice = memory_advice(config, threads_of_rank(config, job), capacity);
    const int64_t predicted = estimate_memory(memory_inputs(config, threads_of_rank(config, job))).total();
    throw OutOfMemory(
        ended(fmt::format("{}\n  predicted per rank: {}{}", error.what(),
                          short_bytes(static_cast<double>(predicted)), advice.empty() ? "" : "; " + advice)));
  } catch (const UserError& error) {
    throw UserError(error.code(), ended(error.what()));
  } catch (const EnvironmentError& error) {
    throw EnvironmentError(ended(error.what()), error.code());
  } catch (const std::bad_alloc&) {
    throw EnvironmentError(ended("out of memory"));
  } catch (const std::exception& error) {
    throw InternalError(ended(error.what()));
  }
}

void train(const RunConfig& config, std::string_view config_ini, const Job& job, std::FILE* out) {
  const int rank = job.world->rank();
  const StopRequest stop(rank, end_at_start(config, rank, job.log));
  if (config.distill.ranks > 0 && job.all_ranks == nullptr) {
    return train_beside_teacher(config, job,
                                [&](const Job& student) { train(config, config_ini, student, out); });
  }
  if (is_finished(config, job, out)) return;
  std::optional<Trainer> trainer;
  try {
    trainer.emplace(config, config_ini, job, out);
    trainer->run();
  } catch (const std::exception&) {
    rethrow_ended(config, job,
                  [&](const std::string& message) { return trainer ? trainer->end_by(message) : message; });
  }
}

}  // namespace trireme::launch
