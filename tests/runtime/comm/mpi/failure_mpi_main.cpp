// One way to fail, named by the argument, on rank 1 (or on the only rank): the job must end with the right
// exit code, while the other ranks wait for rank 1. Laid out as a main() over MPI should be: errors are
// caught while MPI lives.
#include <chrono>
#include <string_view>
#include <thread>

#include <fmt/format.h>

#include "runtime/comm/mpi/mpi_environment.h"

namespace trireme {
namespace {

void wait_for_rank_1(Communicator& world, Stream& stream, const Tensor& t, const Tensor& u) {
  world.all_reduce(stream, u);
  world.all_reduce(stream, t);
  world.all_reduce(stream, t);
}

void fail(std::string_view way, Communicator& world) {
  Context ctx;
  const Tensor t = Tensor::empty(ctx, {1000}, DType::f32), u = Tensor::empty(ctx, {1 << 20}, DType::f32);
  world.all_reduce(ctx.stream(), t);
  if (way == "healthy") return;
  if (world.rank() != world.size() - 1) return wait_for_rank_1(world, ctx.stream(), t, u);

  if (way == "throw" || way == "unwind") throw_bad_input("tokens.bin: id 70000 at position 12");
  const WorkPtr in_flight = world.all_reduce_async(ctx.stream(), u);
  if (way == "throw-asynchronous") {
    const WorkPtr behind = world.all_reduce_async(ctx.stream(), t);
    throw Error(ExitCode::numerics, "step 7: the loss is not finite");
  }
  if (way == "watchdog") {
    std::thread watchdog([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      world.abort("no step for 60 s", ExitCode::hang);
    });
    world.receive(ctx.stream(), t, 0);  // nobody sends
    watchdog.join();
  }
}

int run(std::string_view way) {
  MpiEnvironment mpi;
  if (way == "unwind") fail(way, *mpi.make_world());
  try {
    fail(way, *mpi.make_world());
  } catch (const Error& e) {
    fmt::print(stderr, "rank {}: {}\n", mpi.rank(), e.what());
    MpiEnvironment::abort(e.code());
  }
  return 0;
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) {
  try {
    return trireme::run(argc > 1 ? argv[1] : "");
  } catch (const trireme::Error& e) {
    fmt::print(stderr, "{}\n", e.what());
    return static_cast<int>(e.code());
  }
}
