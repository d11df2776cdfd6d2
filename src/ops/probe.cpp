#include "ops/probe.h"

namespace artel {

void watch(Context& context, std::int64_t layer, const char* name, Variable& x) {
  if (context.probe == nullptr || !x.defined()) return;
  watch_value(context, layer, name, x.data);
  if (!wants_tape(context, {x})) return;
  Variable watched(x.data);
  record("watch", {x}, {&watched},
         [layer, name, slot = x.slot, probe = context.probe](Context& ctx, const OutputGradients& dy) {
           probe->gradient(ctx, layer, name, dy[0]);
           contribute(ctx, *slot, dy[0]);
         });
  x = watched;
}

}  // namespace artel
