#include "models/compress/shared_rounding.h"

#include <algorithm>
#include <array>
#include <utility>

#include "runtime/base/error.h"

namespace trireme {

namespace {

template <class T>
Tensor borrowed(std::vector<T>& values) {
  return Tensor::borrow(values.data(), {std::ssize(values)}, DTypeOf<T>::value);
}

// Rows of a matrix, on the ranks that made them, to all.
class RowExchange {
 public:
  RowExchange(Context& ctx, Communicator& ranks, int64_t rows) : ctx_(ctx), ranks_(ranks), rows_(rows) {}

  Part share(int rank) const { return {rows_ * rank / ranks_.size(), rows_ * (rank + 1) / ranks_.size()}; }
  Part own() const { return share(ranks_.rank()); }

  /// `own` has this rank's rows of `width` elements each.
  template <class T>
  std::vector<T> gather(const std::vector<T>& own_rows, int64_t width) const {
    std::vector<T> all(static_cast<size_t>(rows_ * width));
    std::copy(own_rows.begin(), own_rows.end(), all.begin() + own().begin * width);
    for (int rank = 0; rank < ranks_.size(); ++rank) {
      const Part part = share(rank);
      const int64_t numel = part.size() * width;
      if (numel == 0) continue;
      ranks_.broadcast(ctx_.host_stream(),
                       Tensor::borrow(all.data() + part.begin * width, {numel}, DTypeOf<T>::value), rank);
    }
    return all;
  }

