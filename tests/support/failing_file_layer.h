#pragma once
// A file layer for crash tests: forwards to another layer, records every call that changes the disk, and at call number
// n either fails that call or "kills" the process, after which nothing reaches the disk any more.

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "util/error.h"
#include "util/files.h"

namespace artel {

/// Stands for the death of the process; not an Error, so that no handler of errors takes it for one.
struct Killed {};

class FailingFileLayer : public FileLayer {
 public:
  enum class Fault { none, error, kill };

  /// `call`: number, from 0, of the changing call at which `fault` strikes; negative: never.
  FailingFileLayer(FileLayer& target, int64_t call = -1, Fault fault = Fault::none)
      : target_(target), fault_call_(call), fault_(fault) {}

  /// Changing calls so far, for instance "write a/b", "rename a to b".
  const std::vector<std::string>& calls() const { return calls_; }

  /// What a power cut does on top of a kill: files written and not fsynced since lose half of their bytes.
  void lose_unsynced() {
    for (const std::string& path : unsynced_) {
      if (std::filesystem::exists(path)) std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
    }
    unsynced_.clear();
  }

  OutputFile open_write(const std::string& path) override {
    begin("open_write " + path);
    return target_.open_write(path);
  }
  OutputFile open_append(const std::string& path) override {
    begin("open_append " + path);
    return target_.open_append(path);
  }
  void write(OutputFile& file, const void* data, size_t size) override {
    try {
      begin("write " + file.path());
    } catch (...) {
      if (!dead_before_) target_.write(file, data, size / 2);  // the call was under way
      unsynced_.insert(file.path());
      throw;
    }
    target_.write(file, data, size);
    unsynced_.insert(file.path());
  }
  void truncate(OutputFile& file, size_t size) override {
    begin("truncate " + file.path());
    target_.truncate(file, size);
  }
  void fsync(OutputFile& file) override {
    begin("fsync " + file.path());
    target_.fsync(file);
    unsynced_.erase(file.path());
  }
  void close(OutputFile& file) override {
    begin("close " + file.path());
    target_.close(file);
  }
  void rename(const std::string& from, const std::string& to) override {
    begin("rename " + from + " to " + to);
    target_.rename(from, to);
    std::set<std::string> moved;
    for (const std::string& path : unsynced_) {
      const bool inside = path == from || path.compare(0, from.size() + 1, from + "/") == 0;
      moved.insert(inside ? to + path.substr(from.size()) : path);
    }
    unsynced_ = moved;
  }
  void make_directory(const std::string& path) override {
    begin("make_directory " + path);
    target_.make_directory(path);
  }
  void remove(const std::string& path) override {
    begin("remove " + path);
    target_.remove(path);
  }
  void fsync_directory(const std::string& path) override {
    begin("fsync_directory " + path);
    target_.fsync_directory(path);
  }
  std::vector<std::string> list(const std::string& path) override { return target_.list(path); }
  bool exists(const std::string& path) override { return target_.exists(path); }
  bool is_directory(const std::string& path) override { return target_.is_directory(path); }
  std::string read(const std::string& path) override { return target_.read(path); }

 private:
  void begin(const std::string& call) {
    dead_before_ = dead_;
    if (dead_) throw Killed();
    const auto number = static_cast<int64_t>(calls_.size());
    calls_.push_back(call);
    if (number != fault_call_) return;
    if (fault_ == Fault::kill) {
      dead_ = true;
      throw Killed();
    }
    if (fault_ == Fault::error) fail("files", call + ": no space left on device (injected)");
  }

  FileLayer& target_;
  int64_t fault_call_;
  Fault fault_;
  bool dead_ = false;
  bool dead_before_ = false;
  std::vector<std::string> calls_;
  std::set<std::string> unsynced_;
};

}  // namespace artel
