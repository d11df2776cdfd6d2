#include <functional>
#include <optional>

#include "checkpoint/snapshots.h"
#include "checkpoint/store.h"
#include "support/catch.h"
#include "support/error_text.h"
#include "support/failing_file_layer.h"
#include "support/temporary_directory.h"

// A save is ended at every call that changes the disk, in every way a call can end: afterwards the newest complete
// checkpoint is found.

using namespace artel;

namespace {

enum class End {
  error,      ///< the call fails, the process lives
  kill,       ///< the process dies at the call; of a write half of the bytes arrive, of a removal half of the files
  power_cut,  ///< and of what was not synced half is lost
};

// Like FailingFileLayer, but a removal during which the process dies has removed half of the files.
class CrashingFileLayer : public FailingFileLayer {
 public:
  CrashingFileLayer(FileLayer& target, std::int64_t call, End end)
      : FailingFileLayer(target, call, end == End::error ? Fault::error : Fault::kill), target_(target) {}

  void remove(const std::string& path) override {
    const std::size_t num_calls = calls().size();
    try {
      FailingFileLayer::remove(path);
    } catch (...) {
      if (calls().size() > num_calls && target_.is_directory(path)) remove_half(path);
      throw;
    }
  }

 private:
  void remove_half(const std::string& path) {
    const std::vector<std::string> names = target_.list(path);
    for (std::size_t i = 0; i < (names.size() + 1) / 2; ++i) target_.remove(join_path(path, names[i]));
  }

  FileLayer& target_;
};

struct Scenario {
  std::string name;
  std::function<void(FileLayer&, const std::string& root)> prepare;
  Snapshot saved;
  std::int64_t keep = 0;
  std::vector<Snapshot> before;  ///< what may be found while the save is not committed; empty: nothing is there
};

std::string describe_files(FileLayer& files, const std::string& root) {
  if (!files.exists(root)) return "(no directory)";
  std::string text;
  for (const std::string& name : files.list(root)) text += name + " ";
  return text;
}

// `latest`, where it is there, names a checkpoint that is there and whole.
std::string latest_problem(FileLayer& files, const std::string& root) {
  if (!files.exists(join_path(root, "latest"))) return "";
  std::string name = files.read(join_path(root, "latest"));
  if (name.empty() || name.back() != '\n') return "latest is damaged";
  name.pop_back();
  return error_text([&] { Checkpoint(files, join_path(root, name)).verify(); });
}

// Whether the save is found; checks that what is found is allowed and that all that is listed is whole.
bool check_state(FileLayer& files, const std::string& root, const Scenario& scenario) {
  const auto report = [](const std::string& text) {
    if (contains(text, "damaged")) FAIL_CHECK(text);
  };
  const auto newest = open_newest(files, root, report);
  if (newest == nullptr) {
    CHECK(scenario.before.empty());
    return false;
  }
  bool any = holds(*newest, scenario.saved);
  const bool is_new = any;
  for (const Snapshot& snapshot : scenario.before) any = any || holds(*newest, snapshot);
  INFO("found " << newest->path());
  CHECK(any);
  for (const std::string& path : list_checkpoints(files, root)) {
    CHECK(error_text([&] { Checkpoint(files, path).verify(); }) == "(no error)");
  }
  const std::string problem = latest_problem(files, root);
  CHECK((problem.empty() || problem == "(no error)"));
  return is_new;
}

// The save after the failure: it succeeds and leaves nothing but checkpoints.
void check_next_save(FileLayer& files, const std::string& root, const Scenario& scenario) {
  const Snapshot next = make_snapshot(scenario.saved.step + 1, 9);
  save_checkpoint(files, root, next, scenario.keep);
  const auto newest = open_newest(files, root, [](const std::string& text) { FAIL_CHECK(text); });
  REQUIRE(newest != nullptr);
  CHECK(holds(*newest, next));
  const std::size_t num_checkpoints = list_checkpoints(files, root).size();
  if (scenario.keep > 0) CHECK(num_checkpoints <= static_cast<std::size_t>(scenario.keep));
  CHECK(files.list(root).size() == num_checkpoints + 1);  // and `latest`
  CHECK(latest_problem(files, root) == "(no error)");
}

// Saves with an end at call `call`. Returns whether the save came to its own end.
bool save_until(FileLayer& disk, const std::string& root, const Scenario& scenario, std::int64_t call, End end) {
  CrashingFileLayer layer(disk, call, end);
  bool ended = false;
  try {
    save_checkpoint(layer, root, scenario.saved, scenario.keep);
    ended = true;
  } catch (const Killed&) {
    CHECK(end != End::error);
  } catch (const Error& error) {
    CHECK(end == End::error);
    CHECK(contains(error.what(), "(injected)"));
  }
  if (end == End::power_cut) layer.lose_unsynced();
  return ended;
}

void end_at_every_call(const Scenario& scenario) {
  // A power cut leaves less than a kill does, which the leftovers below are for.
  for (const End end : {End::error, End::power_cut}) {
    bool was_new = false;
    for (std::int64_t call = 0;; ++call) {
      REQUIRE(call < 100);
      const TemporaryDirectory directory;
      UnsyncedFileLayer disk;
      const std::string root = directory.file("checkpoints");
      scenario.prepare(disk, root);
      const bool ended = save_until(disk, root, scenario, call, end);
      INFO(scenario.name << ", keep " << scenario.keep << ", end " << static_cast<int>(end) << " at call " << call
                         << ": " << describe_files(disk, root));
      const bool is_new = check_state(disk, root, scenario);
      CHECK((is_new || !was_new));  // once committed, later failures do not undo it
      was_new = is_new;
      if (ended) {
        CHECK(is_new);
        CHECK(call > 15);
      }
      check_next_save(disk, root, scenario);
      if (ended) break;
    }
  }
}

std::function<void(FileLayer&, const std::string&)> saved_steps(const std::vector<std::int64_t>& steps) {
  return [steps](FileLayer& files, const std::string& root) {
    for (const std::int64_t step : steps) save_checkpoint(files, root, make_snapshot(step), 0);
  };
}

}  // namespace

