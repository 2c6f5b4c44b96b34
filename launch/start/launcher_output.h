// What mpirun and srun say on standard error: their banners are held back, and read for who failed first.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::launch {

/// The rank that failed first, as far as the launchers and the ranks say.
struct RankFailure {
  int rank = -1;      ///< -1: not said
  std::string host;   ///< empty: not said
  std::string cause;  ///< in the launcher's words: "Killed"; empty: the rank has said it itself
};

/// Lines pass, but for what Open MPI's mpirun and Slurm's srun say of a job that failed: a rank that says
/// why it failed has the last line then. Where none does, those words are needed.
class LauncherOutput {
 public:
  using Write = std::function<void(std::string_view)>;
  explicit LauncherOutput(Write write) : write_(std::move(write)) {}

  void add(std::string_view bytes);
  /// What is left of an unfinished line or banner.
  void finish();

  /// Whether a line of an error of this program's own has passed.
  bool has_error() const { return has_error_; }
  /// What was held back, as it was.
  const std::string& held() const { return held_; }
  const std::optional<RankFailure>& first_failure() const { return first_; }
  /// The exit code with which tasks of srun ended first, before it ended others for that; nothing where a
  /// signal ended the first, or none is named.
  std::optional<int> first_code() const { return first_code_; }

 private:
  void take_line(const std::string& line);
  void end_banner();
  void note(RankFailure failure);
  void read_own(const std::string& line);
  bool read_srun(const std::string& line);

  Write write_;
  std::string line_, held_;
  std::vector<std::string> banner_;  // from its first row of dashes on
  bool has_error_ = false;
  std::optional<RankFailure> first_;
  bool has_ended_tasks_ = false;  // srun has named some
  std::optional<int> first_code_;
};

}  // namespace trireme::launch
