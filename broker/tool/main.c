// SPDX-License-Identifier: Apache-2.0
// mora: looks into a broker and publishes, through its admin listener.
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/tool/tool.h"

int tool_fail(int status, const char *format, ...) {
  va_list arguments;
  fputs("mora: ", stderr);
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  return status;
}

static int help(void) {
  puts("Usage: mora [--admin URL] [--token T] [--json] COMMAND ...\n"
       "Looks into a running broker and publishes, through its admin listener.\n");
  for (const struct tool_command *c = tool_commands; c->name; c++) {
    char usage[64];
    snprintf(usage, sizeof usage, "%s %s", c->name, c->arguments);
    printf("  %-30s  %s\n", usage, c->purpose);
  }
  puts("\n"
       "  --admin URL   http://127.0.0.1:8001, or unix:/path; also by MORA_ADMIN\n"
       "  --token T     the broker's admin.token; also by MORA_TOKEN, which other users of\n"
       "                this machine cannot see\n"
       "  --json        for programs\n"
       "\n"
       "token and check-config need no broker: they read --config FILE and --set KEY=VALUE as\n"
       "mora-broker does; a token is signed with --key, else with MORA_JWT_SECRET or auth.jwt.secret.\n"
       "\n"
       "Exit status: 0 done, 1 refused or no answer, 2 wrong usage.");
  return fflush(stdout) == 0 ? TOOL_OK : TOOL_FAILED;
}

static const struct tool_command *find(const char *name) {
  for (const struct tool_command *c = tool_commands; c->name; c++)
    if (strcmp(c->name, name) == 0) return c;
  return NULL;
}

// The value of `--name VALUE` or `--name=VALUE`; NULL: this is another argument.
static const char *option_value(char **argv, int *i, const char *name) {
  size_t len = strlen(name);
  if (strncmp(argv[*i], name, len) != 0) return NULL;
  if (argv[*i][len] == '=') return argv[*i] + len + 1;
  if (argv[*i][len] != 0 || !argv[*i + 1]) return NULL;
  return argv[++*i];
}

static bool reads_itself(const char *name) {
  const struct tool_command *c = find(name);
  return c && c->count < 0;
}

// Moves what is no option to the front. False: an option that does not exist.
static bool read_options(struct tool *t, char **argv, int *count) {
  const char *value;
  bool only_words = false;
  int words = 0;
  for (int i = 1; argv[i]; i++) {
    if (words == 0 && reads_itself(argv[i])) {
      while (argv[i]) argv[words++] = argv[i++];
      break;
    }
    if (only_words || argv[i][0] != '-' || argv[i][1] == '\0')
      argv[words++] = argv[i];
    else if (strcmp(argv[i], "--") == 0)
      only_words = true;
    else if (strcmp(argv[i], "--json") == 0)
      t->json = true;
    else if ((value = option_value(argv, &i, "--admin")) != NULL)
      t->admin = value;
    else if ((value = option_value(argv, &i, "--token")) != NULL)
      t->token = value;
    // A negative number is data.
    else if (argv[i][1] >= '0' && argv[i][1] <= '9')
      argv[words++] = argv[i];
    else {
      tool_fail(TOOL_USAGE, "%s: no such option, or its value is missing; see mora --help", argv[i]);
      return false;
    }
  }
  argv[words] = NULL;
  *count = words;
  return true;
}

static const char *environment(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value && *value ? value : otherwise;
}

int main(int argc, char **argv) {
  struct tool t = {.admin = environment("MORA_ADMIN", "http://127.0.0.1:8001"),
                   .token = environment("MORA_TOKEN", NULL)};
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--help") == 0) return help();
    if (strcmp(argv[i], "--version") == 0) return printf("mora %s\n", MORA_VERSION) < 0;
  }
  int count;
  if (!read_options(&t, argv, &count)) return TOOL_USAGE;
  if (count == 0) return tool_fail(TOOL_USAGE, "what is to be done? See mora --help");
  const struct tool_command *command = find(argv[0]);
  if (!command) return tool_fail(TOOL_USAGE, "%s: no such command; see mora --help", argv[0]);
  if (command->count >= 0 && count - 1 != command->count)
    return tool_fail(TOOL_USAGE, "usage: mora %s %s", command->name, command->arguments);
  t.arguments = argv + 1;
  curl_global_init(CURL_GLOBAL_DEFAULT);
  int status = command->run(&t);
  curl_global_cleanup();
  if (fflush(stdout) != 0 || ferror(stdout)) return TOOL_FAILED;
  return status;
}
