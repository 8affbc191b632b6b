// SPDX-License-Identifier: Apache-2.0
// Tables of numbers as Prometheus' text.
#include "broker/host/metrics.h"

struct bk_host_counters bk_host_counters;

const struct bk_metric bk_host_metrics[] = {
#define X(field, kind, name, help) {name, help, kind, offsetof(struct bk_host_counters, field), 0},
    BK_HOST_COUNTERS(X)
#undef X
        {0},
};

void bk_metrics_write(struct bx_buffer *out, const struct bk_metric *table, const void *values) {
  for (const struct bk_metric *m = table; m->name; m++) {
    uint64_t value;
    memcpy(&value, (const char *)values + m->offset, sizeof value);
    bx_buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s ", m->name, m->help, m->name,
                     m->kind == BK_COUNTER ? "counter" : "gauge", m->name);
    if (m->scale == 0 || m->scale == 1)
      bx_buffer_u64(out, value);
    else
      bx_buffer_printf(out, "%.9g", (double)value * m->scale);
    bx_buffer_char(out, '\n');
  }
}
