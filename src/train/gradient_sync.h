#pragma once

#include <vector>

#include "comm/mesh.h"
#include "nn/parameter.h"

namespace artel {

/// Sums gradients over the ranks that hold copies: dense parameters over the world, experts over their replicas. A
/// bucket goes as soon as backward has made its last contribution, always in the order of the buckets, so that every
/// rank starts the same operations in the same order and transfers run beside the rest of backward.
class GradientSync {
 public:
  /// With `sharded` a rank ends up with the sums of its own pieces alone (ZeRO stage 1), else with all sums; the bits
  /// are the same. Hooks itself to the parameters of an allocated store. All references must outlive it.
  GradientSync(ParameterStore& store, const Mesh& mesh, std::vector<GradientBucket> buckets, bool sharded);
  ~GradientSync();
  GradientSync(const GradientSync&) = delete;
  GradientSync& operator=(const GradientSync&) = delete;

  /// The backward that comes is the last of the step.
  void arm();
  /// Sends what no contribution completed (experts without tokens, say) and waits for all.
  void finish();
  /// After a sharded update: brings every rank the new values of all pieces.
  void gather_values();

  Communicator& world() const { return mesh_.world(); }

 private:
  bool is_active() const { return world().size() > 1; }
  Communicator& group_of(const GradientBucket& bucket) const;
  void on_complete(std::size_t bucket);
  void launch_ready();
  void launch(const GradientBucket& bucket);

  ParameterStore& store_;
  const Mesh& mesh_;
  std::vector<GradientBucket> buckets_;
  bool sharded_;
  bool armed_ = false;
  std::size_t next_ = 0;             ///< first bucket that has not gone
  std::vector<int> num_missing_;     ///< [buckets] parameters whose contributions are not complete
  std::vector<int> num_parameters_;  ///< [buckets]
  std::vector<Pending> pending_;
};

/// [ranks] sizes of the pieces of a bucket.
std::vector<std::int64_t> piece_sizes(const GradientBucket& bucket);

}  // namespace artel