 private:
  Context& ctx_;
  Communicator& ranks_;
  int64_t rows_;
};

double sum_of_squares(std::span<const float> values) {
  double sum = 0;
  for (const float x : values) sum += static_cast<double>(x) * x;
  return sum;
}

// The last rank always has rows.
void share_order(Context& ctx, Communicator& ranks, ops::CodedMatrix& matrix) {
  std::vector<int64_t> count{std::ssize(matrix.order)};
  ranks.broadcast(ctx.host_stream(), borrowed(count), ranks.size() - 1);
  if (count[0] == 0) return;
  matrix.order.resize(static_cast<size_t>(count[0]));
  ranks.broadcast(ctx.host_stream(), borrowed(matrix.order), ranks.size() - 1);
}

std::string share_text(Context& ctx, Communicator& ranks, const std::string& text, int root) {
  std::vector<int64_t> count{std::ssize(text)};
  ranks.broadcast(ctx.host_stream(), borrowed(count), root);
  std::vector<uint8_t> bytes(text.begin(), text.end());
  bytes.resize(static_cast<size_t>(count[0]));
  if (!bytes.empty()) ranks.broadcast(ctx.host_stream(), borrowed(bytes), root);
  return {bytes.begin(), bytes.end()};
}

RoundingReport share_report(Context& ctx, Communicator& ranks, const RoundingReport& own, double weight) {
  std::vector<double> sums{own.error * weight, weight}, largest{own.damping, static_cast<double>(own.dead)};
  ranks.all_reduce(ctx.host_stream(), borrowed(sums));
  ranks.all_reduce(ctx.host_stream(), borrowed(largest), ReduceOp::max);
  return {.error = sums[1] > 0 ? sums[0] / sums[1] : 0,
          .damping = largest[0],
          .dead = static_cast<int64_t>(largest[1]),
          .note = share_text(ctx, ranks, own.note, ranks.size() - 1)};
}

/// Of a rank's rows in the error of all: what their weights give by themselves.
double weight_of(Context& ctx, const Communicator& ranks, const std::vector<float>& values,
                 const InputStatistics& statistics) {
  if (values.empty()) return 0;
  if (ranks.size() == 1) return 1;
  if (statistics.is_empty()) return sum_of_squares(values);
  return output_error(ctx, values, std::ssize(values) / statistics.inputs, statistics);
}

template <class Work>
void with_name(const FoldedWeights& weights, const Parameter& p, const Work& work) {
  try {
    work();
  } catch (const UserError& error) {
    throw_user(error.code(), "{}: {}: {}", weights.source().path(), p.name, error.what());
  }
}

}  // namespace

std::string describe_rounding(const RoundingOptions& options) {
  std::string text = ops::to_string(options.spec);
  text += options.method == RoundingMethod::gptq ? ", gptq" : ", nearest";
  if (options.method == RoundingMethod::gptq && options.order == ColumnOrder::static_groups)
    text += " in activation order, static groups";
  if (options.method == RoundingMethod::gptq && options.order == ColumnOrder::groups)
    text += " in activation order";
  if (options.clips) text += ", clipped";
  return text;
}

QuantizedMatrix quantize_together(Context& ctx, Communicator& ranks, const Parameter& p,
                                  const FoldedWeights& weights, const InputStatistics& statistics,
                                  const RoundingOptions& options) {
  const int64_t outputs = p.global_shape[0], inputs = p.global_shape[1];
  const RowExchange exchange(ctx, ranks, outputs);
  const Part rows = exchange.own();
  RoundedMatrix own;
  std::vector<float> values;
  if (rows.size() > 0) {
    values = weights.rows(p, rows.begin, rows.end);
    with_name(weights, p,
              [&] { own = quantize_matrix(ctx, values, rows.size(), inputs, statistics, options); });
  }
  QuantizedMatrix result{.matrix = {.spec = options.spec,
                                    .outputs = outputs,
                                    .inputs = inputs,
                                    .codes = exchange.gather(own.matrix.codes, inputs),
                                    .scales = {},
                                    .zeros = {},
                                    .order = std::move(own.matrix.order)},
                         .values = {},
                         .outcome = {.name = p.name, .what = {}, .tokens = statistics.tokens, .report = {}}};
  ops::CodedMatrix& matrix = result.matrix;
  const int64_t groups = matrix.groups();
  matrix.scales = exchange.gather(own.matrix.scales, groups);
  std::vector<int64_t> num_zeros{std::ssize(own.matrix.zeros)};
  ranks.all_reduce(ctx.host_stream(), borrowed(num_zeros), ReduceOp::max);
  if (num_zeros[0] > 0) matrix.zeros = exchange.gather(own.matrix.zeros, groups);
  share_order(ctx, ranks, matrix);
  result.outcome.report = share_report(ctx, ranks, own.report, weight_of(ctx, ranks, values, statistics));
  RoundingOptions done = options;
  if (statistics.is_empty()) done.method = RoundingMethod::nearest;
  result.outcome.what = describe_rounding(done);
  return result;
}

QuantizedMatrix prune_together(Context& ctx, Communicator& ranks, const Parameter& p,
                               const FoldedWeights& weights, const InputStatistics& statistics,
                               const PruneOptions& options) {
  const int64_t outputs = p.global_shape[0], inputs = p.global_shape[1];
  const RowExchange exchange(ctx, ranks, outputs);
  const Part rows = exchange.own();
  const ops::RowRanks shares{
      ranks.rank(), ranks.size(), [&](std::span<int64_t> counts) {
        ranks.all_reduce(ctx.host_stream(), Tensor::borrow(counts.data(), {std::ssize(counts)}, DType::i64));
      }};
  // Ranks without rows count with the others.
  const std::vector<float> values =
      rows.size() > 0 ? weights.rows(p, rows.begin, rows.end) : std::vector<float>();
  PrunedMatrix own;
  with_name(weights, p,
            [&] { own = prune_matrix(ctx, values, rows.size(), inputs, statistics, options, shares); });
  QuantizedMatrix result{.matrix = {},
                         .values = exchange.gather(own.values, inputs),
                         .outcome = {.name = p.name, .what = {}, .tokens = statistics.tokens, .report = {}}};
  result.outcome.report = share_report(ctx, ranks, own.report, weight_of(ctx, ranks, values, statistics));
  PruneOptions done = options;
  if (statistics.is_empty()) done.method = PruneMethod::magnitude;
  result.outcome.what = describe_pruning(done);
  return result;
}

namespace {

// What travels of a result.
struct Message {
  std::vector<int64_t>
      sizes;  // outputs, inputs, spec, tokens, dead, elements of each array, lengths of texts
  std::vector<double> numbers;
  std::vector<uint8_t> texts;
  ops::CodedMatrix matrix;
  std::vector<float> values;
  MatrixOutcome outcome;

