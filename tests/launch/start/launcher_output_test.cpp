#include "launch/start/launcher_output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::launch {
namespace {

const std::string kRow(74, '-');

struct Read {
  std::string passed, held;
  std::optional<RankFailure> failure;
  bool has_error;
  std::optional<int> code;
};

/// In pieces of `size` bytes.
Read read(const std::string& text, size_t size) {
  Read read;
  LauncherOutput output([&](std::string_view bytes) { read.passed += bytes; });
  for (size_t at = 0; at < text.size(); at += size) output.add(std::string_view(text).substr(at, size));
  output.finish();
  read.held = output.held();
  read.failure = output.first_failure();
  read.has_error = output.has_error();
  read.code = output.first_code();
  return read;
}

TEST(LauncherOutput, ARanksOwnErrorIsTheLastLine) {
  const std::string banner =
      kRow + "\nMPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD\nwith errorcode 3.\n" + kRow +
      "\n[n1:17] 1 more process has sent help message help-mpi-api.txt / mpi-abort\n";
  for (const size_t size : {1UL, 7UL, 4096UL}) {
    const Read all = read("loss 3\n\ntrireme: error: rank 1: tokens.bin is gone\n" + banner + "tail", size);
    EXPECT_EQ(all.passed, "loss 3\n\ntrireme: error: rank 1: tokens.bin is gone\ntail\n");
    EXPECT_EQ(all.held, banner);
    EXPECT_TRUE(all.has_error);
    ASSERT_TRUE(all.failure);
    EXPECT_EQ(all.failure->rank, 1);
    EXPECT_EQ(all.failure->host, "");
  }
}

TEST(LauncherOutput, ABannerThatMpirunCouldNotReadIsNoLineOfARank) {
  const std::string unread =
      "[n1:17] [[27174,0],0] ORTE_ERROR_LOG: Data unpack would read past end of buffer in file "
      "../../../orte/util/show_help.c at line 501\n";
  const Read all = read("trireme: error: rank 0: none.txt is not there\n" + unread, 100);
  EXPECT_EQ(all.passed, "trireme: error: rank 0: none.txt is not there\n");
  EXPECT_EQ(all.held, unread);
}

TEST(LauncherOutput, MpirunNamesARankThatWasKilled) {
  const Read all = read(
      kRow + "\nmpirun noticed that process rank 3 with PID 0 on node n2 exited on signal 9 (Killed).\n" +
          kRow + "\n",
      100);
  EXPECT_EQ(all.passed, "");
  EXPECT_FALSE(all.has_error);
  ASSERT_TRUE(all.failure);
  EXPECT_EQ(all.failure->rank, 3);
  EXPECT_EQ(all.failure->host, "n2");
  EXPECT_EQ(all.failure->cause, "Killed");
}

TEST(LauncherOutput, WhatOthersSayOfARankAndItsLauncherDoesAreOne) {
  const Read all =
      read("trireme: error: rank 3 (host n2) was killed; it was in step 2\n" + kRow +
               "\nmpirun noticed that process rank 3 with PID 0 on node n2 exited on signal 9 (Killed).\n" +
               kRow + "\n",
           100);
  EXPECT_TRUE(all.has_error);
  ASSERT_TRUE(all.failure);
  EXPECT_EQ(all.failure->rank, 3);
  EXPECT_EQ(all.failure->host, "n2");
  EXPECT_EQ(all.failure->cause, "Killed");
}

TEST(LauncherOutput, OthersSayThatARankIsGone) {
  const Read gone = read("trireme: error: rank 3 (host n2, process 7) was killed by a signal\n", 100);
  ASSERT_TRUE(gone.failure);
  EXPECT_EQ(gone.failure->rank, 3);
  EXPECT_EQ(gone.failure->cause, "Killed");
  const Read hang = read("trireme: error: ranks 0-2 wait in all_reduce; rank 3 is in no call\n", 100);
  ASSERT_TRUE(hang.failure);
  EXPECT_EQ(hang.failure->rank, 3);
  EXPECT_EQ(hang.failure->cause, "");
}

TEST(LauncherOutput, ALostHostIsNamed) {
  const Read all = read(
      kRow +
          "\nORTE has lost communication with a remote daemon.\n\n  HNP daemon   : [[1,0],0] on node n1\n"
          "  Remote daemon: [[1,0],1] on node n2\n\nThis is usually due to a failure\n" +
          kRow + "\n",
      100);
  ASSERT_TRUE(all.failure);
  EXPECT_EQ(all.failure->host, "n2");
}

TEST(LauncherOutput, OfSrunTheFirstThatWasNotEndedByItCounts) {
  const Read all = read(
      "srun: error: n1: task 0: Terminated\nsrun: Job step aborted: Waiting up to 7 seconds for job step to "
      "finish.\n"
      "slurmstepd-n1: error:  mpi/pmix_v4: _errhandler: n1 [0]: Error handler invoked: status = -61\n"
      "slurmstepd: error: *** STEP 1.0 ON n1 CANCELLED AT 2026-01-01T00:00:00 ***\n"
      "srun: error: n2: task 1: Killed\nsrun: error: n1: tasks 2-3: Exited with exit code 7\n"
      "srun: error: Unable to allocate resources\n",
      100);
  EXPECT_EQ(all.passed, "srun: error: Unable to allocate resources\n");
  ASSERT_TRUE(all.failure);
  EXPECT_EQ(all.failure->rank, 1);
  EXPECT_EQ(all.failure->host, "n2");
  EXPECT_EQ(all.failure->cause, "Killed");
}

TEST(LauncherOutput, TheCodeOfTheFirstTasksThatEnd) {
  EXPECT_EQ(
      read("srun: error: h1: task 0: Exited with exit code 75\nsrun: error: h2: task 1: Terminated\n", 9)
          .code,
      75);
  EXPECT_EQ(read("srun: error: h1: tasks 0-3: Exited with exit code 3\nsrun: error: h2: task 4: Exited with "
                 "exit code 1\n",
                 9)
                .code,
            3);
  EXPECT_EQ(
      read("srun: error: h1: task 0: Killed\nsrun: error: h2: task 1: Exited with exit code 1\n", 9).code,
      std::nullopt);
  EXPECT_EQ(read("a line\n", 9).code, std::nullopt);
}

TEST(LauncherOutput, OtherBannersPass) {
  const std::string slots = kRow + "\nThere are not enough slots available in the system\n" + kRow + "\n";
  EXPECT_EQ(read(slots, 9).passed, slots);
  const std::string open = kRow + "\nnever closed\n";
  EXPECT_EQ(read(open, 9).passed, open);
}

}  // namespace
}  // namespace trireme::launch
