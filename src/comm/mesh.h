#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace artel {

/// The numbers that decide who does what; names as in the config.
struct MeshSizes {
  int world_size = 1;                  ///< ranks
  std::int64_t expert = 1;             ///< parallel.expert
  std::int64_t num_experts = 0;        ///< model.num_experts; 0: a dense model
  std::int64_t global_batch_size = 1;  ///< sequences per step
  std::int64_t micro_batch_size = 1;   ///< sequences per rank and pass
};

struct IndexRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t size() const { return end - begin; }
  bool operator==(const IndexRange&) const = default;
};

/// All arithmetic of ranks, from numbers alone. Rank r is in expert group r / expert at position r mod expert; ranks at
/// one position hold the same experts and are one another's replicas.
class MeshLayout {
 public:
  /// Errors: experts or ranks that parallel.expert does not divide, more ranks than sequences, a global batch that
  /// ranks times micro-batch does not divide; each with the nearest values that work.
  explicit MeshLayout(const MeshSizes& sizes);

  const MeshSizes& sizes() const { return sizes_; }
  int world_size() const { return sizes_.world_size; }
  int expert_size() const { return static_cast<int>(sizes_.expert); }
  /// Ranks that hold the same experts; also the number of expert groups.
  int num_replicas() const { return world_size() / expert_size(); }
  /// Passes over micro-batches per step.
  std::int64_t accumulation() const { return sizes_.global_batch_size / (sizes_.micro_batch_size * sizes_.world_size); }

  int expert_group_of(int rank) const { return rank / expert_size(); }
  int expert_position_of(int rank) const { return rank % expert_size(); }

  std::int64_t num_local_experts() const { return sizes_.num_experts / sizes_.expert; }
  /// Experts of the rank at this position of an expert group: num_experts / expert consecutive ones.
  IndexRange experts_at(int position) const;
  IndexRange experts_of(int rank) const { return experts_at(expert_position_of(rank)); }
  /// The position in an expert group that holds this expert.
  int position_of_expert(std::int64_t expert) const;

  /// Sequences of the global batch that are this rank's: consecutive, in rank order.
  IndexRange sequences_of(int rank) const;
  /// Those of them that are its micro-batch `pass`, 0 <= pass < accumulation().
  IndexRange micro_batch_of(int rank, std::int64_t pass) const;

 private:
  MeshSizes sizes_;
};

/// Refuses expert groups whose ranks are on several hosts, which would send every token over the network.
/// hosts: one name per rank.
void check_hosts(const MeshLayout& layout, const std::vector<std::string>& hosts);

struct MeshOptions {
  /// Expert groups may spread over hosts (parallel.expert_across_hosts); otherwise check_hosts().
  bool expert_across_hosts = false;
};

/// The groups that a rank works in, made by splitting the world; made by every rank at the same time.
class Mesh {
 public:
  /// Errors: a world of another size than the layout's; check_hosts().
  Mesh(Communicator& world, const MeshLayout& layout, const MeshOptions& options = {});

  const MeshLayout& layout() const { return layout_; }
  /// All ranks. Dense parameters are replicated over it, and it shares out the data.
  Communicator& world() const { return world_; }
  /// The ranks that share one set of experts: expert consecutive ones, this one at position
  /// layout().expert_position_of.
  Communicator& expert() const { return *expert_; }
  /// The ranks that hold the same experts, in order of their expert groups: expert gradients are summed over it.
  Communicator& expert_replicas() const { return *replicas_; }

  IndexRange local_experts() const { return layout_.experts_of(world_.rank()); }
  IndexRange local_sequences() const { return layout_.sequences_of(world_.rank()); }
  IndexRange micro_batch(std::int64_t pass) const { return layout_.micro_batch_of(world_.rank(), pass); }

 private:
  Communicator& world_;
  MeshLayout layout_;
  std::unique_ptr<Communicator> expert_;
  std::unique_ptr<Communicator> replicas_;
};

}  // namespace artel
