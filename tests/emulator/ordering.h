#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "emulator/internal.h"

// Who uses which memory when, whatever the schedule. Every stream has a timeline, the host has one, and a vector clock
// says of each operation which others are certain to have ended before it begins: earlier ones of its stream, those
// that an event has made it wait for, those that the host had waited for when it enqueued it. Two operations of which
// neither is before the other must not use the same memory when one of them writes.
namespace emulator {

/// Names an operation in messages: "cudaMemcpyAsync on stream 2".
struct Label {
  std::string call;
  const void* kernel = nullptr;  ///< if it is a launch: its name is looked up only for a message
  std::uint64_t stream = 0;      ///< of its stream; 0: the host itself
};
constexpr std::uint64_t legacy_stream_id = ~std::uint64_t{0};
std::string text(const Label& label);

/// Entry t counts how many operations of timeline t are over; missing entries are 0.
using Clock = std::vector<std::uint64_t>;
/// Makes `clock` know what `other` knows.
void join(Clock& clock, const Clock& other);

constexpr std::size_t host_timeline = 0;

/// An operation, or something that the host does: the count-th of its timeline.
struct Actor {
  Label label;
  std::size_t timeline = host_timeline;
  std::uint64_t count = 0;
  Clock clock;  ///< what is before it, and itself
};

/// What the host has waited for.
Clock& host_clock();
/// The next thing that the host does.
Actor host_actor(const char* call);
/// The next operation of a timeline whose clock is `clock`, which then includes it.
Actor next_actor(std::size_t timeline, Clock& clock, Label label);

/// A timeline for a new stream. One that was given back is used again once the host knows all of it.
std::size_t add_timeline();
void remove_timeline(std::size_t timeline);

/// Records what the actor reads or writes, and reports (ordering) each operation that used the same memory and is not
/// before it, if one of the two writes. Calls come in an order in which operations may run.
void use_memory(const Actor& actor, const std::vector<Access>& uses);
/// The memory is a new piece from here on.
void forget_uses(const void* p, std::size_t bytes);

}  // namespace emulator
