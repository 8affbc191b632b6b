// SPDX-License-Identifier: Apache-2.0
// The command line: which files, which settings, what is to be done; and --help.
#include "config/set.h"

struct flag {
  const char *name;
  const char *argument;    // NULL: takes none
  enum cf_action action;   // of a flag without an argument
  const char *help;
};

static const struct flag flags[] = {
    {"--config", "FILE", CF_RUN, "read a JSON file; repeatable, later files override earlier ones"},
    {"--set", "KEY=VALUE", CF_RUN, "set one key, over files and environment; repeatable"},
    {"--check-config", NULL, CF_CHECK, "check the configuration and exit"},
    {"--print-config", NULL, CF_PRINT, "print the configuration in force, secrets masked, and exit"},
    {"--print-config-reference", NULL, CF_PRINT_REFERENCE, "print what can be configured, as Markdown, and exit"},
    {"--version", NULL, CF_VERSION, "print the version and exit"},
    {"--help", NULL, CF_HELP, "print this and exit"},
};
#define FLAG_COUNT (sizeof flags / sizeof flags[0])

static const struct flag *find_flag(struct bx_slice name) {
  for (size_t i = 0; i < FLAG_COUNT; i++) {
    if (bx_slice_equal(bx_slice_of(flags[i].name), name)) return &flags[i];
  }
  return NULL;
}

static void unknown_flag(struct cf_set *s, const struct cf_source *source, struct bx_slice name) {
  if (name.at[0] != '-') {
    cf_fault(s, source, NULL, (struct bx_slice){0}, "unexpected; files are given by --config FILE");
    return;
  }
  struct cf_guess guess;
  cf_guess_init(&guess, name);
  for (size_t i = 0; i < FLAG_COUNT; i++) cf_guess_try(&guess, bx_slice_of(flags[i].name));
  if (guess.best.len > 0) {
    cf_fault(s, source, NULL, (struct bx_slice){0}, "no such option; did you mean %.*s?", (int)guess.best.len,
             guess.best.at);
  } else {
    cf_fault(s, source, NULL, (struct bx_slice){0}, "no such option; --help lists them");
  }
}

static void take_argument(struct cf_command *c, const struct flag *flag, char *argument) {
  if (flag == &flags[0])
    c->files[c->file_count++] = argument;
  else
    c->settings[c->setting_count++] = argument;
}

// Help is given whatever else is asked for; of several other actions the first counts.
static void take_action(struct cf_command *c, enum cf_action action) {
  if (c->action == CF_RUN || action == CF_HELP) c->action = action;
}

void cf_command_read(struct cf_set *s, int argc, char **argv, struct cf_command *c) {
  c->files = cf_memory(s, (size_t)argc * sizeof *c->files);
  c->settings = cf_memory(s, (size_t)argc * sizeof *c->settings);
  for (int i = 1; i < argc; i++) {
    struct bx_slice name = {argv[i], strcspn(argv[i], "=")};
    bool has_value = argv[i][name.len] == '=';
    struct cf_source source = {.layer = CF_FLAG, .name = cf_keep(s, name)};
    const struct flag *flag = find_flag(name);
    if (!flag) {
      source.name = argv[i][0] == '-' ? source.name : argv[i];
      unknown_flag(s, &source, name.len > 0 ? name : BX_LIT("="));
    } else if (!flag->argument) {
      if (has_value) cf_fault(s, &source, NULL, (struct bx_slice){0}, "takes no value");
      take_action(c, flag->action);
    } else if (has_value) {
      take_argument(c, flag, argv[i] + name.len + 1);
    } else if (i + 1 < argc) {
      take_argument(c, flag, argv[++i]);
    } else {
      cf_fault(s, &source, NULL, (struct bx_slice){0}, "expected %s behind it", flag->argument);
    }
  }
}

void cf_print_help(const struct cf_program *program, struct bx_buffer *out) {
  bx_buffer_printf(out, "usage: %s [--config FILE]... [--set KEY=VALUE]...\n\n%s\n\n", program->name, program->purpose);
  for (size_t i = 0; i < FLAG_COUNT; i++) {
    struct bx_buffer head = {0};
    bx_buffer_printf(&head, "%s%s%s", flags[i].name, flags[i].argument ? " " : "",
                     flags[i].argument ? flags[i].argument : "");
    bx_buffer_printf(out, "  %-26.*s %s\n", (int)head.len, head.at, flags[i].help);
    bx_buffer_fini(&head);
  }
  bx_buffer_lit(out, "\nEach key is also a variable: broker.listen is MORA_BROKER__LISTEN. Later wins:\n"
                     "defaults, files, variables, --set.\n");
}
