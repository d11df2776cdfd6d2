#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "emulator/execution.h"

namespace emulator {

namespace {

bool same(const Waiting& a, const Waiting& b) {
  return a.kind == b.kind && a.mask == b.mask && same_line(a.at, b.at);
}

template <class Function>
void for_each_lane(unsigned lanes, const Function& function) {
  for (; lanes != 0; lanes &= lanes - 1) function(static_cast<std::size_t>(std::countr_zero(lanes)));
}

void shuffle(Warp& warp, const Waiting& collective, unsigned lanes) {
  for_each_lane(lanes, [&](std::size_t lane) {
    const int source = warp.sources[lane];
    if (source >= 0 && source < warp_size && (lanes >> source & 1U) != 0) {
      warp.results[lane] = warp.values[static_cast<std::size_t>(source)];
      return;
    }
    report_at(collective, 4, "synccheck",
              "lane " + std::to_string(lane) + " reads lane " + std::to_string(source) +
                  ", which takes no part in the shuffle");
    warp.results[lane] = ~std::uint64_t{0};
  });
}

unsigned combine(WarpReduction reduction, unsigned a, unsigned b) {
  const auto signed_a = static_cast<int>(a);
  const auto signed_b = static_cast<int>(b);
  switch (reduction) {
    case WarpReduction::add:
      return a + b;
    case WarpReduction::min:
      return static_cast<unsigned>(std::min(signed_a, signed_b));
    case WarpReduction::max:
      return static_cast<unsigned>(std::max(signed_a, signed_b));
    case WarpReduction::min_unsigned:
      return std::min(a, b);
    case WarpReduction::max_unsigned:
      return std::max(a, b);
    case WarpReduction::bit_and:
      return a & b;
    case WarpReduction::bit_or:
      return a | b;
    case WarpReduction::bit_xor:
      return a ^ b;
  }
  return 0;
}

void give_all(Warp& warp, unsigned lanes, std::uint64_t result) {
  for_each_lane(lanes, [&](std::size_t lane) { warp.results[lane] = result; });
}

void ballot(Warp& warp, unsigned lanes) {
  unsigned result = 0;
  for_each_lane(lanes, [&](std::size_t lane) { result |= static_cast<unsigned>(warp.values[lane]) << lane; });
  give_all(warp, lanes, result);
}

void reduce(Warp& warp, unsigned lanes) {
  const auto first = static_cast<std::size_t>(std::countr_zero(lanes));
  const auto reduction = static_cast<WarpReduction>(warp.sources[first]);
  auto result = static_cast<unsigned>(warp.values[first]);
  for_each_lane(lanes & (lanes - 1), [&](std::size_t lane) {
    result = combine(reduction, result, static_cast<unsigned>(warp.values[lane]));
  });
  give_all(warp, lanes, result);
}

void match(Warp& warp, unsigned lanes) {
  for_each_lane(lanes, [&](std::size_t lane) {
    unsigned result = 0;
    for_each_lane(lanes,
                  [&](std::size_t other) { result |= (warp.values[other] == warp.values[lane] ? 1U : 0U) << other; });
    warp.results[lane] = result;
  });
}

/// The lanes' accesses so far are before their next ones.
void advance_clocks(Warp& warp, unsigned lanes) {
  std::uint16_t clock = 0;
  for_each_lane(lanes, [&](std::size_t lane) { clock = std::max(clock, warp.clocks[lane]); });
  if (clock == std::numeric_limits<std::uint16_t>::max()) {
    // A new epoch makes earlier accesses of other warps look ordered too: a race may be missed, none is invented.
    block().begin_epoch();
    clock = 0;
  }
  ++clock;
  for_each_lane(lanes, [&](std::size_t lane) { warp.clocks[lane] = clock; });
}

/// The lanes that the running one has to wait for; reports those that cannot come.
unsigned check_mask(const Warp& warp, const Waiting& collective) {
  const unsigned mask = collective.mask;
  if ((mask & ~warp.lanes) != 0 && mask != ~0U) {
    report_at(collective, 6, "synccheck", "the mask names lanes beyond the block");
  }
  if ((mask & warp.done) != 0) {
    report_at(collective, 2, "synccheck",
              std::string(to_string(collective.kind)) + " waits for lane " +
                  std::to_string(std::countr_zero(mask & warp.done)) + ", which has exited");
  }
  return mask & warp.lanes & ~warp.done;
}

/// Waits for all lanes of the mask, of which the last to come completes the collective for all. What the lane brings is
/// in the warp.
void meet(const Waiting& collective) {
  Block& self = block();
  Warp& warp = self.warp();
  const unsigned me = 1U << (self.current() % warp_size);
  unsigned needed = collective.mask;
  if ((needed & me) == 0) {
    report_at(collective, 5, "synccheck", "the calling lane is not in its own mask");
    warp.results[static_cast<std::size_t>(std::countr_zero(me))] = ~std::uint64_t{0};
    return;
  }
  if ((needed & warp.lanes & ~warp.done) != needed) needed = check_mask(warp, collective);
  auto open = std::find_if(warp.open.begin(), warp.open.end(),
                           [&](const OpenCollective& other) { return same(other.waiting, collective); });
  const unsigned arrived = (open == warp.open.end() ? 0U : open->arrived) | me;
  if (arrived != needed) {
    if (open == warp.open.end()) {
      warp.open.push_back({collective, arrived});
    } else {
      open->arrived = arrived;
    }
    self.wait();
    return;
  }
  if (open != warp.open.end()) warp.open.erase(open);
  complete_collective(warp, collective, arrived);
  running.warp_clock = warp.clocks[static_cast<std::size_t>(std::countr_zero(me))];
  self.make_ready(arrived & ~me);
  if (config().order == Order::random) self.yield();
}

/// The running one.
struct Lane {
  Warp& warp = block().warp();
  std::size_t index = static_cast<std::size_t>(block().current() % warp_size);
};

}  // namespace

void complete_collective(Warp& warp, const Waiting& collective, unsigned lanes) {
  switch (collective.kind) {
    case Collective::shuffle:
      shuffle(warp, collective, lanes);
      break;
    case Collective::ballot:
      ballot(warp, lanes);
      break;
    case Collective::reduce:
      reduce(warp, lanes);
      break;
    case Collective::match:
      match(warp, lanes);
      break;
    case Collective::whole_warp:
      reinterpret_cast<void (*)(void* const*)>(warp.values[0])(warp.arguments.data());
      break;
    case Collective::none:
    case Collective::barrier:
    case Collective::sync_warp:
      break;
  }
  // Nothing else orders memory: neither a shuffle nor a wmma operation does.
  if (collective.kind == Collective::sync_warp) advance_clocks(warp, lanes);
}

bool same_line(const Line& a, const Line& b) {
  return a.number == b.number && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

const char* to_string(Collective kind) {
  switch (kind) {
    case Collective::none:
      return "nothing";
    case Collective::barrier:
      return "__syncthreads";
    case Collective::sync_warp:
      return "__syncwarp";
    case Collective::shuffle:
      return "a shuffle";
    case Collective::ballot:
      return "a vote";
    case Collective::reduce:
      return "__reduce_sync";
    case Collective::match:
      return "__match_any_sync";
    case Collective::whole_warp:
      return "a wmma operation";
  }
  return "";
}

int lane_id() {
  return block().current() % warp_size;
}

void warp_sync(unsigned mask, Line at) {
  meet({Collective::sync_warp, mask, at, __builtin_return_address(0)});
}

std::uint64_t warp_shuffle(unsigned mask, std::uint64_t value, int source, Line at) {
  const Lane lane;
  lane.warp.values[lane.index] = value;
  lane.warp.sources[lane.index] = source;
  meet({Collective::shuffle, mask, at, __builtin_return_address(0)});
  return lane.warp.results[lane.index];
}

unsigned warp_ballot(unsigned mask, bool predicate, Line at) {
  const Lane lane;
  lane.warp.values[lane.index] = predicate ? 1 : 0;
  meet({Collective::ballot, mask, at, __builtin_return_address(0)});
  return static_cast<unsigned>(lane.warp.results[lane.index]);
}

unsigned warp_reduce(unsigned mask, unsigned value, WarpReduction reduction, Line at) {
  const Lane lane;
  lane.warp.values[lane.index] = value;
  lane.warp.sources[lane.index] = static_cast<int>(reduction);
  meet({Collective::reduce, mask, at, __builtin_return_address(0)});
  return static_cast<unsigned>(lane.warp.results[lane.index]);
}

unsigned warp_match(unsigned mask, std::uint64_t value, Line at) {
  const Lane lane;
  lane.warp.values[lane.index] = value;
  meet({Collective::match, mask, at, __builtin_return_address(0)});
  return static_cast<unsigned>(lane.warp.results[lane.index]);
}

void call_for_warp(void (*function)(void* const*), void* argument, Line at, const void* pc) {
  const Lane lane;
  lane.warp.values[lane.index] = reinterpret_cast<std::uintptr_t>(function);
  lane.warp.arguments[lane.index] = argument;
  const Waiting collective{Collective::whole_warp, ~0U, at, pc};
  if (lane.warp.lanes != ~0U) report_at(collective, 7, "synccheck", "wmma in a warp of fewer than 32 threads");
  meet(collective);
}

}  // namespace emulator