  explicit Message(QuantizedMatrix r)
      : matrix(std::move(r.matrix)), values(std::move(r.values)), outcome(std::move(r.outcome)) {
    const RoundingReport& report = outcome.report;
    sizes = {matrix.outputs,           matrix.inputs,
             std::ssize(matrix.codes), std::ssize(matrix.scales),
             std::ssize(matrix.zeros), std::ssize(matrix.order),
             outcome.tokens,           report.dead,
             std::ssize(outcome.name), std::ssize(outcome.what),
             std::ssize(report.note),  static_cast<int64_t>(matrix.spec.format),
             matrix.spec.group,        matrix.spec.symmetric ? 1 : 0,
             std::ssize(values),       matrix.spec.sparse ? 1 : 0};
    numbers = {report.error, report.damping};
    const std::string* of_outcome[] = {&outcome.name, &outcome.what, &report.note};
    for (const std::string* text : of_outcome) texts.insert(texts.end(), text->begin(), text->end());
  }
  Message() : Message(QuantizedMatrix{}) {}

  size_t size(size_t i) const { return static_cast<size_t>(sizes[i]); }
  // Once the sizes are there.
  void make_room() {
    matrix.outputs = sizes[0];
    matrix.inputs = sizes[1];
    matrix.codes.resize(size(2));
    matrix.scales.resize(size(3));
    matrix.zeros.resize(size(4));
    matrix.order.resize(size(5));
    matrix.spec = {static_cast<ops::PackedFormat>(sizes[11]), sizes[12], sizes[13] != 0, sizes[15] != 0};
    texts.resize(size(8) + size(9) + size(10));
    values.resize(size(14));
  }
  QuantizedMatrix result() && {
    outcome.tokens = sizes[6];
    outcome.report = {.error = numbers[0], .damping = numbers[1], .dead = sizes[7], .note = {}};
    auto at = texts.begin();
    const auto next = [&](size_t i) {
      const auto begin = std::exchange(at, at + sizes[i]);
      return std::string(begin, at);
    };
    outcome.name = next(8);
    outcome.what = next(9);
    outcome.report.note = next(10);
    return {std::move(matrix), std::move(values), std::move(outcome)};
  }
};

}  // namespace

std::optional<QuantizedMatrix> deliver(Context& ctx, Communicator& world, int root, bool to_all,
                                       std::optional<QuantizedMatrix> result) {
  const bool gives = world.rank() == root;
  if (!to_all && (root == 0 || (!gives && world.rank() != 0))) return result;
  TRIREME_CHECK(!gives || result, "rank {} has no result to deliver", root);
  Message message = gives ? Message(std::move(*result)) : Message();
  const auto pass = [&](const Tensor& t) {
    if (t.numel() == 0) return;
    if (to_all) return world.broadcast(ctx.host_stream(), t, root);
    if (gives) return world.send(ctx.host_stream(), t, 0);
    world.receive(ctx.host_stream(), t, root);
  };
  pass(borrowed(message.sizes));
  message.make_room();
  pass(borrowed(message.numbers));
  pass(borrowed(message.texts));
  pass(borrowed(message.values));
  pass(borrowed(message.matrix.codes));
  pass(borrowed(message.matrix.scales));
  pass(borrowed(message.matrix.zeros));
  pass(borrowed(message.matrix.order));
  return std::move(message).result();
}

}  // namespace trireme
