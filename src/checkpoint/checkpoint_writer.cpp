#include "checkpoint/checkpoint_writer.h"

#include <memory>
#include <span>
#include <utility>

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

// In a share's place: what kept a rank from writing it.
constexpr std::string_view error_mark = "!";

bool is_error(const std::string& share) {
  return share.substr(0, error_mark.size()) == error_mark;
}

// What write_share returns, or why it failed.
std::string share_of(FileLayer& files, const std::string& directory, const Snapshot& snapshot, int rank) {
  try {
    return write_share(files, directory, snapshot, rank);
  } catch (const std::exception& error) {
    return concat(error_mark, error.what());
  }
}

std::string joined(std::string text, const std::string& part) {
  if (part.empty()) return text;
  return text.empty() ? part : text + "; " + part;
}

}  // namespace

CheckpointWriter::CheckpointWriter(FileLayer& files, std::string directory, std::int64_t keep, Communicator& world)
    : files_(files), directory_(std::move(directory)), keep_(keep), world_(world) {}

std::string CheckpointWriter::start(Snapshot snapshot) {
  std::string errors = finish();
  std::string failure;
  if (world_.rank() == 0) {
    try {
      prepare_checkpoint(files_, directory_, snapshot.step);
    } catch (const Error& error) {
      failure = error.what();
    }
  }
  // Also says that the directory is there.
  failure = world_.all_gather_text(failure, Purpose::checkpoint).front();
  if (!failure.empty()) return joined(std::move(errors), failure);

  const auto owned = std::make_shared<Snapshot>(std::move(snapshot));
  head_ = {owned->step, owned->tokens, owned->config, owned->data, owned->world, owned->trainer, {}};
  // One rank alone has nobody to wait for between the two stages.
  stage_ = world_.size() == 1 ? Stage::committing : Stage::writing;
  background_.start([this, owned] {
    share_ = share_of(files_, directory_, *owned, world_.rank());
    if (world_.size() == 1) commit_shares_of({share_});
  });
  return errors;
}

bool CheckpointWriter::everyone(bool ready) {
  std::int64_t value = ready ? 1 : 0;
  world_.all_reduce_values(std::span(&value, 1), Purpose::checkpoint, Reduction::min);
  return value == 1;
}

void CheckpointWriter::commit() {
  const std::vector<std::string> shares = world_.all_gather_text(std::exchange(share_, {}), Purpose::checkpoint);
  stage_ = Stage::committing;
  if (world_.rank() == 0) background_.start([this, shares] { commit_shares_of(shares); });
}

void CheckpointWriter::commit_shares_of(const std::vector<std::string>& shares) {
  error_.clear();
  for (std::size_t rank = 0; rank < shares.size(); ++rank) {
    if (!is_error(shares[rank])) continue;
    const std::string by = world_.size() > 1 ? concat(" (rank ", rank, ")") : std::string();
    error_ = joined(std::move(error_), shares[rank].substr(error_mark.size()) + by);
  }
  try {
    if (error_.empty()) commit_shares(files_, directory_, head_, shares, keep_);
  } catch (const std::exception& error) {
    error_ = error.what();
  }
  if (!error_.empty()) discard_checkpoint(files_, directory_, head_.step);
}

std::string CheckpointWriter::end_commit() {
  stage_ = Stage::idle;
  return world_.all_gather_text(std::exchange(error_, {}), Purpose::checkpoint).front();
}

std::string CheckpointWriter::poll() {
  if (stage_ == Stage::idle || !everyone(!background_.busy())) return {};
  if (stage_ == Stage::committing) return end_commit();
  commit();
  return {};
}

std::string CheckpointWriter::finish() {
  if (stage_ == Stage::writing) {
    background_.wait();
    commit();
  }
  if (stage_ == Stage::idle) return {};
  background_.wait();
  return end_commit();
}

}  // namespace artel
