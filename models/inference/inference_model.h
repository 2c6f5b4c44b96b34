// InferenceModel: a model that is only read, from whatever file or directory, over the ranks of a layout.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "models/config/model_config.h"
#include "models/transformer/transformer.h"
#include "parallel/plan/parallel_context.h"
#include "runtime/comm/communicator.h"
#include "runtime/ops/packed/packed_linear.h"

namespace trireme {

class WeightSource;

/// What a model will take, known before any of it is read. Bounds from above; of the CPU.
struct LoadForecast {
  int64_t weight_bytes = 0;  ///< LoadReport::weight_bytes
  int64_t loading_bytes =
      0;  ///< the most at one time meanwhile: weights so far, and what is read of the next
};

struct InferenceOptions {
  ParallelPlan plan = {};  ///< tensor, pipeline and expert parallelism; data 0: what is left
  DType compute_type = DType::f32;
  /// How matrices are held; nothing: as the file has them, floats in the compute type unless that is f32.
  /// int8, int4 and fp8 are made of any file's values, in groups that begin where a rank's inputs do. sparse:
  /// those matrices that have zeros enough.
  std::optional<ops::PackedSpec> weights = {};
  ops::Activations activations = ops::Activations::int8;  ///< for integer weights
  int64_t max_seq_len = 0;                                ///< longest sequence; 0: the model's max_positions
  /// Of the model only Transformer::last_states() are asked for: what the head alone multiplies with is not
  /// read.
  bool without_head = false;
  /// Called before anything is read, if it is there; what it throws ends the loading.
  std::function<void(const ModelSpec&, const LoadForecast&)> before_loading = {};
};

struct LoadReport {
  double seconds = 0;
  int64_t file_bytes = 0;    ///< of the weights that this rank read
  int64_t weight_bytes = 0;  ///< that it holds
  /// "q4_1, f32": of the matrices, the most bytes first; "f32 (of q4_1)" where a rank's part of a matrix cuts
  /// blocks or groups of the file's format; "sparse bf16 (52 % zeros)" of those that were packed so.
  std::string formats;
};

/// Token tables, matrices of layers and experts are packed (PackedLoader); vectors are f32 tensors, routers
/// and tables of positions tensors of the compute type.
class InferenceModel {
 public:
  /// `path`: a run directory, a checkpoint (of any layout), a Hugging Face directory, a .safetensors or a
  /// GGUF file; of a quantization-aware training (ModelConfig::quantization) as what it was trained through
  /// (trained_codes()). `config` is the model where the files do not describe it (this program's own: the
  /// run's). All ranks make one with equal arguments, and each reads its own part. UserError (usage,
  /// bad_input; checkpoint where one is damaged) naming options, file and tensor, and what would fit.
  InferenceModel(Context& ctx, Communicator& world, const std::string& path, const ModelConfig& config,
                 const InferenceOptions& options);
  /// The same of a source's weights, which are `config`'s.
  InferenceModel(Context& ctx, Communicator& world, const WeightSource& source, const ModelConfig& config,
                 const InferenceOptions& options);
  InferenceModel(const InferenceModel&) = delete;
  InferenceModel& operator=(const InferenceModel&) = delete;

  const ModelConfig& config() const { return model_->config(); }
  const ParallelContext& parallel() const { return parallel_; }
  Transformer& model() { return *model_; }
  const LoadReport& loaded() const { return loaded_; }

 private:
  void load(Context& ctx, const WeightSource& source, const ModelConfig& config,
            const InferenceOptions& options);

  ParallelContext parallel_;
  std::unique_ptr<Transformer> model_;
  LoadReport loaded_;
};

}  // namespace trireme
