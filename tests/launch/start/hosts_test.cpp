#include "launch/start/hosts.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/start/failed_hosts.h"
#include "launch/start/slurm_job.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme::launch {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Hosts, AListOrAFile) {
  EXPECT_THAT(parse_host_list("h1:4,node-02.cluster:2,h3"),
              ElementsAre(HostSlots{"h1", 4}, HostSlots{"node-02.cluster", 2}, HostSlots{"h3", 0}));
  const test::TemporaryFolder folder;
  std::ofstream(folder.path("hosts")) << "# comment\n\nh1 slots=4 max_slots=8  # more\nh2:3\n  h3\n";
  EXPECT_THAT(read_hosts(folder.path("hosts")),
              ElementsAre(HostSlots{"h1", 4}, HostSlots{"h2", 3}, HostSlots{"h3", 0}));
  EXPECT_THAT(read_hosts("h1:1"), ElementsAre(HostSlots{"h1", 1}));
}

TEST(Hosts, WhatIsNoneIsNamed) {
  for (const char* list : {"h1:0", "h1:x", "h1,,h2", "-x:2", "h1:4:2", "", "a b:2", "h1:9999999999"})
    test::expect_error(ExitCode::usage, {"--hosts", "h1:4,h2:4"}, [&] { read_hosts(list); });
  test::expect_error(ExitCode::usage, {"h1 is there twice"}, [] { parse_host_list("h1:2,h1:2"); });
  const test::TemporaryFolder folder;
  for (const auto& [text, words] :
       {std::pair("h1 slots=4\nh2 slot=3\n", ":2: 'slot=3' is not slots=N"),
        std::pair("h1 slots=none\n", ":1: 'slots=none'"), std::pair("# nothing\n", "names no host"),
        std::pair("h1\nh1\n", ":2: h1 is there twice")}) {
    std::ofstream(folder.path("hosts")) << text;
    test::expect_error(ExitCode::bad_input, {folder.path("hosts"), words},
                       [&] { read_hosts(folder.path("hosts")); });
  }
}

TEST(SlurmJob, NodeListsAndCounts) {
  EXPECT_THAT(expand_node_list("n1"), ElementsAre("n1"));
  EXPECT_THAT(expand_node_list("n[1-3,07],login-2"), ElementsAre("n1", "n2", "n3", "n07", "login-2"));
  EXPECT_THAT(expand_node_list("r[1-2]n[09-10]x"), ElementsAre("r1n09x", "r1n10x", "r2n09x", "r2n10x"));
  EXPECT_THAT(expand_counts("4(x2),3"), ElementsAre(4, 4, 3));
  for (const char* list : {"", "n[1-", "n[3-1]", "n[a]", "n]1[", "n[[1]]", "n1,,n2"})
    test::expect_error(ExitCode::usage, {"list of Slurm's nodes"}, [&] { expand_node_list(list); });
  for (const char* counts : {"", "4(x", "4(x2", "0", "4;3", "4,", "4(x0)"})
    test::expect_error(ExitCode::usage, {"counts a node"}, [&] { expand_counts(counts); });
}

TEST(SlurmJob, OfTheVariablesOfAScript) {
  EXPECT_FALSE(slurm_job({{"PATH", "/bin"}}));
  Variables variables = {{"SLURM_JOB_ID", "17"},          {"SLURM_JOB_NODELIST", "n[1-2]"},
                         {"SLURM_TASKS_PER_NODE", "4,2"}, {"SLURM_NTASKS", "6"},
                         {"SLURM_CPUS_PER_TASK", "3"},    {"SLURM_JOB_CPUS_PER_NODE", "12,6"}};
  const auto job = slurm_job(variables);
  ASSERT_TRUE(job);
  EXPECT_THAT(job->hosts, ElementsAre(HostSlots{"n1", 4}, HostSlots{"n2", 2}));
  EXPECT_THAT(job->cpus, ElementsAre(12, 6));
  EXPECT_EQ(job->num_tasks(), 6);
  EXPECT_EQ(job->cpus_per_task, 3);
  EXPECT_TRUE(job->has_tasks);
  variables.erase("SLURM_NTASKS");
  EXPECT_EQ(slurm_job(variables)->num_tasks(), 2) << "no tasks were asked for: one a node";
  variables["SLURM_GPUS_ON_NODE"] = "8";
  EXPECT_EQ(slurm_job(variables)->num_tasks(), 16) << "or one a GPU";
  variables["SLURM_NTASKS"] = "12";
  variables["SLURM_TASKS_PER_NODE"] = "4(x3)";
  test::expect_error(ExitCode::usage, {"n[1-2] has 2 nodes", "4(x3) 3"}, [&] { slurm_job(variables); });
}

TEST(FailedHosts, EachOnceAndUntilItsLineIsGone) {
  const test::TemporaryFolder folder;
  const std::string list = folder.path("failed");
  EXPECT_THAT(read_failed_hosts(list), IsEmpty());
  add_failed_host(list, {"n2", "17", 137, 3, "Killed"});
  add_failed_host(list, {"n1", "", 7, -1, ""});
  add_failed_host(list, {"n2", "18", 6, 1, ""});
  EXPECT_THAT(read_failed_hosts(list), ElementsAre("n1", "n2"));
  std::ifstream file(list);
  std::string line;
  std::getline(file, line);
  EXPECT_THAT(line, testing::MatchesRegex("n2 20.*Z job 17 exit 137 rank 3 Killed"));
  std::ofstream(list) << "# all are well\n";
  EXPECT_THAT(read_failed_hosts(list), IsEmpty());
  for (const int code : {6, 7, 137}) EXPECT_TRUE(may_be_of_host(code, "")) << code;
  for (const int code : {1, 2, 75, 93}) EXPECT_FALSE(may_be_of_host(code, "")) << code;
  EXPECT_TRUE(may_be_of_host(1, "Killed")) << "the others have said that it is gone";
  EXPECT_FALSE(may_be_of_host(1, "Exited with exit code 1"));
}

}  // namespace
}  // namespace trireme::launch
