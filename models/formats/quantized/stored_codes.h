// StoredCodes: a matrix that a file has as codes with scales, whatever the file's format, read in parts.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "parallel/module/parameter.h"
#include "runtime/ops/packed/coded_matrix.h"

namespace trireme {

struct CodesKind {
  std::string where;  ///< file and tensor, for messages
  /// spec.group is 0 where one scale stands for all inputs. A group may be of a size that no kernel has.
  ops::PackedSpec spec;
  int64_t outputs = 0, inputs = 0;
  /// The group of each input; empty where groups are of neighbouring inputs.
  std::vector<int32_t> group_of = {};

  int64_t group() const { return spec.group == 0 ? std::max<int64_t>(inputs, 1) : spec.group; }
  int64_t groups() const;
};

/// Immutable; calls are safe from several threads. UserError (bad_input) naming file and tensor for numbers
/// that cannot be: a scale that is not finite, a code outside its bits.
class StoredCodes {
 public:
  explicit StoredCodes(CodesKind kind) : kind_(std::move(kind)) {}
  virtual ~StoredCodes() = default;

  const CodesKind& kind() const { return kind_; }
  /// As CodedMatrix has them, row by row.
  virtual void codes(Part rows, Part columns, std::span<uint8_t> out) const = 0;
  virtual void scales(Part rows, Part groups, std::span<float> out) const = 0;
  /// Of an asymmetric one.
  virtual void zeros(Part rows, Part groups, std::span<uint8_t> out) const = 0;

 protected:
  CodesKind kind_;
};

/// The numbers of a part, fp32, row by row. Holds some rows' codes.
void read_values(const StoredCodes& stored, Part rows, Part columns, std::span<float> values);

/// How read_codes() gives these columns; nothing where they cut groups, or where no kernel has such groups.
std::optional<ops::PackedSpec> spec_of(const CodesKind& kind, Part columns);
ops::CodedMatrix read_codes(const StoredCodes& stored, Part rows, Part columns);

/// Inputs in the order in which they form groups; empty where `group_of` has no groups of equal size.
std::vector<int32_t> order_of(const CodesKind& kind);

/// Sets kind.group_of, unless groups are of neighbours after all. UserError (bad_input) for a group that is
/// not there.
void set_groups(CodesKind& kind, std::vector<int32_t> group_of);

/// 4 or 8.
inline int bits_of_codes(const ops::PackedSpec& spec) {
  return spec.format == ops::PackedFormat::int4 ? 4 : 8;
}

/// The code that stands for zero where none is stored: 128, 8, or of fp8 0.
uint8_t symmetric_zero(ops::PackedFormat format);

}  // namespace trireme
