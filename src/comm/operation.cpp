#include "comm/operation.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double seconds_between_reports = 0.1;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// "all_reduce of 12 f32 (sum, gradients)"
std::string header_text(const MessageHeader& header) {
  const auto kind = static_cast<OperationKind>(header.kind);
  const auto purpose = static_cast<Purpose>(header.purpose);
  std::string text = operation_name(kind);
  if (header.num_elements > 0) {
    text += concat(" of ", header.num_elements, " ", element_name(static_cast<ElementType>(header.element)));
  }
  text += " (";
  if (kind == OperationKind::all_reduce || kind == OperationKind::reduce_scatter) {
    text += concat(reduction_name(static_cast<Reduction>(header.reduction)), ", ");
  }
  if (kind == OperationKind::broadcast) text += concat("root ", header.root, ", ");
  return text + purpose_name(purpose) + ")";
}

bool same_operation(const MessageHeader& a, const MessageHeader& b) {
  return a.kind == b.kind && a.element == b.element && a.reduction == b.reduction && a.purpose == b.purpose &&
         a.root == b.root && a.num_elements == b.num_elements;
}

MessageHeader header_of(const OperationLabel& label) {
  MessageHeader header;
  header.kind = static_cast<std::uint8_t>(label.kind);
  header.element = static_cast<std::uint8_t>(label.element);
  header.reduction = static_cast<std::uint8_t>(label.reduction);
  header.purpose = static_cast<std::uint8_t>(label.purpose);
  header.root = label.root;
  header.num_elements = label.num_elements;
  return header;
}

}  // namespace

const char* operation_name(OperationKind kind) {
  switch (kind) {
    case OperationKind::all_reduce:
      return "all_reduce";
    case OperationKind::reduce_scatter:
      return "reduce_scatter";
    case OperationKind::all_gather:
      return "all_gather";
    case OperationKind::broadcast:
      return "broadcast";
    case OperationKind::all_to_all_v:
      return "all_to_all_v";
    case OperationKind::all_to_all_counts:
      return "all_to_all_counts";
    case OperationKind::all_gather_text:
      return "all_gather_text";
    case OperationKind::barrier:
      return "barrier";
    case OperationKind::split:
      return "split";
  }
  return "an unknown operation";
}

OperationLabel label_of(OperationKind kind, Purpose purpose, const Tensor& x) {
  return {.kind = kind, .purpose = purpose, .element = element_type(x.dtype()), .num_elements = x.numel()};
}

void Family::poll() {
  if (active.empty() && device == nullptr) return;
  try {
    if (device != nullptr) device->poll();
    for (const std::shared_ptr<Operation>& operation : active) operation->progress();
  } catch (const std::exception& error) {
    break_off(error.what());
    throw;
  }
  std::erase_if(active, [](const std::shared_ptr<Operation>& operation) { return operation->is_done(); });
}

void Family::break_off(const std::string& why) {
  if (failure.empty()) failure = why;
  for (const std::shared_ptr<Operation>& operation : active) operation->abandon();
  active.clear();
  if (device != nullptr) device->abort();
}

Operation::Operation(RankGroup& group, const OperationLabel& label, std::vector<OperationStage> stages,
                     std::vector<Tensor> kept)
    : group_(&group),
      label_(label),
      sequence_(group.num_started++),
      stages_(std::move(stages)),
      kept_(std::move(kept)) {
  ++group.counters.num_operations[static_cast<std::size_t>(label.purpose)];
  start_stage();
}

void Operation::start_stage() {
  if (stage_ == stages_.size()) return finish();
  OperationStage& stage = stages_[stage_];
  const auto own = static_cast<std::size_t>(group_->rank());
  std::int64_t& bytes_sent = group_->counters.bytes_sent[static_cast<std::size_t>(label_.purpose)];
  for (std::size_t r = 0; r < stage.send.size(); ++r) {
    bytes_sent += r == own || !stage.is_counted ? 0 : stage.send[r].bytes;
  }
  ExchangeRequest request;
  request.sequence = sequence_;
  request.stage = static_cast<int>(stage_);
  request.header = header_of(label_);
  request.send = std::move(stage.send);
  request.receive = stage.receive;
  request.check = [this](int from, const MessageHeader& found) { check_header(from, found); };
  try {
    exchange_ = group_->transport->start(std::move(request));
  } catch (const TransportFailure& failure) {
    fail_in_transport(failure);
  }
}

