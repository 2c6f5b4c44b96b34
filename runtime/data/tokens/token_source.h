// A stream of token ids, wherever it lies.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace trireme {

/// Immutable; reads are safe from several threads at once.
class TokenSource {
 public:
  virtual ~TokenSource() = default;
  virtual int64_t num_tokens() const = 0;
  /// Copies ids [begin, begin + count), which must lie in [0, num_tokens()), to `out`. The ids are as stored:
  /// see check_ids. UserError(bad_input) naming file and position for an id that int32 cannot hold.
  virtual void read(int64_t begin, int64_t count, int32_t* out) const = 0;
  /// The file, for messages.
  virtual const std::string& name() const = 0;
  /// The position of id 0 of this source within name(), for messages.
  virtual int64_t first_position() const { return 0; }
};

/// Ids in memory.
class TokenVector final : public TokenSource {
 public:
  TokenVector(std::vector<int32_t> ids, std::string name) : ids_(std::move(ids)), name_(std::move(name)) {}
  int64_t num_tokens() const override { return static_cast<int64_t>(ids_.size()); }
  void read(int64_t begin, int64_t count, int32_t* out) const override;
  const std::string& name() const override { return name_; }

 private:
  std::vector<int32_t> ids_;
  std::string name_;
};

/// Part [begin, end) of another source, e.g. the part kept for validation.
class TokenSlice final : public TokenSource {
 public:
  TokenSlice(std::shared_ptr<const TokenSource> whole, int64_t begin, int64_t end);
  int64_t num_tokens() const override { return end_ - begin_; }
  void read(int64_t begin, int64_t count, int32_t* out) const override;
  const std::string& name() const override { return whole_->name(); }
  int64_t first_position() const override { return whole_->first_position() + begin_; }

 private:
  std::shared_ptr<const TokenSource> whole_;
  int64_t begin_, end_;
};

/// UserError(bad_input) naming `file`, position and value of the first id outside [0, vocab_size);
/// `base_position` is the position of ids[0].
void check_ids(std::span<const int32_t> ids, int64_t vocab_size, const std::string& file,
               int64_t base_position);

}  // namespace trireme