TEST_CASE("the first save of a run is there whole or not at all wherever it ends") {
  end_at_every_call({"first save", saved_steps({}), make_snapshot(100), 3, {}});
}

TEST_CASE("the newest complete checkpoint is found wherever a save ends, for every keep", "[slow]") {
  for (const std::int64_t keep : {1, 2, 3}) {
    end_at_every_call({"next save", saved_steps({100, 200, 300}), make_snapshot(400), keep, {make_snapshot(300)}});
  }
}

TEST_CASE("a step that is saved anew is there, old or new, wherever the save ends", "[slow]") {
  for (const std::int64_t keep : {1, 2}) {
    end_at_every_call({"the only one anew", saved_steps({100}), make_snapshot(100, 1), keep, {make_snapshot(100)}});
    end_at_every_call({"the newest anew",
                       saved_steps({100, 200}),
                       make_snapshot(200, 1),
                       keep,
                       {make_snapshot(200), make_snapshot(100)}});
  }
}

TEST_CASE("a run that went back finds its own newest or what was there, wherever the save ends", "[slow]") {
  for (const std::int64_t keep : {1, 3}) {
    end_at_every_call({"back behind two",
                       saved_steps({100, 200, 300}),
                       make_snapshot(150, 1),
                       keep,
                       {make_snapshot(300), make_snapshot(100)}});
    end_at_every_call({"back behind all", saved_steps({200, 300}), make_snapshot(150, 1), keep, {make_snapshot(300)}});
  }
  const auto back_twice = [](FileLayer& files, const std::string& root) {
    saved_steps({100, 200, 300})(files, root);
    save_checkpoint(files, root, make_snapshot(200, 1), 0);
    save_checkpoint(files, root, make_snapshot(300, 1), 0);
  };
  end_at_every_call(
      {"back a second time", back_twice, make_snapshot(200, 2), 3, {make_snapshot(300, 1), make_snapshot(100)}});
}

TEST_CASE("what an earlier death left lying about is no obstacle, wherever the next save ends", "[slow]") {
  // Every third place of death keeps the time in bounds; their remainders differ from scenario to scenario.
  for (std::int64_t first = 2; first < 40; first += 3) {
    const auto died_before = [first](FileLayer& files, const std::string& root) {
      saved_steps({100, 200})(files, root);
      const Scenario earlier{"", {}, make_snapshot(300), 1, {}};
      save_until(files, root, earlier, first, End::power_cut);
    };
    const Scenario scenario{"after a death at call " + std::to_string(first),
                            died_before,
                            make_snapshot(350),
                            1,
                            {make_snapshot(200), make_snapshot(300)}};
    bool ended = false;
    for (std::int64_t call = first % 4; !ended; call += 4) {
      const TemporaryDirectory directory;
      UnsyncedFileLayer disk;
      const std::string root = directory.file("checkpoints");
      scenario.prepare(disk, root);
      ended = save_until(disk, root, scenario, call, End::kill);
      INFO(scenario.name << ", call " << call << ": " << describe_files(disk, root));
      CHECK(check_state(disk, root, scenario) >= ended);
      check_next_save(disk, root, scenario);
    }
  }
}

TEST_CASE("a failed save leaves no half-written files behind") {
  for (std::int64_t call = 0; call < 100; ++call) {
    const TemporaryDirectory directory;
    UnsyncedFileLayer disk;
    const std::string root = directory.file("checkpoints");
    const Scenario scenario{"", {}, make_snapshot(100), 1, {}};
    CrashingFileLayer layer(disk, call, End::error);
    const std::string text = error_text([&] { save_checkpoint(layer, root, scenario.saved, 1); });
    if (text == "(no error)") return;
    const bool wrote_data = contains(text, "write ") || contains(text, "sync ") || contains(text, "close ");
    if (!wrote_data || contains(text, "fsync_directory " + root + ":")) continue;
    INFO(text);
    if (contains(text, "latest.tmp")) {
      CHECK(contains(text, "found that the checkpoint is there"));
    } else {
      CHECK_FALSE(disk.exists(join_path(root, ".tmp-step-00000100")));
    }
  }
  FAIL_CHECK("the save did not end");
}
