#include "config/yaml.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr const char* kHead = R"(# The configuration file

One YAML file describes a run. This page is generated from the table of keys that the loader itself uses
(`src/config/fields.cpp`); a test compares the two. Ready files: `configs/quickstart` and `configs/paper`.

```yaml
extends: ../base.yaml              # optional: start from another file
run: {name: my-run, seed: 1}
model: {hidden_size: 512, num_experts: 16, routing: {type: uoe}, shared_expert_intermediate_size: 256}
data:
  train: [{path: data/corpus/train.bin}]
  validation: [{path: data/corpus/validation.bin}]
```

## Rules

- Every key but `data.train` has a default. The resolved configuration is saved with the run as `config.yaml`.
- An unknown key, a key given twice, a value of the wrong type, out of bounds or not finite is an error of one line that
  names file, line and key. Numbers and truth values stand without quotation marks; integers are written out (`1000`,
  not `1e3`).
- `extends: other.yaml` loads that file first; the path is relative to the file in which it stands, and chains are
  allowed. Blocks are merged key by key, lists are replaced.
- `--set key=value` changes one key after the files, with the dotted name of the key. The value is YAML:
  `--set train.steps=100`, `--set 'data.train=[{path: a.bin, weight: 2}, {path: b.bin}]'`,
  `--set data.train.0.path=c.bin`, `--set optimizer.betas.1=0.99`.
- `auto` is resolved on loading where it can be known without a machine (`head_dim`, `routing_neurons`, the sizes of
  `aoe`); `threads`, `precision` and `device` are resolved when a run starts. The run's `config.yaml` has the precision
  that came of it and keeps `auto` for the other two; its `summary.json` says what all three were.
- Paths of data are relative to the working directory. `artel train` looks whether they are there; nothing is opened
  while the configuration is checked.
- Tensor, pipeline, context and sequence parallelism, ZeRO stages 2 and 3, and fp8 are out of scope; their keys are
  errors that say so.

The column *Resume* says what `artel train --resume` does when a key has changed since the checkpoint: `may change`;
`allow`: only with `--allow-change KEY` (the key, or the block it is in), and the change is logged; `fixed`: an error.

)";

constexpr const char* kTail = R"(
## How keys depend on each other

- `num_attention_heads` is a multiple of `num_key_value_heads`; `head_dim` is even; without `head_dim`, `hidden_size` is a
  multiple of `num_attention_heads`.
- `num_experts_per_tok` is at most `num_experts`. With `num_experts_per_tok: 1`, `norm_topk_prob` must be false: the one
  weight would always be 1, and no router would get a gradient. `num_experts: 0` needs `intermediate_size`; routing keys
  are then not used.
- `uoe`: `routing_neurons` is below `moe_intermediate_size`. `auto` needs `shared_expert_intermediate_size` above 0 and
  `num_experts` above `num_experts_per_tok`, and its result must be at least 1. `virtual_shared_expert` and
  `routed_includes_routing_neurons` are not both false.
- `aoe`: `d_low` is at most `hidden_size`.
- `global_batch_size` is a multiple of `micro_batch_size`, and of `micro_batch_size` times the ranks when a run starts.
- Validation sets have names that differ, and so have tasks; tasks need a validation set.
- A model has at most 10^13 parameters, and a run at most 2^53 tokens.

## Tokenizer and vocabulary

Training, evaluation and comparison read token ids; `data.tokenizer` says how ids become text and which type
a headerless file has when its `dtype` is `auto`. `bytes` with a `vocab_size` other than 256 is therefore no error, but
ids from 256 on have no text then: name the `tokenizer.json` that made the files, and their `dtype`, as the files in
`configs/paper` do.
)";

const char* resume_text(OnResume on_resume) {
  switch (on_resume) {
    case OnResume::free:
      return "may change";
    case OnResume::needs_allow:
      return "allow";
    case OnResume::forbidden:
      break;
  }
  return "fixed";
}

std::string row(const Field& field, bool has_default, bool in_file_list) {
  std::string fallback = has_default ? concat("`", value_text(field), "`") : "required";
  if (has_default && in_file_list && field.key == "name") fallback = "from `path`";
  const std::string name = field.key.substr(field.key.rfind('.') + 1);
  return concat("| `", name, "` | ", requirement(field), " | ", fallback, " | ", resume_text(field.on_resume), " | ",
                field.doc, " |\n");
}

constexpr const char* kTableHead = "| Key | Value | Default | Resume | Meaning |\n|---|---|---|---|---|\n";

std::string file_table(const char* list) {
  DataFile defaults;
  std::string out = concat("\nOne entry of `", list, "`:\n\n", kTableHead);
  for (const Field& field : data_file_fields(defaults, file_list_of(list))) {
    out += row(field, field.key != "path", true);
  }
  return out;
}

}  // namespace

std::string config_reference_markdown() {
  Config defaults;
  const std::vector<Field> fields = config_fields(defaults, known_routing_types());
  std::string out = kHead;
  out += "## Keys\n";
  for (const Section& section : config_sections()) {
    out += concat("\n### `", section.key, "`\n\n", section.doc, section.doc.empty() ? "" : "\n\n", kTableHead);
    for (const Field& field : fields) {
      if (field.key.substr(0, field.key.rfind('.')) == section.key) out += row(field, field.key != "data.train", false);
    }
    if (section.key == "data") out += file_table("data.train") + file_table("data.validation");
    if (section.key == "validation") out += file_table("validation.tasks");
  }
  return out + kTail;
}

}  // namespace artel
