#include "launch/checkpoint/run_changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::launch {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TextMap saved() {
  return {{"model.layers", "4"},
          {"model.preset", "gpt2-3m"},
          {"moe.top-k", "2"},
          {"train.seed", "1337"},
          {"train.steps", "100"},
          {"optimizer.lr", "0.001"},
          {"parallel.tensor", "2"},
          {"run.device", "cpu"},
          {"checkpoint.keep", "3"},
          {"data.text", "a.txt"},
          {"identity.data", "10 bytes, hash 1"}};
}

TEST(RunChanges, EqualOptionsAreNone) {
  const RunChanges changes = compare_runs(saved(), saved());
  EXPECT_THAT(changes.refused, IsEmpty());
  EXPECT_THAT(changes.passed, IsEmpty());
}

TEST(RunChanges, AccidentsAreListedAtOnceAndTheRestPasses) {
  TextMap now = saved();
  now["model.layers"] = "6";
  now["moe.top-k"] = "1";
  now["train.seed"] = "7";
  now["identity.data"] = "11 bytes, hash 2";
  now["train.steps"] = "200";
  now["optimizer.lr"] = "0.002";
  now["parallel.tensor"] = "1";
  const RunChanges changes = compare_runs(saved(), now);
  EXPECT_THAT(changes.refused, ElementsAre("data: 10 bytes, hash 1 in the checkpoint, 11 bytes, hash 2 here",
                                           "model.layers: 4 in the checkpoint, 6 here",
                                           "moe.top-k: 2 in the checkpoint, 1 here",
                                           "train.seed: 1337 in the checkpoint, 7 here"));
  EXPECT_THAT(changes.passed, ElementsAre("optimizer.lr: 0.001 in the checkpoint, 0.002 here",
                                          "parallel.tensor: 2 in the checkpoint, 1 here",
                                          "train.steps: 100 in the checkpoint, 200 here"));
}

// Names of the same content, where a run takes place, and what another version did not know.
TEST(RunChanges, WhatSaysNothingOfTheTrainingIsNotCompared) {
  TextMap now = saved();
  for (const char* key : {"model.preset", "run.device", "checkpoint.keep", "data.text"}) now[key] = "another";
  now.erase("model.layers");
  now["model.of-a-newer-version"] = "on";
  const RunChanges changes = compare_runs(saved(), now);
  EXPECT_THAT(changes.refused, IsEmpty());
  EXPECT_THAT(changes.passed, IsEmpty());
}

// Learned scales are parameters of the matrices that have them; measured ones are nothing that is kept.
TEST(RunChanges, LearnedScalesKeepTheirMatrices) {
  TextMap before = saved();
  before["qat.weights"] = "int4";
  before["qat.scales"] = "measured";
  before["qat.group"] = "64";
  before["qat.activations"] = "exact";
  TextMap now = before;
  now["qat.group"] = "32";
  now["qat.activations"] = "int8";
  EXPECT_THAT(compare_runs(before, now).passed,
              ElementsAre("qat.activations: exact in the checkpoint, int8 here",
                          "qat.group: 64 in the checkpoint, 32 here"));
  before["qat.scales"] = now["qat.scales"] = "learned";
  EXPECT_THAT(compare_runs(before, now).refused, ElementsAre("qat.group: 64 in the checkpoint, 32 here"));
  EXPECT_THAT(compare_runs(before, now).passed,
              ElementsAre("qat.activations: exact in the checkpoint, int8 here"));
  now = before;
  now["qat.scales"] = "measured";
  EXPECT_THAT(compare_runs(now, before).refused,
              ElementsAre("qat.scales: measured in the checkpoint, learned here"));
}

}  // namespace
}  // namespace trireme::launch
