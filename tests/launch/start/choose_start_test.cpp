#include "launch/start/choose_start.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace trireme::launch {
namespace {

using testing::HasSubstr;

/// The command that a request leads to, for the program "p".
std::string command(const StartRequest& request, const ThisMachine& machine, const Variables& variables) {
  const StartChoice choice = choose_start(request, machine, variables);
  JobCommand job{choice.starter, {"p"}, choice.placement, choice.names_hosts};
  job.knows_tasks = choice.knows_tasks;
  job.cpus_per_task = choice.cpus_per_task;
  return shell_text(command_words(job));
}

const ThisMachine kEight{"here", 8, 0, true};

TEST(ChooseStart, OnThisMachine) {
  EXPECT_EQ(command({.ranks = 1}, kEight, {}), "p");
  EXPECT_EQ(command({.ranks = 1, .launcher = "mpirun"}, kEight, {}),
            "mpirun -n 1 --map-by slot:PE=8 --bind-to core p");
  EXPECT_EQ(command({.ranks = 2}, kEight, {}), "mpirun -n 2 --map-by slot:PE=4 --bind-to core p");
  EXPECT_EQ(command({}, kEight, {}), "mpirun -n 8 --map-by slot:PE=1 --bind-to core p");
  EXPECT_EQ(command({.cores = 3}, kEight, {}), "mpirun -n 2 --map-by slot:PE=3 --bind-to core p");
  EXPECT_EQ(command({}, {"gpus", 16, 4}, {}), "mpirun -n 4 --map-by slot:PE=4 --bind-to core p");
  EXPECT_EQ(command({.ranks = 9}, kEight, {}), "mpirun -n 9 --map-by slot --bind-to none --oversubscribe p");
}

TEST(ChooseStart, OnHosts) {
  EXPECT_EQ(command({.hosts = {{"h1", 4}, {"h2", 2}}}, kEight, {}),
            "mpirun -n 6 --host h1:4,h2:2 --map-by slot:PE=2 --bind-to core p");
  EXPECT_EQ(command({.ranks = 5, .hosts = {{"h1", 4}, {"h2", 2}}}, kEight, {}),
            "mpirun -n 5 --host h1:4,h2:1 --map-by slot:PE=2 --bind-to core p");
  EXPECT_EQ(command({.gpus = 4, .hosts = {{"h1", 0}, {"h2", 0}}}, kEight, {}),
            "mpirun -n 8 --host h1:4,h2:4 --map-by slot:PE=2 --bind-to core p");
  test::expect_error(ExitCode::usage, {"hosts of your own"}, [] {
    choose_start({.hosts = {{"h1", 4}}, .launcher = "srun"}, kEight, {});
  });
}

TEST(ChooseStart, InASlurmJob) {
  Variables job = {{"SLURM_JOB_ID", "17"},
                   {"SLURM_JOB_NODELIST", "n[1-2]"},
                   {"SLURM_TASKS_PER_NODE", "4(x2)"},
                   {"SLURM_NTASKS", "8"},
                   {"SLURM_JOB_CPUS_PER_NODE", "8(x2)"}};
  EXPECT_EQ(command({}, kEight, job),
            "srun --mpi=pmix --kill-on-bad-exit=1 --distribution=block --ntasks=8 --cpus-per-task=2 p");
  EXPECT_THAT(choose_start({}, kEight, job).where, "Slurm job 17: 2 nodes, 8 tasks, srun");
  EXPECT_EQ(command({.ranks = 6}, kEight, job),
            "mpirun -n 6 --host n1:4,n2:2 --map-by slot:PE=2 --bind-to core p");
  EXPECT_EQ(command({.hosts = {{"h1", 2}}}, kEight, job),
            "mpirun -n 2 --host h1:2 --map-by slot:PE=4 --bind-to core p");
  test::expect_error(ExitCode::usage, {"job 17 has 8 tasks", "TRIREME_LAUNCHER=mpirun"},
                     [&] { choose_start({.ranks = 6, .launcher = "srun"}, kEight, job); });
  const ThisMachine without{"here", 8, 0, false};
  EXPECT_THAT(command({}, without, job), HasSubstr("mpirun -n 8 --host n1:4,n2:4"));
  test::expect_error(ExitCode::usage, {"no plugin of PMIx", "TRIREME_LAUNCHER=mpirun"},
                     [&] { choose_start({.launcher = "srun"}, without, job); });
  job["TRIREME_LAUNCHER"] = "mpirun";
  EXPECT_THAT(command({}, kEight, job), HasSubstr("mpirun -n 8"));
  EXPECT_THAT(command({.launcher = "srun"}, kEight, job), HasSubstr("srun"));
  job["TRIREME_LAUNCHER"] = "mpiexec";
  test::expect_error(ExitCode::usage, {"TRIREME_LAUNCHER is 'mpiexec'"},
                     [&] { choose_start({}, kEight, job); });
  job.erase("TRIREME_LAUNCHER");
  job.erase("SLURM_NTASKS");
  job["SLURM_GPUS_ON_NODE"] = "2";
  EXPECT_EQ(command({}, kEight, job),
            "srun --mpi=pmix --kill-on-bad-exit=1 --distribution=block --ntasks=4 --ntasks-per-node=2 "
            "--cpus-per-task=4 p");
  test::expect_error(ExitCode::usage, {"this is none"},
                     [] { choose_start({.launcher = "srun"}, kEight, {}); });
}

TEST(JobCommand, Batch) {
  BatchCommand batch{"train.sbatch", {"--nodes=2"}, {"n3", "n4"}, {"--config", "a b.ini"}, 16, 0, 4, 8};
  EXPECT_EQ(shell_text(batch_words(batch)),
            "sbatch --ntasks=16 --cpus-per-task=4 --gpus-per-node=8 --exclude=n3,n4 --nodes=2 train.sbatch "
            "--config 'a b.ini'");
}

TEST(JobCommand, WordsAsAShellHasThem) {
  using testing::ElementsAre;
  EXPECT_THAT(split_words("--mca a b  '-x N=1 2' \"q \\\"r\" e\\ f ''", "--mpirun"),
              ElementsAre("--mca", "a", "b", "-x N=1 2", "q \"r", "e f", ""));
  EXPECT_THAT(split_words("  ", "--mpirun"), testing::IsEmpty());
  test::expect_error(ExitCode::usage, {"--mpirun", "does not end"}, [] { split_words("a 'b", "--mpirun"); });
  const std::vector<std::string> words = {"it's", "", "a=b", "$x"};
  EXPECT_EQ(shell_text(words), "'it'\\''s' '' a=b '$x'");
  EXPECT_THAT(split_words(shell_text(words), "--slurm"), testing::ElementsAreArray(words));
}

TEST(Variables, APlaceInAnotherJobIsNotPassedOn) {
  const Variables variables = {
      {"PMIX_RANK", "0"},       {"PMI_RANK", "0"},     {"OMPI_COMM_WORLD_SIZE", "1"}, {"OMPI_MCA_pml", "ob1"},
      {"PMIX_MCA_gds", "hash"}, {"SLURM_JOB_ID", "1"}, {"NCCL_DEBUG", "WARN"}};
  const Variables kept = without_place(variables);
  EXPECT_THAT(kept, testing::UnorderedElementsAre(testing::Key("OMPI_MCA_pml"), testing::Key("PMIX_MCA_gds"),
                                                  testing::Key("SLURM_JOB_ID"), testing::Key("NCCL_DEBUG")));
  EXPECT_THAT(for_other_hosts(variables), testing::ElementsAre("NCCL_DEBUG"));
}

}  // namespace
}  // namespace trireme::launch