void Operation::finish() {
  done_ = true;
  exchange_.reset();
  stages_.clear();
  kept_.clear();
}

void Operation::progress() {
  while (!done_ && group_ != nullptr) {
    try {
      if (!exchange_->progress()) return;
      exchange_.reset();
      if (stages_[stage_].finish) stages_[stage_].finish();
    } catch (const TransportFailure& failure) {
      fail_in_transport(failure);
    }
    ++stage_;
    start_stage();
  }
}

void Operation::wait() {
  if (!done_) wait_until([this] { return done_; });
}

void Operation::wait_until(const std::function<bool()>& done) {
  if (group_ == nullptr) {
    fail("communication", concat("required ", operation_name(label_.kind), " (", purpose_name(label_.purpose),
                                 ") to end, found that an error or the end of its group had ended it first"));
  }
  const auto start = Clock::now();
  RankGroup& group = *group_;
  const double timeout = group.family->options.timeout_seconds;
  double next_report = seconds_between_reports;
  group.transport->begin_wait();
  while (true) {
    group.transport->before_poll();
    group.family->poll();
    if (done()) break;
    const double waited = seconds_since(start);
    if (waited >= timeout) fail_late(timeout);
    if (waited >= next_report) {
      observe(waited);
      next_report = waited + seconds_between_reports;
    }
    group.transport->idle(std::min(timeout, next_report) - waited);
  }
  group.counters.seconds_waited[static_cast<std::size_t>(label_.purpose)] += seconds_since(start);
}

void Operation::abandon() {
  exchange_.reset();
  stages_.clear();
  kept_.clear();
  group_ = nullptr;
}

void Operation::check_header(int from, const MessageHeader& found) const {
  MessageHeader expected = header_of(label_);
  expected.bytes = stages_[stage_].receive[static_cast<std::size_t>(from)].bytes;
  const int world_rank = group_->world_ranks[static_cast<std::size_t>(from)];
  if (!same_operation(expected, found)) {
    fail("communication", concat("required rank ", world_rank, " to call ", header_text(expected), ", found it in ",
                                 header_text(found), "; ", context()));
  }
  if (expected.bytes != found.bytes) {
    fail("communication", concat("required ", expected.bytes, " bytes from rank ", world_rank, " in ",
                                 header_text(expected), ", found ", found.bytes, "; ", context()));
  }
}

std::string Operation::context() const {
  std::string text = concat("this is rank ", group_->world_ranks[static_cast<std::size_t>(group_->rank())],
                            " in group '", group_->name, "', operation ", sequence_);
  if (group_->family->step >= 0) text += concat(" of the group, at step ", group_->family->step);
  return text;
}

void Operation::fail_in_transport(const TransportFailure& failure) const {
  fail("communication",
       concat("required ", header_text(header_of(label_)), " to succeed, found: ", failure.what(), "; ", context()));
}

std::string Operation::missing() const {
  if (exchange_ == nullptr) return "it started by all of them, but not at its end";
  const auto named = [this](const std::vector<int>& ranks) {
    std::vector<std::string> names;
    for (const int r : ranks) names.push_back(std::to_string(group_->world_ranks[static_cast<std::size_t>(r)]));
    return concat(names.size() > 1 ? "ranks " : "rank ", join(names, ", "));
  };
  if (const std::vector<int> silent = exchange_->waiting_for(); !silent.empty()) {
    return "nothing from " + named(silent);
  }
  return concat("its messages to ", named(exchange_->not_taken_by()), " not taken");
}

void Operation::observe(double seconds) const {
  Family& family = *group_->family;
  if (!family.wait_observer) return;
  try {
    family.wait_observer(seconds, concat(header_text(header_of(label_)), " has ", missing(), "; ", context()));
  } catch (const std::exception& error) {
    family.break_off(error.what());
    throw;
  }
}

void Operation::fail_late(double seconds) const {
  const std::string text = concat("required every rank of group '", group_->name, "' to take part in ",
                                  header_text(header_of(label_)), " within ", seconds, " s, found ", missing(), "; ",
                                  context(), "; look for the cause there, or allow more time");
  group_->family->break_off(concat("[communication] ", text));
  fail("communication", text);
}

}  // namespace artel
