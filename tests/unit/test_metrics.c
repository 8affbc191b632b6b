// SPDX-License-Identifier: Apache-2.0
// Tables of numbers as Prometheus' text, and the host's own table.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/host/metrics.h"

struct numbers {
  uint64_t count, level, ms;
};

static const struct bk_metric table[] = {
    {"mora_things_total", "Things.", BK_COUNTER, offsetof(struct numbers, count), 0},
    {"mora_level", "A level.", BK_GAUGE, offsetof(struct numbers, level), 1},
    {"mora_time_seconds", "Time.", BK_COUNTER, offsetof(struct numbers, ms), 0.001},
    {0},
};

static void a_table_as_text(void **state) {
  (void)state;
  struct bx_buffer out = {0};
  bk_metrics_write(&out, table, &(struct numbers){18446744073709551615u, 0, 1500});
  assert_true(
      bx_slice_equal(bx_buffer_view(&out), BX_LIT("# HELP mora_things_total Things.\n# TYPE mora_things_total counter\n"
                                                  "mora_things_total 18446744073709551615\n"
                                                  "# HELP mora_level A level.\n# TYPE mora_level gauge\nmora_level 0\n"
                                                  "# HELP mora_time_seconds Time.\n# TYPE mora_time_seconds counter\n"
                                                  "mora_time_seconds 1.5\n")));
  bx_buffer_fini(&out);
}

static void the_hosts_names_follow_the_rules(void **state) {
  (void)state;
  for (const struct bk_metric *m = bk_host_metrics; m->name; m++) {
    size_t len = strlen(m->name);
    bool total = len > 6 && strcmp(m->name + len - 6, "_total") == 0;
    assert_memory_equal(m->name, "mora_", 5);
    assert_int_equal(total, m->kind == BK_COUNTER);
    assert_true(strlen(m->help) > 0 && m->help[strlen(m->help) - 1] == '.');
    assert_in_range(m->offset, 0, sizeof bk_host_counters - sizeof(uint64_t));
    for (const struct bk_metric *other = bk_host_metrics; other < m; other++) {
      assert_string_not_equal(other->name, m->name);
      assert_int_not_equal(other->offset, m->offset);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_table_as_text),
      cmocka_unit_test(the_hosts_names_follow_the_rules),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
