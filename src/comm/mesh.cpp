#include "comm/mesh.h"

#include <algorithm>

#include "util/error.h"
#include "util/host.h"
#include "util/text.h"

namespace artel {
namespace {

// The values of 1..limit that are `good` and next to `value`, below and above: "4 or 8".
template <class Good>
std::string nearest(std::int64_t value, std::int64_t limit, const Good& good) {
  std::vector<std::string> found;
  for (std::int64_t v = std::min(value, limit); v >= 1; --v) {
    if (!good(v)) continue;
    found.push_back(std::to_string(v));
    break;
  }
  for (std::int64_t v = value + 1; v <= limit; ++v) {
    if (!good(v)) continue;
    found.push_back(std::to_string(v));
    break;
  }
  return join(found, " or ");
}

// Multiples of `unit` next to `value`: "12 or 16".
std::string nearest_multiples(std::int64_t value, std::int64_t unit) {
  const std::int64_t below = value / unit * unit;
  return (below > 0 ? concat(below, " or ") : std::string()) + std::to_string(below + unit);
}

void check_positive(const char* name, std::int64_t value) {
  if (value < 1) fail(name, concat("required at least 1, found ", value));
}

void check_experts(const MeshSizes& sizes) {
  const std::int64_t world = sizes.world_size;
  if (sizes.num_experts == 0) {
    if (sizes.expert > 1) {
      fail("parallel.expert",
           concat("required 1, since the model has no experts to spread (model.num_experts: 0), found ", sizes.expert));
    }
    return;
  }
  const auto possible = [&](std::int64_t expert) { return world % expert == 0 && sizes.num_experts % expert == 0; };
  if (possible(sizes.expert)) return;
  const std::string use = nearest(sizes.expert, std::min(world, sizes.num_experts), possible);
  if (sizes.expert > world) {
    fail("parallel.expert", concat("required at most the number of ranks, ", world, ", found ", sizes.expert, "; use ",
                                   use, ", or start at least ", sizes.expert, " ranks"));
  }
  if (sizes.num_experts % sizes.expert != 0) {
    fail("parallel.expert", concat("required a divisor of model.num_experts ", sizes.num_experts,
                                   " and of the number of ranks ", world, ", found ", sizes.expert, "; use ", use));
  }
  fail("parallel.expert", concat("required a divisor of the number of ranks, ", world, ", found ", sizes.expert,
                                 "; use ", use, ", or start ", nearest_multiples(world, sizes.expert), " ranks"));
}

void check_batch(const MeshSizes& sizes) {
  const std::int64_t world = sizes.world_size;
  const std::int64_t global = sizes.global_batch_size;
  if (world > global) {
    fail("train.global_batch_size", concat("required at least one sequence per rank, ", world, " in all, found ",
                                           global, "; start at most ", global, " ranks, or use ", world));
  }
  if (global % world != 0) {
    const auto divides = [&](std::int64_t ranks) { return global % ranks == 0; };
    fail("train.global_batch_size", concat("required a multiple of the number of ranks, ", world, ", found ", global,
                                           "; use ", nearest_multiples(global, world * sizes.micro_batch_size),
                                           ", or start ", nearest(world, global, divides), " ranks"));
  }
  const std::int64_t share = global / world;
  if (share % sizes.micro_batch_size != 0) {
    const auto divides = [&](std::int64_t micro) { return share % micro == 0; };
    fail("train.micro_batch_size",
         concat("required a divisor of a rank's share of the global batch, ", global, " / ", world, " = ", share,
                " sequences, found ", sizes.micro_batch_size, "; use ", nearest(sizes.micro_batch_size, share, divides),
                ", or train.global_batch_size ", nearest_multiples(global, world * sizes.micro_batch_size)));
  }
}

}  // namespace

MeshLayout::MeshLayout(const MeshSizes& sizes) : sizes_(sizes) {
  check_positive("ranks", sizes.world_size);
  check_positive("parallel.expert", sizes.expert);
  check_positive("train.global_batch_size", sizes.global_batch_size);
  check_positive("train.micro_batch_size", sizes.micro_batch_size);
  if (sizes.num_experts < 0) fail("model.num_experts", concat("required at least 0, found ", sizes.num_experts));
  check_experts(sizes);
  check_batch(sizes);
}

IndexRange MeshLayout::experts_at(int position) const {
  return {position * num_local_experts(), (position + 1) * num_local_experts()};
}

int MeshLayout::position_of_expert(std::int64_t expert) const {
  return static_cast<int>(expert / num_local_experts());
}

IndexRange MeshLayout::sequences_of(int rank) const {
  const std::int64_t share = sizes_.global_batch_size / sizes_.world_size;
  return {rank * share, (rank + 1) * share};
}

IndexRange MeshLayout::micro_batch_of(int rank, std::int64_t pass) const {
  const std::int64_t begin = sequences_of(rank).begin + pass * sizes_.micro_batch_size;
  return {begin, begin + sizes_.micro_batch_size};
}

void check_hosts(const MeshLayout& layout, const std::vector<std::string>& hosts) {
  for (int rank = 0; rank < layout.world_size(); ++rank) {
    const int first = layout.expert_group_of(rank) * layout.expert_size();
    const std::string& host = hosts[static_cast<std::size_t>(rank)];
    const std::string& first_host = hosts[static_cast<std::size_t>(first)];
    if (host == first_host) continue;
    fail("parallel.expert",
         concat("required the ", layout.expert_size(), " ranks of an expert group on one host, found rank ", first,
                " on ", first_host, " and rank ", rank, " on ", host,
                "; start ranks of one host one after the other and a multiple of ", layout.expert_size(),
                " on each, use a smaller parallel.expert, or set parallel.expert_across_hosts: true"));
  }
}

Mesh::Mesh(Communicator& world, const MeshLayout& layout, const MeshOptions& options) : world_(world), layout_(layout) {
  if (world.size() != layout.world_size()) {
    fail("mesh", concat("required a layout for the ", world.size(), " ranks of the world, found one for ",
                        layout.world_size()));
  }
  if (layout.expert_size() > 1 && !options.expert_across_hosts) {
    check_hosts(layout, world.all_gather_text(host_name(), Purpose::control));
  }
  const int group = layout.expert_group_of(world.rank());
  const int position = layout.expert_position_of(world.rank());
  expert_ = world.split(group, world.rank(), concat("expert ", group));
  replicas_ = world.split(position, world.rank(), concat("expert replicas ", position));
}

}  // namespace artel
