#include "train/resume_checks.h"

#include <algorithm>

#include "optim/schedule.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

struct SourceSize {
  std::string path;
  std::int64_t windows = 0;
  std::int64_t ids = 0;
};

std::vector<SourceSize> sizes_of(const DataLoader& loader) {
  std::vector<SourceSize> sizes;
  for (std::int64_t i = 0; i < loader.num_sources(); ++i) {
    const WindowedFile& source = loader.source(i);
    sizes.push_back({source.file().path(), source.num_windows(), source.file().size()});
  }
  return sizes;
}

std::vector<SourceSize> sizes_of(const Json& sources, const std::string& where) {
  if (!sources.is_array()) fail("checkpoint", concat(where, ": data.sources required a list, found another value"));
  std::vector<SourceSize> sizes;
  for (const Json& source : sources) {
    sizes.push_back({json_value<std::string>(source, "path", where), json_value<std::int64_t>(source, "windows", where),
                     json_value<std::int64_t>(source, "ids", where)});
  }
  return sizes;
}

std::string text_of(const std::vector<SourceSize>& sizes, std::size_t index) {
  if (index >= sizes.size()) return "no file";
  const SourceSize& size = sizes[index];
  return concat(size.path, " with ", size.ids, " ids in ", size.windows, " windows");
}

}  // namespace

Json data_sources_json(const DataLoader& loader) {
  Json sources = Json::array();
  for (const SourceSize& size : sizes_of(loader)) {
    sources.push_back({{"path", size.path}, {"windows", size.windows}, {"ids", size.ids}});
  }
  return sources;
}

std::vector<ConfigChange> require_same_data(const Checkpoint& checkpoint, const DataLoader& loader,
                                            const std::vector<std::string>& allowed) {
  const Json& data = json_member(checkpoint.manifest(), "data", checkpoint.path());
  if (!data.contains("sources")) return {};
  const std::vector<SourceSize> before = sizes_of(data["sources"], checkpoint.path());
  const std::vector<SourceSize> now = sizes_of(loader);
  std::vector<ConfigChange> changes;
  for (std::size_t i = 0; i < std::max(before.size(), now.size()); ++i) {
    if (i < std::min(before.size(), now.size()) && before[i].windows == now[i].windows && before[i].ids == now[i].ids) {
      continue;
    }
    changes.push_back({"data.train", text_of(before, i), text_of(now, i), OnResume::needs_allow});
  }
  if (!changes.empty() && !allows_change(allowed, "data.train")) {
    fail("data.train", concat(checkpoint.path(), ": a resumed run required the data that it was trained on, ",
                              changes.front().before, ", found ", changes.front().after,
                              ", with which the order of samples is another; put the files back, or pass "
                              "--allow-change data.train"));
  }
  return changes;
}

std::string require_same_order(const Checkpoint& checkpoint, const Config& saved, const Config& now,
                               const DataLoader& loader, const std::vector<std::string>& allowed) {
  const std::int64_t num_samples = saved.train.steps * saved.train.global_batch_size;
  if (checkpoint.step() == 0 || loader.has_order_of(num_samples)) return {};
  const std::string change = concat("train.steps ", now.train.steps, " instead of ", saved.train.steps);
  if (!allows_change(allowed, "train.steps")) {
    fail("train.steps", concat(checkpoint.path(), ": data.order: megatron required the steps that the order of the ",
                               "samples was made for, found ", change,
                               ", with which samples come again and others never; undo it, or pass "
                               "--allow-change train.steps"));
  }
  return concat("with ", change, " data.order: megatron has another order: from step ", checkpoint.step() + 1,
                " on samples may come again, and others not at all");
}

std::string learning_rate_change(const Checkpoint& checkpoint, const Config& saved, const Config& now) {
  const std::int64_t step = checkpoint.step() + 1;
  const auto rate = [step](const Config& config) {
    return static_cast<float>(learning_rate(config.schedule, config.optimizer.lr, step, config.train.steps));
  };
  if (rate(saved) == rate(now)) return {};
  return concat("step ", step, " has the learning rate ", rate(now), "; by the config of ", checkpoint.path(),
                " it would have ", rate(saved),
                saved.train.steps != now.train.steps
                    ? concat(" (train.steps was ", saved.train.steps, ", now ", now.train.steps, ")")
                    : "");
}

}  // namespace artel
