// SPDX-License-Identifier: Apache-2.0
// The Lua scripts as they are loaded into Redis: keys.lua, then the script, as one text. So a line
// number in an error of Redis counts from the first line of keys.lua.
// Every script is called as EVALSHA <sha> 0 <namespace> <argument>...; what it takes and answers
// stands at the top of its file.
#pragma once

#include <stddef.h>

struct er_script {
  const char *name;   // "hello", as the file without .lua
  const char *text;   // ends with a NUL that `length` does not count
  size_t length;
};

// By name, ascending.
extern const struct er_script er_scripts[];
extern const size_t er_script_count;
