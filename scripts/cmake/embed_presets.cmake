# Writes a header with the text of every preset, so that the program needs no file beside it.
# Arguments: -D DIR=<folder of *.toml> -D OUT=<header>
file(GLOB files ${DIR}/*.toml)
list(SORT files)
set(text "// Generated from train/presets/*.toml.\n#pragma once\n\n#include <string_view>\n\nnamespace bigbigan {\n\n")
string(APPEND text "struct Preset {\n  std::string_view name, text;\n};\n\ninline constexpr Preset kPresets[] = {\n")
foreach(file ${files})
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} content)
  string(APPEND text "{\"${name}\", R\"toml(${content})toml\"},\n")
endforeach()
string(APPEND text "};\n\n}  // namespace bigbigan\n")
file(WRITE ${OUT} "${text}")
