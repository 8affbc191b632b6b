# SPDX-License-Identifier: Apache-2.0
# Writes scripts.c: cmake -D FOLDER=<of the scripts> -D OUTPUT=<scripts.c> -D NAMES=<a,b,...> -P embed.cmake
# As bytes, so that no text of a script needs escaping and no literal is too long for a compiler.
string(REPLACE "," ";" NAMES "${NAMES}")
file(READ ${FOLDER}/keys.lua prelude HEX)
set(arrays "")
set(rows "")
foreach(name ${NAMES})
  file(READ ${FOLDER}/${name}.lua body HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${prelude}${body}")
  string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n" bytes "${bytes}")
  string(APPEND arrays "static const char text_${name}[] = {\n${bytes}0};\n\n")
  string(APPEND rows "  {\"${name}\", text_${name}, sizeof text_${name} - 1},\n")
endforeach()
file(WRITE ${OUTPUT} "// Written by embed.cmake.
#include \"engine-redis/scripts/scripts.h\"

${arrays}const struct er_script er_scripts[] = {
${rows}};
const size_t er_script_count = sizeof er_scripts / sizeof *er_scripts;
")
