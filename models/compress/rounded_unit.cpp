#include "models/compress/rounded_unit.h"

#include <algorithm>
#include <map>
#include <span>
#include <utility>

#include "models/spec/describe.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "runtime/base/error.h"
#include "runtime/base/parallel_for.h"
#include "runtime/ops/packed/coded_matrix.h"

namespace trireme {

namespace {

bool holds_packed_matrices(const ParameterBlock& block) {
  const std::string& name = block.members.front().name;
  return block.is_matrix() && !name.ends_with(kRouterWeight) && name != "embedding.positions.weight";
}

/// Rows of a matrix, from `first` on.
struct WholeRows {
  int64_t first = 0, rows = 0, inputs = 0;
  std::vector<float> values;

  std::span<float> row(int64_t index) {
    return std::span(values).subspan(static_cast<size_t>(index * inputs), static_cast<size_t>(inputs));
  }
};

WholeRows read_whole_rows(const WeightSource& source, const Parameter& p, int64_t first, int64_t rows) {
  WholeRows result{first, rows, p.global_shape[1], {}};
  result.values.resize(static_cast<size_t>(rows * result.inputs));
  Parameter part = p;
  part.offset = {first, 0};
  part.shape = {rows, result.inputs};
  source.read(p.name, part, result.values);
  return result;
}

/// In place: what the numbers become. UserError (bad_input) naming the matrix for values that are not finite.
void round_whole_rows(Context& ctx, const ops::PackedSpec& spec, const std::string& name, WholeRows& matrix) {
  ops::CodedMatrix coded;
  try {
    coded = ops::round_to_nearest(ctx, spec, matrix.rows, matrix.inputs, matrix.values);
  } catch (const UserError& error) {
    throw_user(error.code(), "{}: {}", name, error.what());
  }
  parallel_for(ctx.num_threads(), matrix.rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) ops::decode_row(coded, r, matrix.row(r));
  });
}

/// The rows of a packed block, as they multiply.
std::vector<std::vector<float>> packed_rows_of(Context& ctx, const PackedBlock& block) {
  std::vector<std::vector<float>> rows;
  for (const ops::PackedWeight& part : block.parts) {
    for (int64_t r = 0; r < part.rows(); ++r) {
      rows.emplace_back(static_cast<size_t>(part.inputs));
      ops::unpack_row(ctx, part, r, rows.back());
    }
  }
  return rows;
}

const Parameter* unit_member(const UnitMatrices& unit, const std::string& name) {
  const auto found = std::ranges::find(unit.members, name, &Parameter::name);
  return found == unit.members.end() ? nullptr : &*found;
}

ParameterBlock* unit_block(InferenceModel& model, const UnitMatrices& unit) {
  for (ParameterBlock* block : model.model().part().blocks()) {
    if (block->packed && std::ranges::any_of(block->members, [&](const Parameter& p) {
          return unit_member(unit, p.name) != nullptr;
        }))
      return block;
  }
  return nullptr;
}

}  // namespace

std::vector<UnitMatrices> units_of(const Transformer& model,
                                   const std::function<bool(const std::string& name)>& takes) {
  std::vector<UnitMatrices> units;
  for (const LayerDescription& layer : describe(model.spec())) {
    for (const ParameterBlock& block : layer.blocks) {
      if (!block || !holds_packed_matrices(block)) continue;
      UnitMatrices unit;
      for (const Parameter& p : block.members)
        if (!takes || takes(p.name)) unit.members.push_back(p);
      if (!unit.members.empty()) units.push_back(std::move(unit));
    }
  }
  return units;
}

RoundedUnit::RoundedUnit(Context& ctx, InferenceModel& model, const WeightSource& source,
                         const UnitMatrices& unit, const ops::PackedSpec& spec)
    : block_(unit_block(model, unit)) {
  if (block_ == nullptr) return;
  std::vector<std::vector<float>> rows = packed_rows_of(ctx, *block_->packed);
  size_t at = 0;
  for (const Parameter& p : block_->members) {
    if (unit_member(unit, p.name) != nullptr) {
      WholeRows whole = read_whole_rows(source, p, p.offset[0], p.shape[0]);
      round_whole_rows(ctx, spec, p.name, whole);
      for (int64_t r = 0; r < p.shape[0]; ++r) {
        const auto columns =
            whole.row(r).subspan(static_cast<size_t>(p.offset[1]), static_cast<size_t>(p.shape[1]));
        rows[at + static_cast<size_t>(r)].assign(columns.begin(), columns.end());
      }
    }
    at += static_cast<size_t>(p.shape[0]);
  }
  TRIREME_CHECK(at == rows.size(), "{} rows packed of {}", rows.size(), at);
  const int64_t matrices = block_->packed->parts.front().matrices;
  auto rounded = std::make_shared<PackedBlock>();
  rounded->activations = ops::Activations::exact;
  rounded->parts.push_back(ops::pack_rows(ctx, {}, matrices, static_cast<int64_t>(rows.size()) / matrices,
                                          block_->packed->num_inputs(),
                                          [&](int64_t row, std::span<float> values) {
                                            std::ranges::copy(rows[static_cast<size_t>(row)], values.begin());
                                          }));
  before_ = std::exchange(block_->packed, std::move(rounded));
}

RoundedUnit::~RoundedUnit() {
  if (block_ != nullptr) block_->packed = std::move(before_);
}

double squared_error(Context& ctx, const WeightSource& source, const UnitMatrices& unit,
                     const ops::PackedSpec& spec) {
  double error = 0;
  for (const Parameter& p : unit.members) {
    const WholeRows before = read_whole_rows(source, p, 0, p.global_shape[0]);
    WholeRows after = before;
    round_whole_rows(ctx, spec, p.name, after);
    for (size_t i = 0; i < before.values.size(); ++i) {
      const double difference = double{after.values[i]} - double{before.values[i]};
      error += difference * difference;
    }
  }
  return error;
}

}  // namespace trireme
