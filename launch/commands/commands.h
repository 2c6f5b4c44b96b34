// The commands of the program. Each takes the arguments after its name, prints to standard output, and
// throws what main() turns into an exit code.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "runtime/base/error.h"

namespace trireme {
class MpiEnvironment;
}

namespace trireme::launch {

class RankWatch;
class RunLog;

/// The rank of this process in its job.
struct RankPlace {
  int rank = 0;
  int world_size = 1;
  const MpiEnvironment* mpi = nullptr;  ///< null: one process, started without a launcher
  std::string command = {};             ///< the first argument
  RunLog* log = nullptr;                ///< where errors are kept beside the screen
  RankWatch* watch = nullptr;           ///< watches the ranks of the command; null: nobody does
};

/// What a command throws to end the program with the exit code of another, which has said why.
struct PassedOn {
  ExitCode code;
};

struct Command {
  std::string_view name;
  std::string_view summary;
  void (*run)(std::span<const std::string> args, const RankPlace& place);
};

/// In the order of the help text.
std::span<const Command> commands();
/// What `trireme` says about itself.
std::string program_help();
/// True for commands that start ranks themselves, and are none.
bool starts_ranks(std::string_view command);
/// True for what is started as many ranks, which work together: a training run, generation, a server, a
/// benchmark of collectives.
bool runs_as_ranks(std::span<const std::string> args);
/// Runs the command that args[0] names, or prints help or the version. UserError (usage) with the nearest
/// name when there is no such command. Only rank 0 prints.
void run_program(std::span<const std::string> args, const RankPlace& place);

void run_train(std::span<const std::string> args, const RankPlace& place);
void run_launch(std::span<const std::string> args, const RankPlace& place);
void run_scale(std::span<const std::string> args, const RankPlace& place);
void run_generate(std::span<const std::string> args, const RankPlace& place);
void run_serve(std::span<const std::string> args, const RankPlace& place);
void run_evaluate(std::span<const std::string> args, const RankPlace& place);
void run_compress(std::span<const std::string> args, const RankPlace& place);
void run_teacher(std::span<const std::string> args, const RankPlace& place);
void run_verify(std::span<const std::string> args, const RankPlace& place);
void run_data(std::span<const std::string> args, const RankPlace& place);
void run_import(std::span<const std::string> args, const RankPlace& place);
void run_checkpoint(std::span<const std::string> args, const RankPlace& place);
void run_report(std::span<const std::string> args, const RankPlace& place);
void run_schedule(std::span<const std::string> args, const RankPlace& place);
void run_bench(std::span<const std::string> args, const RankPlace& place);
void run_compare(std::span<const std::string> args, const RankPlace& place);
void run_doctor(std::span<const std::string> args, const RankPlace& place);
void run_info(std::span<const std::string> args, const RankPlace& place);

}  // namespace trireme::launch
