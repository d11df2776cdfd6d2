#include "train/gradient_sync.h"

namespace artel {

std::vector<std::int64_t> piece_sizes(const GradientBucket& bucket) {
  std::vector<std::int64_t> sizes;
  for (std::size_t i = 0; i + 1 < bucket.cuts.size(); ++i) sizes.push_back(bucket.cuts[i + 1] - bucket.cuts[i]);
  return sizes;
}

GradientSync::GradientSync(ParameterStore& store, const Mesh& mesh, std::vector<GradientBucket> buckets, bool sharded)
    : store_(store), mesh_(mesh), buckets_(std::move(buckets)), sharded_(sharded) {
  num_parameters_.assign(buckets_.size(), 0);
  if (!is_active()) return;
  for (const Parameter& parameter : store_.parameters()) {
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      if (parameter.arena_offset < buckets_[i].begin() || parameter.arena_offset >= buckets_[i].end()) continue;
      ++num_parameters_[i];
      parameter.variable.slot->on_complete = [this, i] { on_complete(i); };
    }
  }
}

GradientSync::~GradientSync() {
  if (!is_active()) return;
  for (const Parameter& parameter : store_.parameters()) parameter.variable.slot->on_complete = nullptr;
}

void GradientSync::arm() {
  armed_ = is_active();
  next_ = 0;
  num_missing_ = num_parameters_;
}

void GradientSync::finish() {
  if (!armed_) return;
  for (; next_ < buckets_.size(); ++next_) launch(buckets_[next_]);
  for (const Pending& operation : pending_) operation->wait();
  pending_.clear();
  armed_ = false;
}

void GradientSync::gather_values() {
  if (!sharded_ || !is_active()) return;
  for (const GradientBucket& bucket : buckets_) {
    Communicator& group = group_of(bucket);
    const auto rank = static_cast<std::size_t>(group.rank());
    pending_.push_back(group.start_all_gather(store_.values().rows(bucket.cuts[rank], bucket.cuts[rank + 1]),
                                              piece_sizes(bucket), store_.values().rows(bucket.begin(), bucket.end()),
                                              Purpose::parameters));
  }
  for (const Pending& operation : pending_) operation->wait();
  pending_.clear();
}

Communicator& GradientSync::group_of(const GradientBucket& bucket) const {
  return bucket.kind == ParameterKind::dense ? mesh_.world() : mesh_.expert_replicas();
}

void GradientSync::on_complete(std::size_t bucket) {
  if (!armed_) return;
  --num_missing_[bucket];
  launch_ready();
}

void GradientSync::launch_ready() {
  while (next_ < buckets_.size() && num_missing_[next_] == 0) launch(buckets_[next_++]);
}

void GradientSync::launch(const GradientBucket& bucket) {
  Communicator& group = group_of(bucket);
  if (group.size() == 1) return;
  const Tensor sums = store_.gradients().rows(bucket.begin(), bucket.end());
  if (!sharded_) {
    pending_.push_back(group.start_all_reduce(sums, Purpose::gradients));
    return;
  }
  const auto rank = static_cast<std::size_t>(group.rank());
  pending_.push_back(group.start_reduce_scatter(sums, piece_sizes(bucket),
                                                store_.gradients().rows(bucket.cuts[rank], bucket.cuts[rank + 1]),
                                                Purpose::gradients));
}

}  // namespace artel
