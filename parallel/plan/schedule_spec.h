// ScheduleSpec: the pipeline schedule of a plan: a kind, or a file.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/base/enum_names.h"

namespace trireme {

/// What parallel/pipeline/schedule.h makes of each.
enum class ScheduleKind : uint8_t {
  gpipe,
  one_f_one_b,
  interleaved,
  zb_h1,
  file,  ///< none of these: the lists of a file
};

inline std::span<const EnumName<ScheduleKind>> names_of(ScheduleKind) {
  using enum ScheduleKind;
  static constexpr EnumName<ScheduleKind> kNames[] = {{gpipe, "gpipe"},
                                                      {one_f_one_b, "1f1b"},
                                                      {interleaved, "interleaved"},
                                                      {zb_h1, "zb-h1"},
                                                      {file, "file"}};
  return kNames;
}
/// Those that can be made: all but file.
inline std::span<const EnumName<ScheduleKind>> made_schedule_kinds() {
  return names_of(ScheduleKind::file).first(static_cast<size_t>(ScheduleKind::file));
}

/// Whether a stage may hold several chunks of the model under it.
constexpr bool has_virtual_stages(ScheduleKind kind) {
  return kind == ScheduleKind::interleaved || kind == ScheduleKind::file;
}

struct ScheduleFile;  // parallel/pipeline/schedule_file.h

/// A value of the plan: what it stands for depends on no file any more once `read` is set.
struct ScheduleSpec {
  ScheduleKind kind = ScheduleKind::one_f_one_b;
  std::string path;                          ///< of the file
  std::shared_ptr<const ScheduleFile> read;  ///< what it says (read_schedule_of()); null: not read yet

  ScheduleSpec() = default;
  ScheduleSpec(ScheduleKind made) : kind(made) {}  // NOLINT(google-explicit-constructor): a kind is a spec
  /// As the option names one: "zb-h1", or else the path of a file.
  static ScheduleSpec named(const std::string& text) {
    for (const auto& [made, name] : made_schedule_kinds()) {
      if (name == text) return made;
    }
    ScheduleSpec spec(ScheduleKind::file);
    spec.path = text;
    return spec;
  }

  bool is_file() const { return kind == ScheduleKind::file; }
  std::string text() const { return is_file() ? path : std::string(to_string(kind)); }

  friend bool operator==(const ScheduleSpec& a, const ScheduleSpec& b) {
    return a.kind == b.kind && a.path == b.path;
  }
};

}  // namespace trireme
