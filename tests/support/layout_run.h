// A short training run in some layout, and all its numbers.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "models/config/exit_config.h"
#include "models/config/loss_config.h"
#include "models/config/model_config.h"
#include "parallel/module/routing_observer.h"
#include "parallel/plan/recomputation.h"
#include "parallel/training/training_step.h"
#include "runtime/comm/communicator.h"

namespace trireme::test {

/// ParallelPlan::bucket_mib of buckets of this many bytes.
constexpr double in_mib(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

struct LayoutRun {
  ModelConfig model;
  ParallelPlan plan;  ///< data 0: what the other degrees leave of the world
  Device device;
  OpSettings settings;
  DType precision = DType::f32;
  bool master = true;  ///< SessionOptions::master
  std::vector<ParameterRule> rules;
  Recomputation recomputation;
  bool float8 = false;
  LossConfig loss = {};
  ExitConfig exits = {};
  std::optional<int32_t> end_of_text = {};  ///< ends documents, which see themselves alone
  uint32_t tokens_a_document = 4;           ///< on average; 0: a sample is one document
  /// Above 0: each initial weight is moved by one unit in its last place, up, down or not at all as this seed
  /// draws. The run then parts from the other as far as rounding takes it. Of one rank alone.
  uint64_t nudge = 0;
  bool weighted = false;  ///< targets have weights: of some 0, of whole samples too
  int64_t steps = 20;
  int64_t seq_len = 12;
  int64_t micro_batch = 1;
  int64_t global_batch = 8;
  bool unequal_targets = false;  ///< samples differ in how many targets count, from none to all
  double lr = 1e-3;
  double loss_scale = 1;
  int num_threads = 1;
  RoutingObserver* routing = nullptr;  ///< sees the choices of all routers, on the threads of all ranks
  bool gradients =
      true;  ///< those of the first step are part of the result; gathering divided ones takes memory
  /// AdamW's epsilon lies far below the gradients (1e-2) and far above their rounding, of which the usual
  /// 1e-8 makes whole steps where an element is small or zero: noise that differs with the layout and the
  /// compiler.
  TrainingStepOptions options{.adamw = {.eps = 1e-4}};

  int64_t num_steps() const;  ///< `steps`, or a few of them where a sanitizer looks on (tier.h)
};

struct LayoutResult {
  std::vector<double> losses, norms;         ///< one a step
  std::vector<double> aux_losses, z_losses;  ///< what the routers add to the loss
  std::vector<double> added;                 ///< and the objective
  std::vector<RouterLoad> router_loads;      ///< of the first step
  // Whole tensors under their global names, put together from the tensor-parallel ranks' parts.
  std::map<std::string, std::vector<float>> gradients;     ///< of the first step: the mean over its tokens
  std::map<std::string, std::vector<float>> weights;       ///< after the last step
  std::array<int64_t, kNumMemoryCategories> peak_bytes{};  ///< of this rank, in its steps
};

/// Runs in the layout of the plan; the global batch does not depend on the number of data-parallel ranks.
/// Every rank of `world` calls it and gets the same result. Fails the test where copies of a parameter differ
/// in a bit.
LayoutResult run_layout(Communicator& world, const LayoutRun& run);

/// The same on `size` threads; fails the test unless all get the same bits.
LayoutResult run_on_threads(int size, const LayoutRun& run);

/// The same run on one rank and the CPU, whatever the run says, but for its buckets and how gradients travel.
LayoutResult run_on_one_rank(LayoutRun run);

/// How far from one rank's numbers a layout may be, relative.
struct Tolerance {
  double gradients = 1e-5, losses = 1e-5, norms = 1e-5;  ///< norms: of the first step
  double later = 1e-4;                                   ///< norms of later steps, and the last weights
};

/// Fails the test unless the result is close to one rank's.
void expect_follows(const LayoutResult& result, const LayoutResult& one, const Tolerance& tolerance = {});

/// A small model of the family with 3 layers and odd sizes; caps and windows so small that they count.
ModelConfig tiny_model(ModelFamily family);

/// The largest |a - b| over the largest |b|, over all tensors; names in `worst` the tensor. Fails the test
/// when names or sizes differ.
double largest_difference(const std::map<std::string, std::vector<float>>& a,
                          const std::map<std::string, std::vector<float>>& b, std::string& worst);

}  // namespace trireme::test
