#include "emulator/ordering.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "emulator/heap.h"

namespace emulator {
namespace {

/// One use that later ones are compared with.
struct Use {
  std::shared_ptr<const Label> label;  // null: none
  std::size_t timeline = 0;
  std::uint64_t count = 0;
  bool operator==(const Use&) const = default;
};

/// Bytes with the same history: the last write and the reads since, of which none is before another.
struct Segment {
  const char* end = nullptr;
  Use writer;
  std::vector<Use> readers;
  bool same_history(const Segment& other) const { return writer == other.writer && readers == other.readers; }
};
using Segments = std::map<const char*, Segment>;

struct Timelines {
  Clock host = Clock(1, 0);
  Clock counts = Clock(1, 0);  // how many actors each timeline has had
  std::vector<std::size_t> unused;
};

Timelines& timelines() {
  static Timelines instance;
  return instance;
}

Segments& segments() {
  static Segments instance;
  return instance;
}

bool knows(const Clock& clock, std::size_t timeline, std::uint64_t count) {
  return timeline < clock.size() && clock[timeline] >= count;
}

bool is_before(const Use& use, const Actor& actor) {
  return use.label == nullptr || knows(actor.clock, use.timeline, use.count);
}

/// Makes `at` a border between segments.
void split(const char* at) {
  Segments& all = segments();
  auto it = all.upper_bound(at);
  if (it == all.begin()) return;
  --it;
  if (it->first == at || it->second.end <= at) return;
  Segment rest = it->second;
  it->second.end = at;
  all.emplace(at, std::move(rest));
}

void merge(const char* begin, const char* end) {
  Segments& all = segments();
  auto it = all.lower_bound(begin);
  if (it != all.begin()) --it;
  while (it != all.end() && it->first <= end) {
    const auto next = std::next(it);
    if (next == all.end()) return;
    if (it->second.end == next->first && it->second.same_history(next->second)) {
      it->second.end = next->second.end;
      all.erase(next);
    } else {
      it = next;
    }
  }
}

/// Enters the uses of one actor.
class Recorder {
 public:
  explicit Recorder(const Actor& actor)
      : actor_(actor), use_{std::make_shared<const Label>(actor.label), actor.timeline, actor.count} {}

  void record(const Access& access) {
    const char* at = access.range.begin;
    const char* const end = access.range.end;
    if (at == end) return;
    write_ = access.write;
    split(at);
    split(end);
    Segments& all = segments();
    auto it = all.lower_bound(at);
    while (at < end) {
      if (it == all.end() || it->first > at) {
        // Memory that nobody has used yet.
        const char* const gap_end = it == all.end() ? end : std::min(end, it->first);
        it = all.emplace_hint(it, at, Segment{gap_end, {}, {}});
      }
      enter(at, it->second);
      at = it->second.end;
      ++it;
    }
    merge(access.range.begin, end);
  }

 private:
  void enter(const char* begin, Segment& segment) {
    compare(segment.writer, true, begin, segment.end);
    if (write_) {
      for (const Use& reader : segment.readers) compare(reader, false, begin, segment.end);
      segment.writer = use_;
      segment.readers.clear();
      return;
    }
    // Who is ordered after this read is ordered after those that are before it.
    auto& readers = segment.readers;
    readers.erase(std::remove_if(readers.begin(), readers.end(), [this](const Use& r) { return is_before(r, actor_); }),
                  readers.end());
    readers.push_back(use_);
  }

  void compare(const Use& other, bool other_writes, const char* begin, const char* end) {
    if (is_before(other, actor_)) return;
    const std::pair<std::size_t, std::uint64_t> key{other.timeline, other.count};
    if (std::find(reported_.begin(), reported_.end(), key) != reported_.end()) return;
    reported_.push_back(key);
    error("ordering", "%s %s and %s %s the same memory, and neither waits for the other: %s",
          text(*other.label).c_str(), other_writes ? "writes" : "reads", text(actor_.label).c_str(),
          write_ ? "writes" : "reads", heap_describe(begin, static_cast<std::size_t>(end - begin)).c_str());
  }

  const Actor& actor_;
  Use use_;
  bool write_ = false;
  std::vector<std::pair<std::size_t, std::uint64_t>> reported_;
};

}  // namespace

std::string text(const Label& label) {
  std::string text = label.kernel != nullptr ? kernel_name(label.kernel) : label.call;
  if (label.stream == legacy_stream_id) {
    text += " on the legacy default stream";
  } else if (label.stream != 0) {
    text += " on stream " + std::to_string(label.stream);
  }
  return text;
}

void join(Clock& clock, const Clock& other) {
  if (clock.size() < other.size()) clock.resize(other.size(), 0);
  for (std::size_t i = 0; i < other.size(); ++i) clock[i] = std::max(clock[i], other[i]);
}

Clock& host_clock() {
  return timelines().host;
}

Actor next_actor(std::size_t timeline, Clock& clock, Label label) {
  if (clock.size() <= timeline) clock.resize(timeline + 1, 0);
  const std::uint64_t count = ++timelines().counts[timeline];
  clock[timeline] = count;
  return {std::move(label), timeline, count, clock};
}

Actor host_actor(const char* call) {
  return next_actor(host_timeline, host_clock(), {call, nullptr, 0});
}

std::size_t add_timeline() {
  Timelines& t = timelines();
  for (std::size_t& candidate : t.unused) {
    if (!knows(t.host, candidate, t.counts[candidate])) continue;
    const std::size_t timeline = candidate;
    std::swap(candidate, t.unused.back());
    t.unused.pop_back();
    return timeline;
  }
  t.counts.push_back(0);
  return t.counts.size() - 1;
}

void remove_timeline(std::size_t timeline) {
  timelines().unused.push_back(timeline);
}

void use_memory(const Actor& actor, const std::vector<Access>& uses) {
  Recorder recorder(actor);
  for (const Access& use : uses) recorder.record(use);
}

void forget_uses(const void* p, std::size_t bytes) {
  const char* const begin = static_cast<const char*>(p);
  split(begin);
  split(begin + bytes);
  Segments& all = segments();
  all.erase(all.lower_bound(begin), all.lower_bound(begin + bytes));
}

}  // namespace emulator
