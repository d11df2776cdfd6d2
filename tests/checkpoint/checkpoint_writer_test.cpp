#include "checkpoint/checkpoint_writer.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "checkpoint/snapshots.h"
#include "support/catch.h"
#include "support/error_text.h"
#include "support/temporary_directory.h"

using namespace artel;

namespace {

// Holds every opening of a manifest back while the gate is closed, and fails as many as asked.
class GatedFileLayer : public UnsyncedFileLayer {
 public:
  OutputFile open_write(const std::string& path) override {
    if (contains(path, "manifest.json")) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return open_; });
      if (num_failures_ > 0) {
        --num_failures_;
        fail("files", "no space left (injected) for " + path);
      }
    }
    return UnsyncedFileLayer::open_write(path);
  }
  void close_gate() {
    const std::lock_guard lock(mutex_);
    open_ = false;
  }
  void open_gate() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void fail_next(int count) {
    const std::lock_guard lock(mutex_);
    num_failures_ = count;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  int num_failures_ = 0;
};

bool is_saved(const std::string& root, const Snapshot& snapshot) {
  UnsyncedFileLayer files;
  for (const std::string& path : list_checkpoints(files, root)) {
    if (holds(Checkpoint(files, path), snapshot)) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("a writer that is given nothing ends at once") {
  const TemporaryDirectory directory;
  GatedFileLayer files;
  const auto world = make_self_communicator();
  CheckpointWriter writer(files, directory.path(), 0, *world);
  CHECK(writer.finish().empty());
  CHECK(writer.poll().empty());
}

TEST_CASE("a snapshot is written beside the caller") {
  const TemporaryDirectory directory;
  GatedFileLayer files;
  const auto world = make_self_communicator();
  CheckpointWriter writer(files, directory.path(), 2, *world);
  files.close_gate();
  writer.start(make_snapshot(1));  // returns although the write cannot end
  CHECK(writer.poll().empty());
  CHECK_FALSE(is_saved(directory.path(), make_snapshot(1)));
  files.open_gate();
  CHECK(writer.finish().empty());
  CHECK(is_saved(directory.path(), make_snapshot(1)));
  for (std::int64_t step = 2; step <= 6; ++step) writer.start(make_snapshot(step));
  CHECK(writer.finish().empty());
  CHECK(is_saved(directory.path(), make_snapshot(5)));
  CHECK(is_saved(directory.path(), make_snapshot(6)));
  CHECK_FALSE(is_saved(directory.path(), make_snapshot(4)));
}

TEST_CASE("the destructor waits for the write under way") {
  const TemporaryDirectory directory;
  GatedFileLayer files;
  std::thread opener;
  {
    const auto world = make_self_communicator();
    CheckpointWriter writer(files, directory.path(), 0, *world);
    files.close_gate();
    writer.start(make_snapshot(1));
    opener = std::thread([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      files.open_gate();
    });
  }
  CHECK(is_saved(directory.path(), make_snapshot(1)));
  opener.join();
}

TEST_CASE("a second start waits for the first write") {
  const TemporaryDirectory directory;
  GatedFileLayer files;
  const auto world = make_self_communicator();
  CheckpointWriter writer(files, directory.path(), 0, *world);
  files.close_gate();
  writer.start(make_snapshot(1));
  std::atomic<bool> opened = false;
  std::thread opener([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    opened = true;
    files.open_gate();
  });
  writer.start(make_snapshot(2));
  CHECK(opened);
  CHECK(is_saved(directory.path(), make_snapshot(1)));
  CHECK(writer.finish().empty());
  CHECK(is_saved(directory.path(), make_snapshot(2)));
  opener.join();
}

TEST_CASE("an error is returned once, and the writer goes on") {
  const TemporaryDirectory directory;
  GatedFileLayer files;
  const auto world = make_self_communicator();
  CheckpointWriter writer(files, directory.path(), 0, *world);
  files.fail_next(1);
  writer.start(make_snapshot(1));
  CHECK(contains(writer.finish(), "[files] no space left (injected) for "));
  CHECK(writer.finish().empty());
  CHECK(writer.poll().empty());

  files.fail_next(1);
  files.close_gate();
  writer.start(make_snapshot(2));
  CHECK(writer.poll().empty());  // not known yet
  files.open_gate();
  std::string error;
  while (error.empty()) error = writer.poll();
  CHECK(contains(error, ".tmp-step-00000002/manifest.json"));
  CHECK(writer.poll().empty());
  CHECK(writer.finish().empty());

  writer.start(make_snapshot(3));
  CHECK(writer.finish().empty());
  CHECK(is_saved(directory.path(), make_snapshot(3)));
}

TEST_CASE("the next start returns the error of the write before") {
  const TemporaryDirectory directory;
  GatedFileLayer files;
  const auto world = make_self_communicator();
  CheckpointWriter writer(files, directory.path(), 0, *world);
  files.fail_next(2);
  CHECK(writer.start(make_snapshot(1)).empty());
  CHECK(contains(writer.start(make_snapshot(2)), ".tmp-step-00000001/manifest.json"));
  CHECK(contains(writer.start(make_snapshot(3)), ".tmp-step-00000002/manifest.json"));
  CHECK(writer.finish().empty());
  CHECK(is_saved(directory.path(), make_snapshot(3)));
}
