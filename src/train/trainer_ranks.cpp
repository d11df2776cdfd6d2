// The parts of Trainer that several ranks have to agree on.

#include <algorithm>
#include <span>

#include "train/trainer.h"
#include "util/crc32c.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

// Checksum of the values of all parameters of one kind.
std::string checksum(Context& context, const ParameterStore& store, ParameterKind kind) {
  std::vector<char> bytes;
  std::uint32_t crc = 0;
  for (const Parameter& parameter : store.parameters()) {
    if (parameter.kind != kind) continue;
    const Tensor& values = parameter.variable.data;
    bytes.resize(values.nbytes());
    context.backend.download(values, bytes.data());
    crc = crc32c(bytes.data(), bytes.size(), crc);
  }
  return crc32c_hex(crc);
}

}  // namespace

// A signal may reach some ranks only, or some of them a step later, and one rank's file may fail.
bool Trainer::agree_to_stop(const std::function<bool()>& should_stop) {
  std::int64_t stop = data_error_ || (should_stop && should_stop()) ? 1 : 0;
  mesh_.world().all_reduce_values(std::span(&stop, 1), Purpose::control, Reduction::max);
  return stop == 1;
}

void Trainer::load_batch() {
  const TraceSpan span(runtime_.context().tracer, TraceKind::phase, "data");
  const std::int64_t batch_size = config_.train.global_batch_size;
  const IndexRange mine = mesh_.local_sequences();
  try {
    loader_->load(step_ * batch_size + mine.begin, mine.size(), batch_);
  } catch (const Error&) {
    data_error_ = std::current_exception();
    return;
  }
  if (step_ + 1 < config_.train.steps) loader_->prefetch((step_ + 1) * batch_size + mine.begin, mine.size());
}

void Trainer::require_data() {
  std::string text;
  try {
    if (data_error_) std::rethrow_exception(data_error_);
  } catch (const Error& error) {
    text = error.what();
  }
  const std::vector<std::string> texts = mesh_.world().all_gather_text(text, Purpose::control);
  const auto found = std::find_if(texts.begin(), texts.end(), [](const std::string& other) { return !other.empty(); });
  if (found == texts.end()) return;
  if (step_ > 0) {
    log_.warn(concat("training stops after step ", step_,
                     ", which is saved, because data cannot be read: put the file right and start again to go on"));
  }
  if (data_error_) std::rethrow_exception(data_error_);
  fail("data", concat("rank ", found - texts.begin(), " has no data: ", *found));
}

void Trainer::check_replicas() {
  const auto check = [this](Communicator& group, ParameterKind kind, const char* what) {
    if (group.size() == 1) return;
    const std::vector<std::string> sums =
        group.all_gather_text(checksum(runtime_.context(), model_.parameters(), kind), Purpose::control);
    const auto other = std::find_if(sums.begin(), sums.end(), [&](const std::string& sum) { return sum != sums[0]; });
    if (other == sums.end()) return;
    fail("replicas",
         concat("required equal ", what, " on the ranks of group ", group.name(), " after step ", step_,
                ", found checksum ", sums[0], " on its rank 0 and ", *other, " on its rank ", other - sums.begin(),
                "; a rank computes or remembers wrongly: resume from the last checkpoint, and if it "
                "happens again, without the machine of that rank"));
  };
  check(mesh_.world(), ParameterKind::dense, "dense parameters");
  check(mesh_.expert_replicas(), ParameterKind::expert, "experts");
}

void Trainer::report_memory() {
  const auto tensors = static_cast<double>(runtime_.context().allocator.stats().peak_bytes);
  const auto transfers = static_cast<double>(mesh_.world().buffer_stats().peak_bytes);
  const bool on_gpu = runtime_.context().allocator.device() == Device::cuda;  // where transfers take tensors
  log_.info(concat("peak memory", mesh_.world().size() > 1 ? concat(" of rank ", mesh_.world().rank()) : "", ": ",
                   format_bytes(tensors), " in tensors",
                   transfers > 0.0
                       ? concat(", ", format_bytes(transfers), on_gpu ? " of them" : " beside them", " in transfers")
                       : ""));
}

void Trainer::count_traffic(StepRecord* record) {
  CommunicationCounters total;
  for (const Communicator* group : {&mesh_.world(), &mesh_.expert(), &mesh_.expert_replicas()}) {
    total.add(group->counters(), 1);
  }
  if (record != nullptr) {
    record->traffic.add(total, 1);
    record->traffic.add(traffic_, -1);
  }
  traffic_ = total;
}

}  // namespace artel
