#include "launch/doctor/finding.h"

#include <algorithm>

namespace trireme::launch {

std::span<const EnumName<Verdict>> names_of(Verdict) {
  static constexpr EnumName<Verdict> kNames[] = {
      {Verdict::ok, "OK"}, {Verdict::warn, "WARN"}, {Verdict::fail, "FAIL"}};
  return kNames;
}

std::span<const std::string_view> check_names() {
  static constexpr std::string_view kNames[] = {
      "mpi", "cuda",   "binding", "threads", "shm",         "limits", "memory", "root",
      "cpu", "ptrace", "disk",    "clock",   "environment", "hosts",  "axes",   "links"};
  return kNames;
}

Verdict worst_of(std::span<const Finding> findings) {
  Verdict worst = Verdict::ok;
  for (const Finding& finding : findings) worst = std::max(worst, finding.verdict);
  return worst;
}

}  // namespace trireme::launch
