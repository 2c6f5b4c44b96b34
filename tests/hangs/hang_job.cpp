// A job whose ranks make the calls of a training step over the groups of a layout, without computing
// anything; one of them calls something else than the others from some step on.
//
// usage: hang_job RUN_DIRECTORY LIMIT DPxTPxPP [skip|count|type RANK STEP]
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "launch/commands/rank_watch.h"
#include "launch/report/files/run_log.h"
#include "runtime/base/error.h"
#include "runtime/comm/mpi/mpi_environment.h"
#include "runtime/device/cpu/cpu_device.h"
#include "runtime/mesh/mesh_groups.h"

namespace trireme {
namespace {

struct Fault {
  std::string kind;
  int rank = -1;
  int64_t step = -1;
};

class Job {
 public:
  Job(Communicator& world, Recorder& recorder, const std::vector<int>& degrees, Fault fault)
      : world_(world),
        recorder_(recorder),
        groups_(world, ProcessMesh({{"data", degrees[0]}, {"pipeline", degrees[2]}, {"tensor", degrees[1]}},
                                   world.size())),
        fault_(std::move(fault)) {}

  [[noreturn]] void run() {
    for (int64_t step = 1;; ++step) {
      recorder_.set_step(step);
      const bool differs = world_.rank() == fault_.rank && step == fault_.step;
      if (differs) fmt::print(stderr, "step {} begins\n", step);
      recorder_.enter(Phase::data);
      for (int layer = 0; layer < 2; ++layer) {
        recorder_.enter({Phase::forward, step, 0, layer});
        reduce(groups_.axis("tensor"), 256);
      }
      pass_on(step);
      recorder_.enter({Phase::backward, step, 0, 1});
      if (!differs || fault_.kind != "skip") {
        const int64_t count = differs && fault_.kind == "count" ? 999 : 1000;
        reduce(groups_.axis("data"), count, differs && fault_.kind == "type" ? DType::bf16 : DType::f32);
      }
      recorder_.enter(Phase::reduction);
      reduce(world_, 1);
      recorder_.enter(Phase::update);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

 private:
  void reduce(Communicator& group, int64_t count, DType type = DType::f32) {
    std::vector<float> values(static_cast<size_t>(count));
    group.all_reduce(*stream_, Tensor::borrow(values.data(), {count}, type));
  }
  // From each stage of a pipeline to the next, in a ring.
  void pass_on(int64_t step) {
    Communicator& stages = groups_.axis("pipeline");
    if (stages.size() == 1) return;
    float sent = static_cast<float>(step), received = 0;
    const int n = stages.size(), next = (stages.rank() + 1) % n, before = (stages.rank() + n - 1) % n;
    const WorkPtr send =
        stages.send_async(*stream_, Tensor::borrow(&sent, {1}, DType::f32), next, "activations");
    stages.receive(*stream_, Tensor::borrow(&received, {1}, DType::f32), before, "activations");
    send->wait();
  }

  Communicator& world_;
  Recorder& recorder_;
  MeshGroups groups_;
  Fault fault_;
  std::unique_ptr<Stream> stream_ = cpu::make_compute_stream();
};

std::vector<int> degrees_of(const std::string& text) {
  std::vector<int> degrees(3, 1);
  TRIREME_CHECK(std::sscanf(text.c_str(), "%dx%dx%d", &degrees[0], &degrees[1], &degrees[2]) == 3, "{}",
                text);
  return degrees;
}

int run(const std::vector<std::string>& args) {
  launch::RunLog log;
  launch::RankWatch watch(&log);
  const MpiEnvironment mpi;
  try {
    const auto world = mpi.make_world();
    const auto recorder = std::make_shared<Recorder>();
    world->set_recorder(recorder.get());
    launch::RunOptions options;
    options.hang_limit = watch::parse_hang_limits(args.at(2)).value();
    log.set_path(std::filesystem::path(args.at(1)) / "log.txt");
    watch.start(options, &mpi, *world, recorder);
    Fault fault;
    if (args.size() > 4) fault = {args.at(4), std::stoi(args.at(5)), std::stoll(args.at(6))};
    Job(*world, *recorder, degrees_of(args.at(3)), fault).run();
  } catch (const std::exception& error) {
    const auto* known = dynamic_cast<const Error*>(&error);
    const ExitCode code = known != nullptr ? known->code() : ExitCode::internal;
    watch.fail(error.what(), code);
    fmt::print(stderr, "\ntrireme: error: rank {}: {}\n", mpi.rank(), error.what());
    MpiEnvironment::abort(code);
  }
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) { return trireme::run({argv, argv + argc}); }
