// SPDX-License-Identifier: Apache-2.0
// docs/configuration.md is what the option tables of all daemons say, and the sample files load.
//
//   test_config_reference --print > docs/configuration.md     writes the page anew
#include "api-bridge/options.h"
#include "broker/host/daemon.h"
#include "broker/options.h"
#include "config/config.h"
#include "web-gateway/options.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

static struct {
  struct bk_options broker;
  struct ab_options api;
  struct gw_options web;
  struct bk_logging logging;
} all;

static const struct cf_section sections[] = {{bk_options, &all.broker},
                                             {bk_access_options, &all.broker.access},
                                             {bk_webhook_options, &all.broker.webhook},
                                             {bk_engine_options, &all.broker.engine},
                                             {ab_options, &all.api},
                                             {gw_options, &all.web},
                                             {bk_logging_options, &all.logging}};
#define SECTIONS (sizeof sections / sizeof *sections)

static void the_page_is_in_step(void **state) {
  (void)state;
  struct bx_buffer expected = {0}, page = {0};
  cf_print_reference(sections, SECTIONS, &expected);
  bx_buffer_reserve(&page, expected.len + 1);
  FILE *f = fopen(MORA_SOURCE "/docs/configuration.md", "rb");
  assert_non_null(f);
  page.len = fread(page.at, 1, expected.len + 1, f);
  fclose(f);
  if (!bx_slice_equal(bx_buffer_view(&page), bx_buffer_view(&expected)))
    fail_msg("docs/configuration.md is out of step: test_config_reference --print > docs/configuration.md");
  bx_buffer_fini(&page);
  bx_buffer_fini(&expected);
}

// One file for all: with every table loaded no key is foreign, so none can hide.
static void samples_load(void **state) {
  (void)state;
  static const char *const samples[] = {MORA_SOURCE "/config/samples/mora.sample.json",
                                        MORA_SOURCE "/config/samples/gitter.sample.json"};
  for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
    const char *arguments[] = {"test", "--config", samples[i], NULL};
    struct bx_buffer error = {0};
    enum cf_action action;
    struct cf_set *set = cf_load(sections, SECTIONS, NULL, 3, (char **)(uintptr_t)arguments, NULL, &action, &error);
    if (!set) fail_msg("%.*s", (int)error.len, error.at);
    cf_free(set);
  }
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "--print") == 0) {
    struct bx_buffer page = {0};
    cf_print_reference(sections, SECTIONS, &page);
    fwrite(page.at, 1, page.len, stdout);
    bx_buffer_fini(&page);
    return fflush(stdout) != 0;
  }
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_page_is_in_step), cmocka_unit_test(samples_load)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
